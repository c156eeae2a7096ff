"""Runs from Python: results, events, cancellation, options."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from oocana_async.engine import decode_value, open_session, run_flow
from oocana_async.engine.target import load_target
from oocana_async.errors import ClosedError, EncodingError, FlowError, LoadError
from oocana_async.wire.messages import report
from tests.engine.fake_executor import KEEP, FakeJob, fake_host
from tests.engine.flows import task, write_flow
from tests.engine.watching import watch

pytestmark = pytest.mark.anyio


def places(root: Path) -> dict[str, Any]:
    return {"temp_root": root, "session_dir": root / "session", "project_data": root / "data"}


def one_block(root: Path, **more: Any) -> Path:
    return write_flow(root, [task("a", **more)], outputs={"res": ("a", "out")})


async def test_run_flow_returns_outputs(tmp_path: Path) -> None:
    host = fake_host({"a": lambda job: {"out": {"n": 1}}})
    result = await run_flow(one_block(tmp_path), host=host, **places(tmp_path))
    assert result.status == "succeeded"
    assert result.output("res") == {"n": 1}
    assert result.raise_for_status() is result


async def test_keyword_that_does_not_exist_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {"sesion_id": "S"}
    with pytest.raises(TypeError, match=r"^unexpected keyword argument 'sesion_id'; did you mean \"session_id\"\?$"):
        await run_flow(one_block(tmp_path), **wrong)


async def test_run_flow_takes_a_loaded_target(tmp_path: Path) -> None:
    loaded = load_target(one_block(tmp_path))
    result = await run_flow(loaded, host=fake_host(), **places(tmp_path))
    assert result.path == loaded.path


async def test_inputs_of_nodes_count_for_a_loaded_target(tmp_path: Path) -> None:
    flow = write_flow(tmp_path, [task("a", {"x": {"value": 1}})], outputs={"res": ("a", "out")})
    host = fake_host({"a": lambda job: {"out": job.inputs["x"]}})
    result = await run_flow(load_target(flow), nodes_inputs={"a": {"x": 2}}, host=host, **places(tmp_path))
    assert result.output("res") == 2


async def test_output_without_value_is_named(tmp_path: Path) -> None:
    result = await run_flow(one_block(tmp_path), host=fake_host(), **places(tmp_path))
    with pytest.raises(KeyError, match="ghost"):
        result.output("ghost")


async def test_failure_is_a_status_and_an_error_on_demand(tmp_path: Path) -> None:
    host = fake_host({"a": lambda job: job.finish(error="boom")})
    result = await run_flow(one_block(tmp_path), host=host, **places(tmp_path))
    assert result.status == "failed"
    with pytest.raises(FlowError, match="boom") as caught:
        result.raise_for_status()
    assert [frame["node_id"] for frame in caught.value.stack] == ["a"]


async def test_flow_inputs_are_delivered(tmp_path: Path) -> None:
    flow = write_flow(tmp_path, [task("a", {"x": "<n"})], inputs=["n"], outputs={"res": ("a", "out")})
    result = await run_flow(flow, inputs={"n": (1, 2)}, host=fake_host(), **places(tmp_path))
    assert result.output("res") == [1, 2]


async def test_input_that_is_no_json_is_named_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(EncodingError, match=r"input \[n\]"):
        await run_flow(one_block(tmp_path), inputs={"n": object()}, host=fake_host(), **places(tmp_path))


async def test_unreadable_target_raises_and_is_reported(tmp_path: Path) -> None:
    async with open_session(tmp_path / "nothing.oo.yaml", **places(tmp_path)) as session:
        events = [event async for event in session.events()]
        with pytest.raises(LoadError, match="nothing"):
            await session.result()
    assert [type(event) for event in events] == [report.SessionStarted, report.SessionFinished]
    assert isinstance(events[1], report.SessionFinished)
    assert str(events[1].error).startswith("Failed to read block")


async def test_unreadable_target_may_be_left_without_asking(tmp_path: Path) -> None:
    async with open_session(tmp_path / "nothing.oo.yaml", **places(tmp_path)) as session:
        async for _ in session.events():
            pass


@pytest.mark.parametrize(
    ("executor", "text"),
    [
        ({"name": "nodejs", "options": {}}, "no nodejs executor"),
        ({"name": "rust"}, "no rust executor"),
        ({"name": "connector", "options": {"action": "mail"}}, "set it to the connector's address"),
    ],
)
async def test_executors_that_are_not_here_are_named_with_their_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: dict[str, Any], text: str
) -> None:
    monkeypatch.delenv("OOCANA_CONNECTOR_BASE_URL", raising=False)
    write_flow(tmp_path, [task("t", executor=executor)], kind="subflow", name="inner")
    flow = write_flow(tmp_path, [{"node_id": "s", "subflow": "self::inner"}, task("b", executor=executor)])
    with pytest.raises(LoadError, match=text) as caught:
        await run_flow(flow, host=fake_host(), **places(tmp_path))
    assert sorted(fault.reason.partition(":")[0] for fault in caught.value.faults) == ['node "b"', 'node "t"']
    assert all(fault.line is not None for fault in caught.value.faults)


async def test_events_are_typed_and_end_with_the_session(tmp_path: Path) -> None:
    async with open_session(one_block(tmp_path), host=fake_host(), **places(tmp_path)) as session:
        events = [event async for event in session.events()]
    assert isinstance(events[0], report.SessionStarted)
    assert isinstance(events[-1], report.SessionFinished)
    assert sum(isinstance(event, report.BlockStarted) for event in events) == 1


async def test_slow_watcher_loses_the_oldest_events_and_knows_it(tmp_path: Path) -> None:
    async with open_session(one_block(tmp_path), host=fake_host(), **places(tmp_path)) as session:
        stream = session.events(limit=2)
        await session.result()
        left = [type(event).__name__ async for event in stream]
    assert left == ["FlowFinished", "SessionFinished"]
    assert stream.dropped == 5


async def test_slow_lossless_watcher_misses_nothing(tmp_path: Path) -> None:
    def produce(job: FakeJob) -> None:
        for number in range(500):
            job.output("out", number)
        job.finish()

    host = fake_host({"a": produce})
    async with open_session(one_block(tmp_path), host=host, **places(tmp_path)) as session:
        seen = []
        async for event in session.events(limit=3, lossless=True):
            await asyncio.sleep(0)
            if isinstance(event, report.BlockOutputEvent):
                seen.append(decode_value(event.output))
    assert seen == list(range(500))


async def test_raw_events_come_in_batches_until_the_session_is_over(tmp_path: Path) -> None:
    async with open_session(one_block(tmp_path), host=fake_host(), **places(tmp_path)) as session:
        stream = session.raw_events()
        await session.result()
        batch = await stream.receive_many()
        assert await stream.receive_many() == []
    kinds = [type(report.decode_report(payload)).__name__ for payload in batch]
    assert (kinds[0], kinds[-1]) == ("SessionStarted", "SessionFinished")


async def test_watching_a_session_that_is_over_is_refused(tmp_path: Path) -> None:
    async with open_session(one_block(tmp_path), host=fake_host(), **places(tmp_path)) as session:
        await session.result()
        with pytest.raises(ClosedError, match="is over"):
            session.events()


async def test_leaving_early_cancels_the_run(tmp_path: Path) -> None:
    host = fake_host({"a": lambda job: KEEP})
    async with open_session(one_block(tmp_path), host=host, **places(tmp_path)) as session:
        stream = session.events()
        async for event in stream:
            if isinstance(event, report.BlockStarted):
                break
    rest = [event async for event in stream]
    assert isinstance(rest[-1], report.SessionFinished)
    assert rest[-1].error == "Cancelled"
    assert (await session.result()).status == "cancelled"


async def test_cancelling_the_scope_ends_the_run(tmp_path: Path) -> None:
    started = anyio.Event()

    def block(job: FakeJob) -> object:
        started.set()
        return KEEP

    async def run() -> None:
        await run_flow(one_block(tmp_path), host=fake_host({"a": block}), **places(tmp_path))
        pytest.fail("the run was cancelled")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await started.wait()
        tasks.cancel_scope.cancel()
    assert not [task for task in asyncio.all_tasks() if "oocana" in task.get_name()]


async def test_error_in_the_body_is_what_the_caller_sees(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_session(one_block(tmp_path), host=fake_host(), **places(tmp_path)):
            raise ZeroDivisionError


async def test_cancel_before_the_run_begins(tmp_path: Path) -> None:
    async with open_session(one_block(tmp_path), host=fake_host(), **places(tmp_path)) as session:
        session.cancel()
        result = await session.result()
    assert (result.status, result.error, result.run_count) == ("cancelled", "Cancelled", 0)


async def test_sessions_of_one_process_do_not_see_each_other(tmp_path: Path) -> None:
    async def run(number: int) -> list[Any]:
        root = tmp_path / str(number)
        flow = one_block(root)
        run = await watch(flow, {"a": lambda job: {"out": number}}, session_id=f"s{number}")
        assert {event["session_id"] for event in run.events} == {f"s{number}"}
        return run.result.outputs["res"]

    assert await asyncio.gather(*(run(number) for number in range(5))) == [[number] for number in range(5)]


async def test_what_is_kept_is_bounded_and_counted(tmp_path: Path) -> None:
    def produce(job: FakeJob) -> None:
        for number in range(20):
            job.output("out", number)
        job.finish()

    flow = write_flow(tmp_path, [task("a"), task("b", {"x": ("a", "out")})], outputs={"res": ("b", "out")})
    result = await run_flow(flow, host=fake_host({"a": produce}), keep=5, **places(tmp_path))
    assert result.outputs == {"res": [15, 16, 17, 18, 19]}
    assert result.output_counts == {"res": 20}
    assert (len(result.runs), result.run_count) == (5, 21)


async def test_only_the_wanted_nodes_run(tmp_path: Path) -> None:
    nodes = [task("a"), task("b", {"x": ("a", "out")}), task("c", {"x": ("b", "out")}), task("d")]
    run = await watch(write_flow(tmp_path, nodes), nodes=["b", "ghost"])
    assert [item.node_ids for item in run.result.runs] == [("a",), ("b",)]
    will_run = run.of("FlowNodesWillRun")[0]
    assert (will_run["start_nodes"], will_run["mid_nodes"], will_run["end_nodes"]) == (["a"], [], ["b", "ghost"])
    assert run.events[0]["partial"] is True


async def test_nodes_inputs_replace_static_values(tmp_path: Path) -> None:
    run = await watch(one_block(tmp_path, inputs={"x": {"value": 1}}), nodes_inputs={"a": {"x": 2}})
    assert run.result.output("res") == 2


async def test_cache_starts_nodes_with_the_values_of_the_last_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    flow = write_flow(tmp_path, [task("a"), task("b", {"x": ("a", "out")})])
    behaviours = {"a": lambda job: {"out": 7}}
    await watch(flow, behaviours, save_cache=True)
    assert (tmp_path / "home" / ".oocana" / "cache_meta.json").is_file()
    run = await watch(flow, behaviours, use_cache=True)
    assert [item.node_ids for item in run.result.runs] == [("a",), ("b",), ("b",)]
    alone = await watch(flow, behaviours, use_cache=True, nodes=["b"])
    assert [item.node_ids for item in alone.result.runs] == [("b",)]
    assert alone.of("BlockStarted")[0]["inputs"] == {"x": 7}
    assert alone.events[0]["cache"] is True


async def test_run_without_values_empties_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    flow = write_flow(tmp_path, [task("a"), task("b", {"x": ("a", "out")})])
    await watch(flow, {"a": lambda job: {"out": 7}}, save_cache=True)
    await watch(flow, {"a": lambda job: {}}, save_cache=True)
    run = await watch(flow, {"a": lambda job: {}}, use_cache=True)
    assert [item.node_ids for item in run.result.runs] == [("a",)]


async def test_directories_are_made_and_marked(tmp_path: Path) -> None:
    flow = one_block(tmp_path)
    run = await watch(flow)
    assert run.host is not None
    spec = run.host.started[0]
    assert (spec.session_dir, spec.pkg_data_dir) == (tmp_path / "session", tmp_path / "data")
    assert spec.tmp_dir.name.startswith("main-")
    assert (spec.tmp_dir / tmp_path.name).is_dir()
    assert (spec.tmp_dir / ".oocana_result.json").read_text() == "0"
    left = spec.tmp_dir / "left"
    left.touch()
    await watch(flow, {"a": lambda job: job.finish(error="boom")})
    assert not left.exists()
    assert not (spec.tmp_dir / ".oocana_result.json").exists()


async def test_variables_reach_the_executors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOMOL_TOKEN", "mine")
    run = await watch(one_block(tmp_path), env={"A": "1", "OOMOL_TOKEN": "theirs"})
    assert run.host is not None
    assert run.host.started[0].env == {"A": "1"}


def test_importing_the_engine_loads_no_manifests() -> None:
    code = "import sys, oocana_async.engine; print('oocana_async.engine.api' in sys.modules, 'yaml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
