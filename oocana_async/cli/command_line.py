"""The command line of `oocana-async` as a whole: a parser made from the table of commands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from oocana_async.cli.commands import COMMANDS, PROGRAMS
from oocana_async.cli.parser import CommandParser

__all__ = ["parse"]


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, **settings: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **settings)

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        from importlib.metadata import version

        print(f"oocana-async {version('oocana-async')}")
        parser.exit()


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command line.

    Returns:
        The options, with `command`, its name, and the `parser` of that command.

    Raises:
        UsageError: Something is wrong with it.
        SystemExit: Help or the version was asked for and printed.
    """
    found: argparse.Namespace = _build_parser().parse_args(list(argv))
    return found


def _build_parser() -> CommandParser:
    parser = CommandParser(
        prog="oocana-async",
        description="Run, check and query OOCANA flows in one process.",
        epilog="`oocana-async COMMAND --help` says more about a command.",
    )
    parser.add_argument("--version", action=_Version, help="print the version and leave")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=CommandParser)
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.HELP, description=command.DESCRIPTION, epilog=command.EPILOG)
        one.set_defaults(parser=one)
        command.add_arguments(one)
    for name, program in PROGRAMS.items():  # listed in the help; never parsed here
        commands.add_parser(name, add_help=False, help=program.HELP)
    return parser
