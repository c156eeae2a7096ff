"""The state that people see follows the events, recorded ones and made ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oocana_async.watching.entries import Entry, EntryKind
from oocana_async.watching.node_view import NodePhase
from oocana_async.watching.state import RunView
from oocana_async.wire.messages.report import decode_report

CASES = Path(__file__).resolve().parents[1] / "conformance" / "cases"


def event(kind: str, node: str | None = "n", **fields: Any) -> dict[str, Any]:
    """Make an event of node `n` of a flow, or of nodes within each other such as `a/b`."""
    steps = node.split("/") if node else []
    stacks = [{"flow_job_id": "F", "flow": "flow.oo.yaml", "node_id": step} for step in steps]
    return {"type": kind, "session_id": "S", "job_id": "J", "stacks": stacks, **fields}


def started(node: str | None = "n", at: int = 0, job: str = "J") -> dict[str, Any]:
    return event("BlockStarted", node, job_id=job, inputs=None, create_at=at)


def finished(node: str | None = "n", at: int = 0, job: str = "J", **fields: Any) -> dict[str, Any]:
    return event("BlockFinished", node, job_id=job, finish_at=at, **fields)


def watch(*events: dict[str, Any]) -> tuple[RunView, list[Entry]]:
    """Feed events to a new state and return it with all it found worth telling."""
    view, entries = RunView(), list[Entry]()
    for one in events:
        decoded = decode_report(json.dumps(one).encode())
        assert decoded is not None
        entries += view.apply(decoded)
    return view, entries


def recorded(case: str) -> tuple[RunView, list[Entry]]:
    (directory,) = CASES.glob(f"{case}-*")
    return watch(*(json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()))


def phases(view: RunView) -> dict[str, str]:
    return {node.name: node.phase.value for node in view.nodes.values()}


@pytest.mark.parametrize("events", sorted(CASES.glob("*/events.jsonl")), ids=lambda path: path.parent.name)
def test_recording_ends_with_every_node_in_a_final_state(events: Path) -> None:
    text = events.read_text().replace('"stacks": "<any>"', '"stacks": []')
    view, entries = watch(*(json.loads(line) for line in text.splitlines()))
    last = json.loads(events.read_text().splitlines()[-1])
    assert view.error == last.get("error")
    assert view.count(NodePhase.WAITING, NodePhase.RUNNING) == 0
    assert all(entry.lines or entry.kind is EntryKind.STARTED for entry in entries)


def test_chain_tells_start_and_end_of_each_node() -> None:
    view, entries = recorded("002")
    assert phases(view) == {"a": "finished", "b": "finished", "c": "finished"}
    assert [(entry.kind.value, entry.node) for entry in entries] == [
        (kind, node) for node in "abc" for kind in ("started", "finished")
    ]
    assert view.nodes[("a",)].result() == "out=1"


def test_planned_nodes_wait_until_they_start() -> None:
    plan = event("FlowNodesWillRun", None, flow_path="f", start_nodes=["a"], mid_nodes=["b"], end_nodes=[])
    view, _ = watch(plan, started("a"))
    assert phases(view) == {"a": "running", "b": "waiting"}


def test_failure_keeps_the_cause_and_the_node() -> None:
    view, entries = recorded("091")
    assert (view.failed_node, view.cause) == ("s/t", "<traceback> ValueError: boom")
    assert phases(view) == {"s": "failed", "z": "not run", "s/t": "failed"}
    failed = [entry for entry in entries if entry.kind is EntryKind.FAILED]
    assert [entry.lines[1] for entry in failed] == ["<traceback> ValueError: boom", "[node id: t] failed"]


def test_node_that_ran_when_the_flow_ended_is_stopped() -> None:
    view, _ = watch(started("a"), {"type": "SessionFinished", "session_id": "S", "finish_at": 9, "path": "f"})
    assert phases(view) == {"a": "stopped"}


def test_nodes_of_subflows_follow_their_node() -> None:
    view, _ = recorded("050")
    assert [node.name for node in view.nested()] == ["a", "s", "s/t", "z"]


def test_task_run_directly_is_named_after_its_directory() -> None:
    view, _ = recorded("130")
    assert phases(view) == {"t": "finished"}


def test_values_that_leave_a_root_subflow_are_outputs() -> None:
    view, _ = recorded("132")
    assert list(view.outputs)
    assert () not in view.nodes


def test_times_are_those_of_the_events() -> None:
    view, entries = watch(
        {"type": "SessionStarted", "session_id": "S", "create_at": 1000, "path": "f"},
        started(at=1500),
        finished(at=3250, result={"out": [1, 2]}),
    )
    assert view.nodes[("n",)].elapsed(now=9000) == 1750
    assert view.elapsed(now=9000) == 8000
    assert entries[-1].lines == ("in 1.75 s: out=[1,2]",)


def test_progress_is_that_of_the_newest_report() -> None:
    view, _ = watch(started(), event("BlockProgress", progress=30, rate=30), event("BlockProgress", progress=140))
    assert view.nodes[("n",)].progress == 100


def test_second_end_of_a_job_counts_once() -> None:
    view, _ = watch(started(), finished(), finished(error="late"))
    assert (view.nodes[("n",)].finished, view.nodes[("n",)].failed) == (1, 0)


def test_many_runs_are_told_now_and_then() -> None:
    runs = [one for number in range(1, 121) for one in (started(job=str(number)), finished(job=str(number)))]
    view, entries = watch(*runs)
    assert view.nodes[("n",)].finished == 120
    assert [entry.lines[0].split()[-1] for entry in entries[2:]] == ["2", "3", "10", "100"]


def test_logs_keep_stream_and_lines() -> None:
    _, entries = watch(
        event("BlockLog", log="one\ntwo\n", stdio="stdout"),
        event("BlockLog", log="oh", stdio="stderr"),
        event("BlockLog", log="ah", stderr="ah"),
    )
    assert [(entry.lines, entry.stream) for entry in entries] == [
        (("one", "two"), "stdout"),
        (("oh",), "stderr"),
        (("ah",), "stderr"),
    ]


def test_logs_cannot_steer_the_terminal() -> None:
    _, entries = watch(event("BlockLog", log="\x1b[2J\x1b]0;title\x07red\x9b31m \x1b[31mtext\r", stdio="stdout"))
    assert entries[0].lines == ("red31m text",)


def test_words_of_a_block_are_told() -> None:
    view, entries = watch(
        event("BlockWarning", warning="careful"),
        event("BlockError", error="not good"),
        event("BlockMessage", payload={"a": 1}),
        event("BlockLogJSON", json={"b": 2}),
        event("BlockPreview", payload={"type": "text", "data": "hello"}),
    )
    assert [(entry.kind.value, entry.lines) for entry in entries] == [
        ("warning", ("careful",)),
        ("error", ("not good",)),
        ("message", ('{"a":1}',)),
        ("log", ('{"b":2}',)),
        ("preview", ("text", "hello")),
    ]
    assert view.warnings == 1
