"""The live display as a sink; imported on a terminal only, because it needs rich."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from oocana_async.cli.display.live import LiveDisplay
from oocana_async.cli.display.sinks import ViewSink
from oocana_async.watching.entries import Entry

__all__ = ["LiveSink"]


class LiveSink(ViewSink):
    """A live display on a terminal. A debugger that a block starts has the terminal for itself from then on.

    Args:
        out: the terminal.
        now: milliseconds since the epoch.
    """

    def __init__(self, out: TextIO, now: Callable[[], int]) -> None:
        super().__init__(now)
        self._display = LiveDisplay(self.view, out, now)
        self._display.start()
        self._breakpoint = sys.breakpointhook
        sys.breakpointhook = self._make_way

    def show(self, entries: Sequence[Entry]) -> None:
        """Print entries above the nodes."""
        for entry in entries:
            self._display.show(entry)

    def notify(self, text: str) -> None:
        """Print it above the nodes."""
        self._display.print(text)

    def tick(self) -> None:
        """Draw the nodes; nothing happens once a debugger has the terminal."""
        self._display.refresh()

    def close(self) -> None:
        """Give the terminal back and print how the run ended."""
        self._display.stop()
        sys.breakpointhook = self._breakpoint
        self._display.summarise()
        super().close()

    def _make_way(self, *arguments: Any, **options: Any) -> Any:
        self._display.stop()
        return self._breakpoint(*arguments, **options)
