"""Accidents of the reference engine that we do not copy: each judged by the note of its case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.compare import Event, compare, nesting_differences
from tests.conformance.harness import COPIES, Case, Run, load_cases, run_case

QUIRKS = {case.name: case for case in load_cases(COPIES) if case.settings.get("quirk")}
RunQuirk = Callable[[str], tuple[Case, Run]]

pytestmark = pytest.mark.timeout(40, method="signal")


@pytest.fixture
def run_quirk(tmp_path: Path) -> RunQuirk:
    def run(name: str) -> tuple[Case, Run]:
        return QUIRKS[name], run_case(QUIRKS[name], tmp_path)

    return run


def of_job(run: Run, job: str, kind: str) -> list[Event]:
    return [event for event in run.of(kind) if event["job_id"] == job]


def stacks_of(value: Any) -> Iterator[list[dict[str, str]]]:
    """Yield each `_error.stack` of an event."""
    if isinstance(value, dict) and "stack" in value.get("_error", {}):
        yield value["_error"]["stack"]


def assert_ends_well(run: Run) -> None:
    assert [event["type"] for event in run.events[-2:]] == ["FlowFinished", "SessionFinished"]
    assert run.events[-2]["error"] is None
    assert "error" not in run.events[-1]
    assert run.exit_code == 0


def test_every_quirk_has_its_test() -> None:
    assert {name[:3] for name in QUIRKS} == {"032", "054", "093", "101", "121", "176", "181", "182", "223"}


def test_undeclared_connected_input_is_delivered(run_quirk: RunQuirk) -> None:
    _, run = run_quirk("032-undeclared-connected")
    assert any(event.get("inputs") == {"x": 1, "extra": 5} for event in run.of("BlockStarted"))
    assert_ends_well(run)


def test_pass_through_output_of_an_empty_subflow_reaches_its_consumer(run_quirk: RunQuirk) -> None:
    _, run = run_quirk("054-subflow-only-pass-through")
    assert [event["result"] for event in of_job(run, "J/z.1", "BlockFinished")] == [{"out": 5}]
    assert_ends_well(run)


def test_error_stack_lists_each_level_once(run_quirk: RunQuirk) -> None:
    case, run = run_quirk("093-fail-two-subflows")
    stacks = [stack for event in run.events for stack in stacks_of(event)]
    assert len(stacks) == sum(1 for event in case.expected for _ in stacks_of(event))
    assert [[level["node_id"] for level in stack] for stack in stacks] == [["s", "i", "t"]] * len(stacks)
    assert run.exit_code == 1


def test_pending_run_is_not_started_when_its_node_fails(run_quirk: RunQuirk) -> None:
    case, run = run_quirk("101-fail-with-pending")
    wanted = [event for event in case.expected if event.get("job_id") != "J/b.2"]
    assert compare(wanted, run.events, {**case.settings, "order": "partial"}) == []
    assert run.exit_code == 1


def test_duplicate_node_id_is_refused_or_stays_connected(run_quirk: RunQuirk) -> None:
    _, run = run_quirk("121-duplicate-node-id")
    if run.exit_code == 2:
        assert run.events[-1]["error"]
    else:
        assert [event["result"] for event in of_job(run, "J/b.1", "BlockFinished")] == [{"out": 2}]
        assert_ends_well(run)


@pytest.mark.parametrize("name", ["176-run-block-fails", "181-run-block-subflow-fails"])
def test_flow_ends_after_a_failed_run_block(name: str, run_quirk: RunQuirk) -> None:
    case, run = run_quirk(name)
    recorded = [event for event in case.expected if event["type"] != "SessionFinished"]
    same = [event for event in run.events if event["type"] not in ("FlowFinished", "SessionFinished")]
    ends = [event for event in run.events if event["type"] in ("FlowFinished", "SessionFinished")]
    assert compare(recorded, same, {**case.settings, "order": "partial"}) == [
        f"the last event is {same[-1]['type']}, not SessionFinished"
    ]
    assert len(ends) == 2
    assert_ends_well(run)


def test_run_block_works_in_a_task_that_is_run_directly(run_quirk: RunQuirk) -> None:
    _, run = run_quirk("182-run-block-in-task")
    assert [event["result"] for event in of_job(run, "J", "BlockFinished")] == [{"got": [{"out": 1}]}]
    assert run.events[-1]["type"] == "SessionFinished"
    assert "error" not in run.events[-1]
    assert run.exit_code == 0


def test_slot_additions_of_one_node_do_not_leak_into_another(run_quirk: RunQuirk) -> None:
    _, run = run_quirk("223-shared-subflow-slots")
    outputs = {event["job_id"]: event["output"] for event in run.of("SubflowBlockOutput")}
    assert outputs == {"J/s.1": {"x": 2, "y": 1}, "J/t.1": 3}
    assert nesting_differences(run.events) == []
    assert_ends_well(run)
