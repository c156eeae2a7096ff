"""A command line parser whose errors say what would be right."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from oocana_async.cli.failures import UsageError
from oocana_async.suggestions import suggest

__all__ = ["CommandParser", "did_you_mean"]


def did_you_mean(word: str, possible: Iterable[str]) -> str:
    """Return ` (did you mean "x"?)` for the nearest of `possible`, or an empty text when none is near."""
    hint = suggest(word, possible)
    return f" ({hint})" if hint else ""


class CommandParser(argparse.ArgumentParser):
    """Raises `UsageError` instead of leaving the process, takes no abbreviations, and suggests near names."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            UsageError: Always.
        """
        text = message.removeprefix("argument ")
        raise UsageError(f"{text}\nrun `{self.prog} --help` for the usage")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse all arguments; unknown ones are refused with a suggestion."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flags = [one for one in unknown if one.startswith("-")]
            word = (flags or unknown)[0].partition("=")[0]
            owner = getattr(found, "parser", self)
            kind = "option" if flags else "argument"
            owner.error(f'unknown {kind} "{word}"{did_you_mean(word, owner.known_options()) if flags else ""}')
        return found

    def known_options(self) -> Iterator[str]:
        """Yield all option names of this command."""
        for action in self._actions:
            yield from action.option_strings

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        what = action.metavar if isinstance(action.metavar, str) else action.dest
        hint = did_you_mean(str(value), choices)
        if what == "COMMAND" and Path(value).exists():
            hint = f"; to run it: {self.prog} run {value}"
        text = f'unknown {what.lower()} "{value}"{hint}; expected one of {", ".join(choices)}'
        raise argparse.ArgumentError(None, text)
