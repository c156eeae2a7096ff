"""Runs of whole flows with fake blocks: what is reported, in which order, and how they end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from oocana_async.channel.bus import Bus
from oocana_async.engine import open_session
from oocana_async.wire import topics
from oocana_async.wire.messages import session
from tests.engine.fake_executor import KEEP, FakeHost, FakeJob, fake_host
from tests.engine.flows import task, write_flow
from tests.engine.watching import watch

pytestmark = pytest.mark.anyio


async def test_chain_passes_values_and_ends_well(tmp_path: Path) -> None:
    flow = write_flow(tmp_path, [task("a"), task("b", {"x": ("a", "out")})], outputs={"res": ("b", "out")})
    run = await watch(flow, {"a": lambda job: {"out": 5}})
    assert run.result.status == "succeeded"
    assert run.result.outputs == {"res": [5]}
    assert run.kinds == [
        "SessionStarted",
        "FlowStarted",
        "FlowNodesWillRun",
        "BlockStarted",
        "BlockFinished",
        "BlockStarted",
        "BlockFinished",
        "FlowFinished",
        "SessionFinished",
    ]


async def test_runs_are_told_by_node_with_times(tmp_path: Path) -> None:
    flow = write_flow(tmp_path, [task("a"), task("b", {"x": ("a", "out")})])
    result = (await watch(flow)).result
    assert [run.node_ids for run in result.runs] == [("a",), ("b",)]
    assert all(run.finished_at is not None and run.finished_at >= run.started_at for run in result.runs)
    assert result.run_count == 2


async def test_events_have_the_fields_of_the_reference(tmp_path: Path) -> None:
    flow = write_flow(tmp_path, [task("a", {"x": {"value": 1}})])
    run = await watch(flow, session_id="S")
    started, finished = run.of("BlockStarted")[0], run.of("BlockFinished")[0]
    assert set(started) == {"type", "session_id", "job_id", "stacks", "inputs", "create_at"}
    assert set(finished) == {"type", "session_id", "job_id", "stacks", "result", "finish_at"}
    assert set(run.of("FlowFinished")[0]) >= {"error", "finish_at"}
    assert "error" not in run.of("SessionFinished")[0]


async def test_result_beside_an_error_is_dropped(tmp_path: Path) -> None:
    flow = write_flow(tmp_path, [task("a"), task("b", {"x": ("a", "out")})])
    run = await watch(flow, {"a": lambda job: job.finish({"out": 1}, error="boom")})
    (finished,) = run.of("BlockFinished")
    assert finished["error"] == "boom"
    assert "result" not in finished


async def test_failing_block_gives_stack_and_cause(tmp_path: Path) -> None:
    flow = write_flow(tmp_path, [task("a"), task("b", {"x": ("a", "out")})])
    run = await watch(flow, {"b": lambda job: job.finish(error="boom")})
    assert run.result.status == "failed"
    assert run.result.error == f"flow {flow} failed."
    assert run.result.cause == "boom"
    assert [frame.node_id for frame in run.result.stack] == ["b"]
    assert run.of("FlowFinished")[0]["error"] == "[node id: b] failed"
    assert run.of("SessionFinished")[0]["_error"]["message"] == "boom"


async def test_other_jobs_of_a_failed_flow_are_forgotten(tmp_path: Path) -> None:
    def fail(job: FakeJob) -> None:
        job.finish(error="boom")

    flow = write_flow(tmp_path, [task("slow"), task("a")])
    run = await watch(flow, {"slow": lambda job: KEEP, "a": fail})
    assert len(run.of("BlockStarted")) == 2
    assert len(run.of("BlockFinished")) == 1
    assert [item.finished_at is None for item in run.result.runs] == [True, False]


async def test_second_end_of_a_job_is_ignored(tmp_path: Path) -> None:
    def twice(job: FakeJob) -> None:
        job.finish({"out": 1})
        job.finish(error="late")

    flow = write_flow(tmp_path, [task("a"), task("b", {"x": ("a", "out")})])
    run = await watch(flow, {"a": twice})
    assert run.result.status == "succeeded"
    assert len(run.of("BlockFinished")) == 2


async def test_inputs_are_handed_out_once(tmp_path: Path) -> None:
    def ready_again(job: FakeJob) -> dict[str, Any]:
        job.send(session.BlockReady(job.payload["session_id"], job.job_id))
        return {"out": 1}

    flow = write_flow(tmp_path, [task("a"), task("b", {"x": ("a", "out")})])
    assert (await watch(flow, {"*": ready_again})).result.status == "succeeded"


async def test_bad_messages_are_skipped_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def babble(job: FakeJob) -> dict[str, Any]:
        bus: Bus = job.host.bus
        topic = topics.session(job.payload["session_id"])
        for text in (b"{", b"[]", b'{"type":"BlockOutput"}', b'{"type":"Unheard"}'):
            bus.publish_nowait(topic, text)
        return {"out": 1}

    run = await watch(write_flow(tmp_path, [task("a")]), {"a": babble})
    assert run.result.status == "succeeded"
    assert f"{topics.session(run.result.session_id)}: message skipped" in caplog.text


async def test_messages_of_another_session_are_ignored(tmp_path: Path) -> None:
    def lie(job: FakeJob) -> dict[str, Any]:
        job.send(session.BlockFinished("other", job.job_id, None, "boom"))
        return {"out": 1}

    assert (await watch(write_flow(tmp_path, [task("a")]), {"a": lie})).result.status == "succeeded"


async def test_executor_that_cannot_start_fails_the_jobs(tmp_path: Path) -> None:
    def refusing(bus: Bus, max_threads: int | None) -> FakeHost:
        host = FakeHost(bus, {})
        host.refuse_with = OSError("no such file")
        return host

    run = await watch(write_flow(tmp_path, [task("a")]), host=refusing)
    assert run.result.cause == "Failed to spawn python-executor. no such file"
    assert run.of("BlockFinished")[0]["error"] == run.result.cause


async def test_executor_that_leaves_fails_its_jobs(tmp_path: Path) -> None:
    def leave(job: FakeJob) -> object:
        job.host.started[0].on_exit("exit with code 3")
        return KEEP

    run = await watch(write_flow(tmp_path, [task("a")]), {"a": leave})
    assert run.result.cause == "Executor python-executor exit with code 3"


async def test_one_executor_serves_the_flow_and_a_spawned_node_has_its_own(tmp_path: Path) -> None:
    alone = {"name": "python", "options": {"entry": "c.py", "spawn": True}}
    flow = write_flow(tmp_path, [task("a"), task("b"), task("c", executor=alone)])
    run = await watch(flow)
    assert run.host is not None
    assert [spec.own_process for spec in run.host.started] == [False, True]
    assert run.host.started[0].package_path == tmp_path
    assert len({spec.identifier for spec in run.host.started}) == 2


async def test_timeout_reports_and_fails(tmp_path: Path) -> None:
    flow = write_flow(tmp_path, [task("a", timeout=0)])
    run = await watch(flow, {"a": lambda job: KEEP})
    assert run.result.cause == "Timeout"
    error = run.of("BlockError")[0]
    assert error["error"] == f"{error['job_id']} timeout after 0s"
    assert run.of("BlockFinished") == []


async def test_block_that_ends_in_time_meets_no_timeout(tmp_path: Path) -> None:
    run = await watch(write_flow(tmp_path, [task("a", timeout=60)]))
    assert run.result.status == "succeeded"


async def test_subflow_reports_outputs_progress_and_end(tmp_path: Path) -> None:
    write_flow(
        tmp_path,
        [task("t", {"x": "<n"})],
        kind="subflow",
        name="inner",
        inputs=["n"],
        outputs={"res": ("t", "out")},
    )
    use = {
        "node_id": "s",
        "subflow": "self::inner",
        "inputs_from": [{"handle": "n", "from_node": [{"node_id": "a", "output_handle": "out"}]}],
    }
    flow = write_flow(tmp_path, [task("a"), use, task("z", {"x": ("s", "res")})], outputs={"res": ("z", "out")})
    run = await watch(flow, {"a": lambda job: {"out": 5}})
    assert run.result.outputs == {"res": [5]}
    inner = run.of("SubflowBlockStarted", "BlockProgress", "SubflowBlockOutput", "SubflowBlockFinished")
    assert [event["type"] for event in inner] == [
        "SubflowBlockStarted",
        "BlockProgress",
        "SubflowBlockOutput",
        "SubflowBlockFinished",
    ]
    assert (inner[0]["inputs"], inner[1]["progress"], inner[2]["output"]) == ({"n": 5}, 95.0, 5)


async def test_failure_in_a_subflow_names_every_level_once(tmp_path: Path) -> None:
    write_flow(tmp_path, [task("t")], kind="subflow", name="deep")
    write_flow(tmp_path, [{"node_id": "d", "subflow": "self::deep"}], kind="subflow", name="inner")
    flow = write_flow(tmp_path, [{"node_id": "s", "subflow": "self::inner"}])
    run = await watch(flow, {"t": lambda job: job.finish(error="boom")})
    assert [frame.node_id for frame in run.result.stack] == ["s", "d", "t"]
    assert run.result.cause == "boom"
    assert [event["error"] for event in run.of("SubflowBlockFinished")] == [
        "[node id: t] failed",
        "[node id: d] failed",
    ]


async def test_loop_of_conditions_does_not_block_the_loop(tmp_path: Path) -> None:
    again = {
        "node_id": "c",
        "inputs_def": [{"handle": "v"}],
        "conditions": {"cases": [{"handle": "on", "expressions": [{"input_handle": "v", "operator": "is not null"}]}]},
        "inputs_from": [
            {
                "handle": "v",
                "from_node": [{"node_id": "a", "output_handle": "out"}, {"node_id": "c", "output_handle": "on"}],
            }
        ],
    }
    flow = write_flow(tmp_path, [task("a"), again])
    host = fake_host({"a": lambda job: {"out": 1}})
    async with open_session(flow, temp_root=tmp_path, session_dir=tmp_path / "s", host=host) as running:
        seen = 0
        async for _ in running.events():
            seen += 1
            if seen > 500:
                break
        running.cancel()
        assert (await running.result()).status == "cancelled"


async def test_preview_is_forwarded_out_of_the_subflow(tmp_path: Path) -> None:
    def show(job: FakeJob) -> dict[str, Any]:
        job.tell(session.Preview, payload=msgspec.Raw(b'{"type":"text","data":"hi"}'))
        return {}

    write_flow(tmp_path, [task("t"), task("u")], kind="subflow", name="inner", forward_previews=["t"])
    flow = write_flow(tmp_path, [{"node_id": "s", "subflow": "self::inner"}])
    run = await watch(flow, {"*": show})
    previews = run.of("BlockPreview")
    assert [(event["stacks"][-1]["node_id"], event.get("node_id")) for event in previews] == [
        ("t", None),
        ("s", "t"),
        ("u", None),
    ]


async def test_root_task_reports_block_events_only(tmp_path: Path) -> None:
    path = tmp_path / "tasks" / "t" / "task.oo.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "executor: {name: python, options: {entry: main.py}}\n"
        "inputs_def: [{handle: x, value: 1}, {handle: y, nullable: true}]\noutputs_def: [{handle: out}]\n",
        encoding="utf-8",
    )

    def several(job: FakeJob) -> dict[str, Any]:
        job.output("out", job.inputs)
        return {"out": 2}

    run = await watch(path, {"*": several}, inputs={"more": 3})
    assert run.kinds == ["SessionStarted", "BlockStarted", "BlockOutput", "BlockFinished", "SessionFinished"]
    assert run.result.outputs == {"out": [{"x": 1, "y": None, "more": 3}, 2]}


async def test_root_task_failure_is_the_session_error(tmp_path: Path) -> None:
    path = tmp_path / "tasks" / "t" / "task.oo.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("executor: {name: python}\n", encoding="utf-8")
    run = await watch(path, {"*": lambda job: job.finish(error="no luck")})
    assert (run.result.error, run.result.stack) == ("no luck", ())
    assert "_error" not in run.of("SessionFinished")[0]


async def test_service_block_runs_by_its_own_topic(tmp_path: Path) -> None:
    service = tmp_path / "lib" / "tools" / "services" / "counter" / "service.oo.yaml"
    service.parent.mkdir(parents=True)
    service.write_text(
        "executor: {name: python, entry: main.py, function: main}\n"
        "blocks: [{name: add, inputs_def: [{handle: n}], outputs_def: [{handle: total}]}]\n",
        encoding="utf-8",
    )
    (tmp_path / "lib" / "tools" / "package.oo.yaml").write_text("name: tools\n", encoding="utf-8")
    use = {"node_id": "s", "service": "tools::counter::add", "inputs_from": [{"handle": "n", "value": 2}]}
    run = await watch(write_flow(tmp_path, [use]), {"s": lambda job: {"total": 2}}, search_paths=[tmp_path / "lib"])
    assert run.host is not None
    payload = run.host.jobs[0].payload
    assert (payload["type"], payload["block_name"], payload["outputs"]) == (
        "ServiceBlockPayload",
        "add",
        {"total": {"handle": "total"}},
    )
    assert "block_path" not in run.of("BlockStarted")[0]
    assert run.result.status == "succeeded"


async def test_many_values_start_as_many_runs_in_order(tmp_path: Path) -> None:
    def produce(job: FakeJob) -> None:
        for number in range(1000):
            job.output("out", number)
        job.finish()

    seen: list[int] = []

    def consume(job: FakeJob) -> dict[str, Any]:
        seen.append(job.inputs["x"])
        return {}

    flow = write_flow(tmp_path, [task("a"), task("b", {"x": ("a", "out")}, concurrency=7)])
    run = await watch(flow, {"a": produce, "b": consume})
    assert seen == list(range(1000))
    assert run.result.run_count == 1001


async def test_block_of_a_package_with_hidden_source_fails(tmp_path: Path) -> None:
    block = tmp_path / "lib" / "tools" / "tasks" / "t" / "task.oo.yaml"
    block.parent.mkdir(parents=True)
    block.write_text("executor: {name: python}\n", encoding="utf-8")
    (tmp_path / "lib" / "tools" / "package.oo.yaml").write_text("name: tools\n", encoding="utf-8")
    (tmp_path / "lib" / "tools" / ".metadata.oo.json").write_text('{"hide_source": true}', encoding="utf-8")
    run = await watch(write_flow(tmp_path, [{"node_id": "a", "task": "tools::t"}]), search_paths=[tmp_path / "lib"])
    assert run.result.cause is not None
    assert run.result.cause.startswith(f"{block} belongs to a package with hidden source")


async def test_unfilled_slot_is_reported_and_the_flow_carries_on(tmp_path: Path) -> None:
    hole = {"node_id": "hole", "slot": {"inputs_def": [{"handle": "x"}]}, "inputs_from": [{"handle": "x", "value": 1}]}
    write_flow(tmp_path, [task("t"), hole], kind="subflow", name="inner")
    run = await watch(write_flow(tmp_path, [{"node_id": "s", "subflow": "self::inner"}]))
    assert run.result.status == "succeeded"
    errors = [event["error"] for event in run.of("BlockFinished") if "error" in event]
    assert errors == ["Cannot run Slot Block directly"]
    assert [event["progress"] for event in run.of("BlockProgress")] == [50.0]


async def test_timeout_of_a_slot_ends_the_task_that_fills_it(tmp_path: Path) -> None:
    filler = tmp_path / "tasks" / "t" / "task.oo.yaml"
    filler.parent.mkdir(parents=True)
    filler.write_text("executor: {name: python}\n", encoding="utf-8")
    write_flow(tmp_path, [{"node_id": "hole", "slot": {}, "timeout": 0}], kind="subflow", name="inner")
    use = {"node_id": "s", "subflow": "self::inner", "slots": [{"slot_node_id": "hole", "task": "self::t"}]}
    run = await watch(write_flow(tmp_path, [use]), {"hole": lambda job: KEEP})
    assert run.result.cause == "Timeout"


async def test_subflow_in_which_no_condition_holds_moves_no_progress(tmp_path: Path) -> None:
    silent = {
        "node_id": "c",
        "inputs_def": [{"handle": "v"}],
        "conditions": {"cases": [{"handle": "on", "expressions": [{"input_handle": "v", "operator": "is null"}]}]},
        "inputs_from": [{"handle": "v", "value": 1}],
    }
    write_flow(tmp_path, [silent], kind="subflow", name="idle")
    write_flow(tmp_path, [{"node_id": "i", "subflow": "self::idle"}, task("t")], kind="subflow", name="inner")
    run = await watch(write_flow(tmp_path, [{"node_id": "s", "subflow": "self::inner"}]))
    assert [event["progress"] for event in run.of("BlockProgress")] == [50.0]


async def test_subflow_that_contains_itself_ends_at_the_limit(tmp_path: Path) -> None:
    write_flow(tmp_path, [{"node_id": "again", "subflow": "self::loop"}], kind="subflow", name="loop")
    run = await watch(write_flow(tmp_path, [{"node_id": "s", "subflow": "self::loop"}]))
    assert run.result.status == "succeeded"
    assert len(run.of("SubflowBlockFinished")) == 49
    assert [event["error"] for event in run.of("BlockFinished")] == ["Maximum recursion depth exceeded: 50 (limit: 50)"]
