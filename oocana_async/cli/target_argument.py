"""The argument TARGET and `--search-paths`, which most commands have."""

from __future__ import annotations

import argparse
from typing import Any

from oocana_async.cli import option_values
from oocana_async.cli.parser import CommandParser

__all__ = ["add_target"]


def add_target(parser: CommandParser, what: str) -> None:
    """Declare the target of a command and where its packages are looked for.

    Args:
        parser: of the command.
        what: which targets it takes, for the help.
    """
    parser.add_argument("target", metavar="TARGET", help=what)
    parser.add_argument(
        "--search-paths",
        metavar="A,B",
        type=option_values.existing_directory_list,
        action=_Extend,
        default=[],
        help="directories with packages, searched in this order; may be repeated",
    )


class _Extend(argparse.Action):
    """Collects the lists of a repeated option."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), *values])
