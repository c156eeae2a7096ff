"""The Context for the desk: made by hand, it warns once and prints what would be sent."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from oocana_async import ClosedError, Context, SyncContext
from oocana_async.context.by_hand import desk

pytestmark = pytest.mark.filterwarnings("ignore:this Context belongs to no job")


def shown(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line.partition(": ")[2]) for line in captured.err.splitlines()]


@pytest.mark.parametrize("kind", [Context, SyncContext])
def test_desk_prints_what_would_be_sent(
    kind: type[Context], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = kind(inputs={"a": 1}, session_dir=str(tmp_path))
    context.output("any", [1])
    context.report_progress(50)
    context.preview("text")
    context.finish(result={"other": context.inputs["a"]})
    messages = shown(capsys)
    types = ["BlockOutput", "BlockProgress", "BlockRequest", "BlockFinished"]
    assert [message["type"] for message in messages] == types
    assert messages[-1]["result"] == {"other": 1}


def test_async_scriptlet_runs_at_the_desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def main(params: dict[str, Any], context: Context) -> None:
        await context.output("out", params["a"])
        await context.flush()

    asyncio.run(main({"a": 1}, Context(session_dir=str(tmp_path))))
    assert [message["output"] for message in shown(capsys)] == [1]


def test_objects_are_shown_by_their_repr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Context(session_dir=str(tmp_path)).output("out", range)
    assert shown(capsys)[0]["output"] == "<class 'range'>"


def test_handles_may_be_declared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Context(outputs_def={"a": {"handle": "a"}}, session_dir=str(tmp_path)).output("b", 1)
    assert "not defined in Block outputs schema" in shown(capsys)[0]["warning"]


def test_questions_have_nobody_to_answer_them(tmp_path: Path) -> None:
    context = SyncContext(session_dir=str(tmp_path))
    with pytest.raises(ClosedError, match="there is no engine at the desk"):
        context.query_block("self::a")
    with pytest.raises(ClosedError, match="there is no engine at the desk"):
        context.run_block("self::a", inputs={})


def test_desk_warns_once_at_the_line_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "_warned", threading.Event())
    with pytest.warns(RuntimeWarning, match="belongs to no job") as caught:
        make_two(tmp_path)
    assert [warning.filename for warning in caught] == [__file__]


def make_two(directory: Path) -> None:
    for _ in range(2):
        Context(session_dir=str(directory))


def test_script_with_held_back_progress_ends_at_once(tmp_path: Path) -> None:
    text = f"""
from oocana_async import SyncContext
context = SyncContext(session_dir={str(tmp_path)!r})
context.report_progress(1)
context.report_progress(2)
context.finish()
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=20, check=True)
    assert [line.count('"progress":2') for line in done.stderr.splitlines() if "BlockProgress" in line] == [0, 1]
