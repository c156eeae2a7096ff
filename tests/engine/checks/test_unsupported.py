"""Blocks that this process cannot run are refused with the same words by `check`, before a run, and in a run."""

from __future__ import annotations

from typing import Any

import pytest

from oocana_async.engine import run_flow
from oocana_async.engine.analysis import check_target
from oocana_async.errors import LoadError
from tests.engine.conftest import Project
from tests.engine.fake_executor import KEEP, FakeJob, fake_host
from tests.engine.flows import task, write_flow
from tests.engine.running.test_block_requests import ask_to_run
from tests.engine.watching import watch

pytestmark = pytest.mark.anyio

ELSEWHERE = "run the flow with `oocana run`, or write the block in Python or shell"

REFUSED = [
    ("{name: nodejs}", "the embedded engine has no nodejs executor", ELSEWHERE),
    ("{name: rust}", "the embedded engine has no rust executor", ELSEWHERE),
    (
        "{name: connector, options: {action: mail}}",
        "the connector action mail needs OOCANA_CONNECTOR_BASE_URL",
        "set it to the connector's address",
    ),
]


@pytest.fixture(autouse=True)
def _no_connector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OOCANA_CONNECTOR_BASE_URL", raising=False)


@pytest.mark.parametrize(("executor", "reason", "hint"), REFUSED)
async def test_check_and_run_refuse_a_block_with_the_same_words(
    project: Project, executor: str, reason: str, hint: str
) -> None:
    path = project.write("tasks/t/task.oo.yaml", f"executor: {executor}")
    said = [finding for finding in check_target(path) if finding.code == "executor"]
    with pytest.raises(LoadError) as caught:
        await run_flow(path, host=fake_host())
    assert [(finding.message, finding.hint) for finding in said] == [(reason, hint)]
    assert [fault.reason for fault in caught.value.faults] == [f"{reason}; {hint}"]


@pytest.mark.parametrize(("executor", "reason", "hint"), REFUSED)
async def test_block_that_is_started_by_another_fails_with_the_same_words(
    project: Project, executor: str, reason: str, hint: str
) -> None:
    project.write("tasks/child/task.oo.yaml", f"executor: {executor}")

    def start_child(job: FakeJob) -> object:
        ask_to_run(job, "self::child")
        job.finish()
        return KEEP

    run = await watch(write_flow(project.root, [task("a")]), {"a": start_child})
    errors = [event["error"] for event in run.of("BlockFinished") if "error" in event]
    assert errors == [f"{reason}; {hint}"]


async def test_service_of_another_language_is_refused_with_the_same_words(project: Project) -> None:
    project.write("services/s/service.oo.yaml", "executor: {name: nodejs, entry: main.py}\nblocks: [{name: b}]")
    path = project.flow("nodes:\n  - {node_id: a, service: self::s::b}\n").main
    said: list[Any] = [finding for finding in check_target(path) if finding.code == "executor"]
    with pytest.raises(LoadError, match="the embedded engine runs no nodejs services") as caught:
        await run_flow(path, host=fake_host())
    assert [fault.reason for fault in caught.value.faults] == [f'node "a": {said[0].message}; {said[0].hint}']
