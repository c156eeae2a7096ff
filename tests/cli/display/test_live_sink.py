"""The live display as a sink: what it takes over in the process it gives back."""

from __future__ import annotations

import io
import sys

import pytest

from oocana_async.cli.display.live_sink import LiveSink


def test_breakpoints_are_handled_as_before_once_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list[object]().append
    monkeypatch.setattr(sys, "breakpointhook", before)
    sink = LiveSink(io.StringIO(), lambda: 0)
    assert sys.breakpointhook is not before
    sink.close()
    assert sys.breakpointhook is before


def test_debugger_gets_a_terminal_that_nobody_draws_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = io.StringIO()
    shown: list[str] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: shown.append(out.getvalue()))
    sink = LiveSink(out, lambda: 0)
    breakpoint()  # noqa: T100
    sink.tick()
    monkeypatch.undo()
    assert shown == [out.getvalue()], "nothing was drawn after the debugger had started"
    sink.close()
