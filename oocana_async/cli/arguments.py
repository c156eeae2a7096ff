"""The commands of `oocana-async` and their options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from oocana_async.cli import options
from oocana_async.cli.parser import CommandParser

__all__ = ["parse"]

_RUN_EPILOG: Final = """\
exit codes:
  0    the run succeeded
  1    a block or the flow failed
  2    wrong usage, or a file that cannot be read; the message names file, line and column
  130  interrupted by Ctrl-C (143 by SIGTERM, 129 by SIGHUP)
  141  whoever read stdout has gone

examples:
  oocana-async run flows/report
  oocana-async run flow.oo.yaml --inputs '{"year": 2024}' --nodes-inputs @values.json
  oocana-async run flow.oo.yaml --json | jq 'select(.type == "BlockLog").log'
  oocana-async run resize.py --inputs '{"path": "in.png"}'
"""

_RUN_DESCRIPTION: Final = """\
Run a flow, a task or a scriptlet in this process, without engine and broker.

On a terminal the nodes, their progress, logs, warnings and previews are shown live; elsewhere as plain lines
(NO_COLOR takes the colours away). A bare scriptlet takes its inputs from --inputs and may put
out on any handle.
"""


class _Extend(argparse.Action):
    """Collects the lists of a repeated option."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), *values])


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **settings: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **settings)

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        from importlib.metadata import version

        print(f"oocana-async {version('oocana-async')}")
        parser.exit()


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command line.

    Returns:
        The options, with `command` and the `parser` of that command.

    Raises:
        UsageError: Something is wrong with it.
        SystemExit: Help or the version was asked for and printed.
    """
    found: argparse.Namespace = build_parser().parse_args(list(argv))
    return found


def build_parser() -> CommandParser:
    """Return the parser of the whole command."""
    parser = CommandParser(
        prog="oocana-async",
        description="Run, check and query OOCANA flows in one process.",
        epilog="`oocana-async COMMAND --help` says more about a command.",
    )
    parser.add_argument("--version", action=_Version, help="print the version and leave")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=CommandParser)
    _add_run(commands)
    _add_check(commands)
    _add_query(commands)
    commands.add_parser(
        "executor",
        add_help=False,
        help="run blocks for the OOCANA engine, like python-executor; `executor --help` lists its options",
    )
    return parser


def _add_target(parser: CommandParser, what: str) -> None:
    parser.set_defaults(parser=parser)
    parser.add_argument("target", metavar="TARGET", help=what)
    parser.add_argument(
        "--search-paths",
        metavar="A,B",
        type=options.existing_directory_list,
        action=_Extend,
        default=[],
        help="directories with packages, searched in this order; may be repeated",
    )


def _add_run(commands: Any) -> None:
    parser = commands.add_parser(
        "run", help="run a flow, a task or a scriptlet", description=_RUN_DESCRIPTION, epilog=_RUN_EPILOG
    )
    _add_target(parser, "a flow file or its directory, a subflow, a task file, or a scriptlet (.py)")
    _add_values(parser.add_argument_group("what runs"))
    _add_places(parser.add_argument_group("where it works"))
    _add_output(parser.add_argument_group("what is shown"))


def _add_values(group: Any) -> None:
    group.add_argument(
        "--inputs",
        metavar="JSON|@FILE",
        type=options.handle_values,
        help='inputs of the target: {"handle": value}, as text, from a file or from standard input (@-)',
    )
    group.add_argument(
        "--nodes-inputs",
        metavar="JSON|@FILE",
        type=options.node_values,
        help='values for inputs of nodes: {"node": {"handle": value}}',
    )
    group.add_argument("--nodes", metavar="A,B", type=options.node_list, help="run only these nodes and what they need")
    group.add_argument("--use-cache", action="store_true", help="begin with the values that the last run left")
    group.add_argument(
        "--max-threads",
        metavar="N",
        type=options.positive,
        help="most threads for blocks (default: 8 per core, at most 64)",
    )
    group.add_argument(
        "--env-file",
        metavar="FILE",
        type=options.env_file,
        help="environment variables for the blocks, a KEY=VALUE per line (default: $OOCANA_ENV_FILE)",
    )


def _add_places(group: Any) -> None:
    group.add_argument("--session", metavar="ID", type=options.session_id, help="session id (default: a random one)")
    for flag, text in (
        ("--session-dir", "directory shared by all blocks of the session (default: SESSION below the temporary one)"),
        ("--temp-root", "temporary directories of blocks lie below it (default: $OOCANA_TEMP_ROOT, else the system's)"),
        ("--project-data", "data directory of blocks outside packages (default: that of --temp-root)"),
        ("--pkg-data-root", "packages have their data directories below it (default: that of --temp-root)"),
    ):
        group.add_argument(flag, metavar="DIR", type=options.directory, help=f"{text}; made if it is not there")


def _add_output(group: Any) -> None:
    group.add_argument(
        "--json", action="store_true", help="print each event as one line of JSON on stdout; logs go to stderr"
    )
    group.add_argument(
        "--report", metavar="FILE", type=options.writable_file, help="write the events, as with --json, to a file too"
    )
    group.add_argument("--quiet", action="store_true", help="show errors only")


def _add_check(commands: Any) -> None:
    parser = commands.add_parser(
        "check",
        help="find out what is wrong with a flow or a task without running it",
        description="List everything that can be known to be wrong before a run, each with file, line and column.\n"
        "Ends with 1 when there are errors, with 0 when there is nothing or warnings only.",
    )
    _add_target(parser, "a flow file or its directory, a subflow, a task file, or a scriptlet (.py)")
    parser.add_argument("--json", action="store_true", help="print each finding as one line of JSON")


_QUERIES: Final = {
    "upstream": "which nodes would run if only --nodes were asked for",
    "inputs": "the inputs that the target declares, as JSON",
    "nodes-inputs": "the inputs of nodes that have no connection, as JSON",
    "package": "the packages that the nodes use",
    "service": "the services that the nodes use",
}


def _add_query(commands: Any) -> None:
    parser = commands.add_parser("query", help="ask something about a flow", description="Ask something about a flow.")
    parser.set_defaults(parser=parser)
    topics = parser.add_subparsers(dest="query", metavar="QUERY", required=True, parser_class=CommandParser)
    for name, text in _QUERIES.items():
        query = topics.add_parser(name, help=text, description=f"Print {text}.")
        _add_target(query, "a flow file or its directory" + (", or a task file" if name == "inputs" else ""))
        if name == "upstream":
            query.add_argument(
                "--nodes", metavar="A,B", type=options.node_list, required=True, help="the nodes that are asked for"
            )
            query.add_argument(
                "--use-cache", action="store_true", help="nodes whose values the last run left need nothing upstream"
            )
        if name in ("inputs", "nodes-inputs"):
            query.add_argument("--output", metavar="FILE", type=options.writable_file, help="write to a file instead")
