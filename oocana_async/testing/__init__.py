"""Runs any scriptlet without engine and broker, on the real executor, and returns a record of what it did."""

from __future__ import annotations

from oocana_async.testing.answers import NO_ANSWER, BlockAnswer, Child, NoAnswer, QueryAnswer
from oocana_async.testing.bench import RunOptions
from oocana_async.testing.manual_clock import ManualClock
from oocana_async.testing.record import (
    Ended,
    Log,
    Output,
    Record,
    Request,
    RunFailedError,
    RunTimeoutError,
    StartedChild,
)
from oocana_async.testing.runs import ScriptletRun, run_scriptlet, run_scriptlet_sync, start_scriptlet
from oocana_async.testing.units import Target
from oocana_async.testing.values import HandleDefs

__all__ = [
    "NO_ANSWER",
    "BlockAnswer",
    "Child",
    "Ended",
    "HandleDefs",
    "Log",
    "ManualClock",
    "NoAnswer",
    "Output",
    "QueryAnswer",
    "Record",
    "Request",
    "RunFailedError",
    "RunOptions",
    "RunTimeoutError",
    "ScriptletRun",
    "StartedChild",
    "Target",
    "run_scriptlet",
    "run_scriptlet_sync",
    "start_scriptlet",
]
