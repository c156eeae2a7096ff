"""What becomes of jobs, processes and lined-up actions when the flow or the session around them is over."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from oocana_async.channel.bus import Bus
from oocana_async.engine import open_session
from oocana_async.engine.running.jobs import Job
from oocana_async.wire import topics
from oocana_async.wire.envelope import Message
from tests.engine.fake_executor import KEEP, FakeHost, FakeJob, fake_host
from tests.engine.flows import task, write_flow
from tests.engine.running.test_block_requests import ask_to_run
from tests.engine.watching import watch

pytestmark = pytest.mark.anyio

SHELL = {"name": "shell"}


def write_package_that_hides_its_source(root: Path) -> None:
    """Write `tools::t`, a task that fails in the turn in which it starts."""
    block = root / "lib" / "tools" / "tasks" / "t" / "task.oo.yaml"
    block.parent.mkdir(parents=True)
    block.write_text("executor: {name: python}\n", encoding="utf-8")
    (root / "lib" / "tools" / "package.oo.yaml").write_text("name: tools\n", encoding="utf-8")
    (root / "lib" / "tools" / ".metadata.oo.json").write_text('{"hide_source": true}', encoding="utf-8")


async def test_flows_inside_a_failed_flow_report_nothing_more(tmp_path: Path) -> None:
    write_package_that_hides_its_source(tmp_path)
    write_flow(tmp_path, [], kind="subflow", name="inmost")
    write_flow(tmp_path, [{"node_id": "k", "subflow": "self::inmost"}], kind="subflow", name="inner")
    failing = {"node_id": "x", "task": "tools::t"}
    write_flow(tmp_path, [{"node_id": "h", "subflow": "self::inner"}, failing], kind="subflow", name="outer")
    flow = write_flow(tmp_path, [{"node_id": "q", "subflow": "self::outer"}])
    run = await watch(flow, search_paths=[tmp_path / "lib"])
    ends = [event["stacks"][-1]["node_id"] for event in run.of("SubflowBlockFinished")]
    assert run.result.status == "failed"
    assert ends == ["q"]


async def test_job_inside_a_subflow_of_a_failed_child_is_heard_no_more(tmp_path: Path) -> None:
    write_flow(tmp_path, [task("t")], kind="subflow", name="inner")
    nodes = [{"node_id": "k", "subflow": "self::inner"}, task("x")]
    write_flow(tmp_path, nodes, kind="subflow", name="child")
    jobs: dict[str, FakeJob] = {}

    def keep(job: FakeJob) -> object:
        jobs[job.node_id] = job
        if job.node_id == "a":
            ask_to_run(job, "self::child")
        elif jobs.keys() == {"a", "x", "t"}:
            jobs["x"].finish(error="boom")
            jobs["t"].output("out", "too late")
            jobs["a"].finish()
        return KEEP

    run = await watch(write_flow(tmp_path, [task("a")]), {"*": keep})
    assert run.result.status == "succeeded"
    assert [event["stacks"][-1]["node_id"] for event in run.of("SubflowBlockFinished")] == ["run_block::self::child"]
    assert run.of("BlockOutput") == []


async def test_shell_command_of_a_failed_child_is_ended(tmp_path: Path) -> None:
    command = {"command": {"value": "echo $$; exec sleep 300"}}
    nodes = [task("s", command, executor=SHELL), task("x")]
    write_flow(tmp_path, nodes, kind="subflow", name="child")
    has_started = anyio.Event()
    ends: list[int] = []

    async def start(job: FakeJob) -> None:
        ask_to_run(job, "self::child")
        await has_started.wait()
        await anyio.wait_readable(ends[0])

    async def fail(job: FakeJob) -> None:
        await has_started.wait()
        job.finish(error="boom")

    flow = write_flow(tmp_path, [task("a")])
    host = fake_host({"a": start, "x": fail})
    async with open_session(flow, temp_root=tmp_path, session_dir=tmp_path / "s", host=host) as session:
        with anyio.fail_after(10):
            async for event in session.events():
                if hasattr(event, "log"):
                    ends.append(os.pidfd_open(int(event.log)))
                    has_started.set()
            assert (await session.result()).status == "succeeded"
    os.close(ends[0])


async def test_jobs_that_ended_before_their_time_was_up_are_forgotten(tmp_path: Path) -> None:
    left = []

    def count(job: FakeJob) -> dict[str, Any]:
        if job.inputs["x"] == 99:
            gc.collect()
            left.append(sum(isinstance(thing, Job) for thing in gc.get_objects()))
        return {}

    def produce(job: FakeJob) -> None:
        for number in range(100):
            job.output("out", number)
        job.finish()

    flow = write_flow(tmp_path, [task("a"), task("b", {"x": ("a", "out")}, timeout=3600)])
    await watch(flow, {"a": produce, "b": count})
    assert left[0] < 10


async def test_executors_with_much_to_say_at_the_end_need_not_wait_for_room(tmp_path: Path) -> None:
    class Talkative(FakeHost):
        async def aclose(self) -> None:
            with anyio.fail_after(5):
                for _ in range(20):
                    await self.bus.publish_many([Message(topics.session(self.session_id), b"{}")] * 1000)
            await super().aclose()

    def make(bus: Bus, max_threads: int | None) -> FakeHost:
        return Talkative(bus, {})

    run = await watch(write_flow(tmp_path, [task("a")]), host=make)
    assert run.result.status == "succeeded"


async def test_large_rest_of_actions_waits_for_a_reader_that_must_miss_nothing(tmp_path: Path) -> None:
    flow = write_flow(tmp_path, [task("a"), loop("c")])
    host = fake_host({"a": lambda job: {"out": 1}})
    async with open_session(flow, temp_root=tmp_path, session_dir=tmp_path / "s", host=host) as session:
        stream = session.raw_events(limit=10, lossless=True)
        sizes = []
        for _ in range(5):
            for _ in range(100):  # a reader that takes a hundred turns of the loop for each batch
                await checkpoint()
            sizes.append(len(await stream.receive_many()))
        stream.close()
    assert max(sizes) < 2000


def loop(node_id: str) -> dict[str, Any]:
    """Return a condition node that feeds itself for ever."""
    again = {"node_id": node_id, "output_handle": "on"}
    expression = {"input_handle": "v", "operator": "is not null"}
    return {
        "node_id": node_id,
        "inputs_def": [{"handle": "v"}],
        "conditions": {"cases": [{"handle": "on", "expressions": [expression]}]},
        "inputs_from": [{"handle": "v", "from_node": [{"node_id": "a", "output_handle": "out"}, again]}],
    }
