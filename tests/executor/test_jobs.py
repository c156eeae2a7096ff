"""What jobs do in an executor of this process: their last lines, what they leave behind, who gives way to whom."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from oocana_async.executor.core import Executor
from oocana_async.executor.job_run import JobRun
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.scope import ExecutorScope, ExecutorSession
from oocana_async.transport.memory import MemoryTransport
from oocana_async.wire import topics
from oocana_async.wire.envelope import Outgoing
from tests.executor.small_engine import Engine, running_engine

pytestmark = pytest.mark.anyio


class SlowTransport(MemoryTransport):
    """A memory transport whose messages wait for a gate."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.bus)
        self.gate = asyncio.Event()
        self.gate.set()

    async def publish(self, batch: Sequence[Outgoing]) -> None:
        """Publish when the gate is open."""
        await self.gate.wait()
        await super().publish(batch)

    def publish_many_nowait(self, batch: Sequence[Outgoing]) -> bool:
        """Take nothing at once: it has to wait for the gate."""
        return False


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine for session S, whose tasks are functions of one main.py."""
    async with running_engine(tmp_path / "block") as one:
        yield one


@pytest.fixture
def transport(engine: Engine) -> SlowTransport:
    """What the executor sends over; open."""
    return SlowTransport(engine)


@pytest.fixture
async def executor(engine: Engine, transport: SlowTransport, tmp_path: Path) -> AsyncIterator[Executor]:
    """An executor with one block loop and one worker thread."""
    session = ExecutorSession("S", tmp_path)
    async with Runtime(max_threads=1) as runtime, Executor(transport, session, runtime) as one:
        one.add_scope(ExecutorScope("I", None, "workspace", str(tmp_path / "data"), tmp_path))
        yield one


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.usefixtures("executor")
async def test_line_without_an_end_is_logged_before_the_block_ends(engine: Engine, kind: str) -> None:
    engine.write(f"import sys\n{kind} main(): sys.stdout.write('no line break')")
    assert await engine.run_task("main") == {}
    kinds = [body["type"] for topic, body in engine.seen if topic in ("report", "session/S")]
    assert kinds[-2:] == ["BlockLog", "BlockFinished"]


@pytest.mark.usefixtures("executor")
async def test_figure_that_a_job_leaves_open_is_freed_with_it(engine: Engine) -> None:
    pytest.importorskip("matplotlib")
    engine.write("""
        import gc, weakref
        figures = []

        def draw():
            import matplotlib.pyplot as plt
            figures.append(weakref.ref(plt.figure()))

        def look():
            gc.collect()
            return {"out": figures[0]() is None}
    """)
    await engine.run_task("draw")
    assert await engine.run_task("look") == {"result": {"out": True}}


async def test_numbers_of_bin_outputs_are_forgotten_with_the_job(engine: Engine, executor: Executor) -> None:
    engine.write("def main(inputs, context): context.output('out', b'one'); context.output('out', b'two')")
    job_id = engine.start_task("main", json_schema={"contentMediaType": "oomol/bin"})
    await engine.end_of(job_id)
    await executor.drain()
    names = [Path(body["output"]["value"]).name for body in engine.of("session/S") if body["type"] == "BlockOutput"]
    assert names == ["out", "out.2"]
    written = executor.bins.write(job_id, "out", b"counted from the start again")
    assert Path(written["value"]).name == "out"


@pytest.mark.usefixtures("executor")
async def test_nothing_of_a_job_is_kept_when_it_has_ended(engine: Engine, executor: Executor) -> None:
    earlier = {id(one): one for one in runs_alive()}  # tests before this one may have left stuck threads behind
    engine.write("def main(params): pass")
    await engine.run_task("main", {"in": 1})
    await executor.drain()
    gc.collect()
    assert [one for one in runs_alive() if id(one) not in earlier] == []


def runs_alive() -> list[JobRun]:
    return [one for one in gc.get_objects() if isinstance(one, JobRun)]


@pytest.mark.usefixtures("executor")
async def test_sync_block_that_waits_for_an_answer_lets_another_one_run(engine: Engine) -> None:
    engine.write("""
        def ask(inputs, context):
            return {"out": context.query_block("self::other").result(20)["type"]}

        def other():
            pass
    """)
    asking = engine.start_task("ask")
    (request,) = await engine.until(lambda: [body for body in engine.of("session/S") if body["type"] == "BlockRequest"])
    await engine.run_task("other")  # there is one thread for both
    answer = {"session_id": "S", "job_id": asking, "request_id": request["request_id"], "result": {"type": "task"}}
    engine.publish(topics.response("S", request["request_id"]), answer)
    assert await engine.end_of(asking) == {"result": {"out": "task"}}


@pytest.mark.parametrize(("depth", "cached"), [(1, 1), (2, 0)], ids=["root flow", "subflow"])
@pytest.mark.usefixtures("executor")
async def test_frames_are_cached_for_nodes_of_the_root_flow_alone(
    engine: Engine, tmp_path: Path, depth: int, cached: int
) -> None:
    engine.write("import pandas\ndef main(): return {'out': pandas.DataFrame({'a': [1]})}")
    definition: dict[str, Any] = {"_serialize_for_cache": True, "json_schema": {"contentMediaType": "oomol/var"}}
    assert "error" not in await engine.run_task("main", depth=depth, **definition)
    assert len([one for one in (tmp_path / "data").rglob("*") if one.is_file() and one.suffix != ".json"]) == cached


async def test_drain_waits_until_what_was_sent_is_delivered(
    engine: Engine, executor: Executor, transport: SlowTransport
) -> None:
    engine.write("def main(): pass")
    job_id = engine.start_task("main")
    await engine.until(lambda: [body for body in engine.of("session/S") if body["type"] == "BlockReady"])
    transport.gate.clear()
    draining = asyncio.create_task(executor.drain())
    while executor.running:
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    is_over = draining.done()
    transport.gate.set()
    await draining
    assert not is_over
    assert await engine.end_of(job_id) == {}
