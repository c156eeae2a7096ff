"""Where the events of a run go: JSON lines, plain lines, failures only. Each takes encoded events in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from oocana_async.cli.display.plain import closing_lines, entry_lines, failure_lines, summary_lines
from oocana_async.cli.display.writing import Writer
from oocana_async.cli.failures import say
from oocana_async.watching.entries import Entry, EntryKind
from oocana_async.watching.state import RunView
from oocana_async.wire.messages.report import decode_report

__all__ = ["JsonLines", "LogSink", "PlainSink", "QuietSink", "Sink", "ViewSink"]

_LOUD = (EntryKind.FAILED, EntryKind.ERROR)


class Sink(Protocol):
    """Takes what is reported. Nothing here waits for anything but the file it writes to."""

    def take(self, payloads: Sequence[bytes]) -> None:
        """Take events in order, each the JSON of one."""

    def tick(self) -> None:
        """Draw what changes with time; called some times a second."""

    def notify(self, text: str) -> None:
        """Tell people something about the run as a whole."""

    def close(self) -> None:
        """Write what is to be said at the end; called once, also when the run was interrupted."""


class JsonLines:
    """Writes each event as one line, at once, so that whoever reads is never behind.

    Args:
        writer: where to.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def take(self, payloads: Sequence[bytes]) -> None:
        """Write a batch."""
        self._writer.data(b"".join([payload + b"\n" for payload in payloads]))

    def tick(self) -> None:
        """Do nothing."""

    def notify(self, text: str) -> None:
        """Do nothing: this is for machines."""

    def close(self) -> None:
        """Do nothing: every line is written already."""


class ViewSink:
    """Keeps the state of the run and hands on what is worth a line."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.view = RunView()
        self.now = now

    def take(self, payloads: Sequence[bytes]) -> None:
        """Bring the state up to date and show what is new."""
        entries: list[Entry] = []
        for payload in payloads:
            try:
                event = decode_report(payload)
            except msgspec.DecodeError:
                continue
            if event is not None:
                entries.extend(self.view.apply(event))
        if entries:
            self.show(entries)

    def show(self, entries: Sequence[Entry]) -> None:
        """Show entries."""
        raise NotImplementedError

    def tick(self) -> None:
        """Do nothing."""

    def notify(self, text: str) -> None:
        """Say it on stderr."""
        say(text)

    def close(self) -> None:
        """Say why the run failed."""
        for line in failure_lines(self.view):
            say(line)


class PlainSink(ViewSink):
    """Plain lines: failures on stderr, everything else on stdout.

    Args:
        writer: where to.
        now: milliseconds since the epoch.
    """

    def __init__(self, writer: Writer, now: Callable[[], int]) -> None:
        super().__init__(now)
        self._writer = writer

    def show(self, entries: Sequence[Entry]) -> None:
        """Write entries, each run of those for the same stream at once."""
        lines: list[str] = []
        for entry in entries:
            if entry.kind in _LOUD:
                self._write(lines)
                lines = []
                say("\n".join(entry_lines(entry)))
            else:
                lines.extend(entry_lines(entry))
        self._write(lines)

    def close(self) -> None:
        """Write the table of nodes and how the run ended."""
        now = self.now()
        if self.view.nodes:
            self._write(["", *summary_lines(self.view, now), *closing_lines(self.view, now)])
        elif self.view.error is None:  # else the failure below says it all
            self._write([*closing_lines(self.view, now)])
        super().close()

    def _write(self, lines: Sequence[str]) -> None:
        if lines:
            self._writer.text("\n".join(lines) + "\n")


class QuietSink(ViewSink):
    """Failures only, on stderr."""

    def show(self, entries: Sequence[Entry]) -> None:
        """Write the entries that tell of failures."""
        for entry in entries:
            if entry.kind in _LOUD:
                say("\n".join(entry_lines(entry)))


class LogSink(ViewSink):
    """What blocks say, on stderr: beside JSON lines on stdout."""

    def show(self, entries: Sequence[Entry]) -> None:
        """Write logs, warnings and failures."""
        spoken = (EntryKind.LOG, EntryKind.WARNING, *_LOUD)
        lines = [line for entry in entries if entry.kind in spoken for line in entry_lines(entry)]
        if lines:
            say("\n".join(lines))
