"""Which sinks a run has: for machines those that were asked for, for people the one that suits their stdout."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from typing import Final

from oocana_async.cli.display.sinks import JsonLines, LogSink, PlainSink, QuietSink, Sink, ViewSink
from oocana_async.cli.display.writing import Writer, machine_stdout
from oocana_async.cli.failures import UsageError
from oocana_async.cli.signals import Signals

__all__ = ["now_ms", "record_sinks", "view_sink"]

_DUMB: Final = "dumb"
"""TERM of a terminal that cannot move its cursor."""


def record_sinks(options: argparse.Namespace, signals: Signals, stack: contextlib.ExitStack) -> list[Sink]:
    """Return the sinks for machines; `stack` closes their files, and gives stdout back to everybody.

    Raises:
        UsageError: The file of `--report` cannot be written.
    """
    sinks: list[Sink] = []
    if options.report is not None:
        try:
            file = stack.enter_context(options.report.open("wb", buffering=0))
        except OSError as error:
            raise UsageError(f"--report: cannot write {options.report}: {error.strerror}") from error
        sinks.append(JsonLines(Writer(signals, descriptor=file.fileno())))
    if options.json:
        sinks.append(JsonLines(stack.enter_context(machine_stdout(signals))))
    return sinks


def view_sink(options: argparse.Namespace, signals: Signals) -> ViewSink:
    """Return the sink for people."""
    out = sys.stdout
    if options.quiet or out is None:
        return QuietSink(now_ms)
    if options.json:
        return LogSink(now_ms)
    if out.isatty() and os.environ.get("TERM") != _DUMB:
        from oocana_async.cli.display.live_sink import LiveSink  # late: it needs rich, which only terminals pay for

        return LiveSink(out, now_ms)
    return PlainSink(Writer.of(out, signals), now_ms)


def now_ms() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
