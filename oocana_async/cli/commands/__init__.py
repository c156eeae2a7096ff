"""The table of commands: a new command is a module in this folder and a line in here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from oocana_async.cli.commands import check, executor, query, run

if TYPE_CHECKING:
    import argparse

    from oocana_async.cli.parser import CommandParser
    from oocana_async.cli.signals import Signals

__all__ = ["COMMANDS", "PROGRAMS", "Command", "Program"]


class Command(Protocol):
    """What a module of this folder has. It imports what it needs in `run`, since `--help` has to answer at once."""

    @property
    def HELP(self) -> str:  # noqa: N802 - a constant of the module
        """One line for the list of commands."""

    @property
    def DESCRIPTION(self) -> str:  # noqa: N802
        """What `--help` says before the options."""

    @property
    def EPILOG(self) -> str | None:  # noqa: N802
        """What `--help` says behind the options."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare arguments and options."""

    def run(self, options: argparse.Namespace, signals: Signals) -> int:
        """Do it and return the exit code; a `UsageError` is said and ends with 2."""


class Program(Protocol):
    """A command that reads its own command line and handles signals itself."""

    @property
    def HELP(self) -> str:  # noqa: N802
        """One line for the list of commands."""

    def run(self, argv: Sequence[str]) -> int:
        """Do it and return the exit code."""


COMMANDS: Final[Mapping[str, Command]] = {"run": run, "check": check, "query": query}
PROGRAMS: Final[Mapping[str, Program]] = {"executor": executor}
