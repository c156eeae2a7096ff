"""What blocks do in a `python-executor` process: values, child blocks, previews, cancellation."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.stub.engine import Block, StubEngine
from tests.stub.parsing import BlockFinished, BlockProgress, RunBlock

if TYPE_CHECKING:
    from tests.executor.conftest import StartEngine
    from tests.stub.jobs import Job

pytestmark = [pytest.mark.anyio, pytest.mark.broker]

VAR = {"json_schema": {"contentMediaType": "oomol/var"}}
BIN = {"json_schema": {"contentMediaType": "oomol/bin"}}
SECRET = {"json_schema": {"contentMediaType": "oomol/secret"}}
CREDENTIAL = {"json_schema": {"contentMediaType": "oomol/credential"}}


def handle(name: str, definition: dict[str, Any] | None = None) -> dict[str, Any]:
    return {name: {"handle": name, **(definition or {})}}


def logs(engine: StubEngine) -> list[str]:
    return [event["log"] for event in engine.reports if event["type"] == "BlockLog"]


async def result_of(job: Job) -> Any:
    end = await job.end()
    assert end.error is None, end.error
    return None if end.result is None else end.result["out"]


# --- values -----------------------------------------------------------------------------------------------------------


async def test_object_goes_by_reference_to_the_next_block(engine: StubEngine) -> None:
    source = "things = []\ndef make():\n    things.append(object())\n    return {'out': things[0]}\n"
    source += "def take(params):\n    return {'out': params['a'] is things[0]}"
    maker = engine.write_block(source, function="make", outputs=handle("out", VAR))
    taker = engine.write_block(source, function="take", inputs_def=handle("a", VAR))
    made = await result_of(engine.start(maker))
    assert made["__OOMOL_TYPE__"] == "oomol/var"
    assert await result_of(engine.start(taker, {"a": made})) is True


async def test_bytes_go_through_a_file(engine: StubEngine) -> None:
    maker = engine.write_block("def main():\n    return {'out': b'\\0\\1'}", outputs=handle("out", BIN))
    taker = engine.write_block(
        "def main(params):\n    return {'out': list(params['a'])}", name="take.py", inputs_def=handle("a", BIN)
    )
    made = await result_of(engine.start(maker))
    assert made["value"].startswith(str(engine.session_dir))
    assert await result_of(engine.start(taker, {"a": made})) == [0, 1]


async def test_secret_is_resolved_and_redacted(engine: StubEngine) -> None:
    secrets = engine.home / "app-config" / "oomol-secrets" / "secrets.json"
    secrets.parent.mkdir(parents=True)
    entry = {"secretName": "site", "secretType": "Custom", "secrets": [{"secretKey": "KEY", "value": "hunter2"}]}
    secrets.write_text(json.dumps({"site": entry}))
    block = engine.write_block(
        "def main(params):\n    print('it is', params['a'])\n    assert params['a'] == params['b'] == 'hunter2'\n"
        "    raise ValueError(params['a'])",
        inputs_def={**handle("a", SECRET), **handle("b")},
        patch={"b": [{"path": None, "schema": {"contentMediaType": "oomol/secret"}}]},
    )
    job = engine.start(block, {"a": "${{OO_SECRET:Custom,site,KEY}}", "b": "Custom,site,KEY"})
    error = (await job.end()).error
    await engine.finish_session()
    assert logs(engine) == ["it is ***"]
    assert error is not None
    assert "ValueError: ***" in error
    written = [path.read_text() for path in (engine.home / ".oocana").rglob("*.log")]
    assert "hunter2" not in "".join([*written, *engine.process.lines])


async def test_credential_is_asked_for(engine: StubEngine) -> None:
    engine.credentials = {"C1": {"user": "me"}}
    block = engine.write_block(
        "async def main(params, context):\n    return {'out': await context.query_auth(params['a'])}",
        inputs_def=handle("a", CREDENTIAL),
    )
    assert await result_of(engine.start(block, {"a": "${{OO_CREDENTIAL:oauth,site,C1}}"})) == {"user": "me"}


async def test_queries_are_answered(engine: StubEngine) -> None:
    engine.blocks["self::crop"] = Block("crop.py", engine.workspace, inputs_def=handle("w"))
    block = engine.write_block(
        "async def main(params, context):\n"
        "    down = await context.query_downstream(['out'])\n"
        "    block = await context.query_block('self::crop')\n"
        "    try:\n"
        "        await context.query_block('self::gone')\n"
        "    except Exception as error:\n"
        "        return {'out': [list(down), list(block['inputs_def']), str(error)]}"
    )
    await engine.ready()
    job = engine.start(block)
    job.downstream = {"out": {"to_node": []}, "log": {"to_node": []}}
    assert await result_of(job) == [["out"], ["w"], "Failed to find self::gone for block or subflow"]


# --- child blocks -----------------------------------------------------------------------------------------------------

PARENT = """
async def main(params, context):
    job = context.run_block("child", inputs=params)
    seen = []
    job.add_output_callback(lambda outputs: seen.append(outputs))
    try:
        await job.finish()
    except Exception as error:
        return {"out": [type(error).__name__, str(error), seen]}
    return {"out": seen}
"""


def family(engine: StubEngine, child: str | None) -> Block:
    if child is not None:
        engine.blocks["child"] = engine.write_block(child, name="child.py", outputs={**handle("a"), **handle("b")})
    return engine.write_block(PARENT, name="parent.py")


CHILD = "async def main(params, context):\n    await context.output('a', params['n'])\n    return {'b': 2}"


@pytest.mark.parametrize("reporter", [True, False])
async def test_child_task(start_engine: StartEngine, *, reporter: bool) -> None:
    """Its events come from the session topic, so the engine's reporter may be off."""
    engine = await start_engine(reporter=reporter)
    assert await result_of(engine.start(family(engine, CHILD), {"n": 1})) == [{"a": 1}, {"b": 2}]


async def test_failing_child_lets_the_flow_end(engine: StubEngine) -> None:
    block = family(engine, "def main():\n    raise ValueError('no')")
    kind, text, _ = await result_of(engine.start(block))
    assert kind == "BlockExecuteException"
    assert "run block child failed: " in text
    assert "ValueError: no" in text
    await engine.until(lambda: not engine.jobs)


async def test_child_that_cannot_start(engine: StubEngine) -> None:
    kind, text, _ = await result_of(engine.start(family(engine, None)))
    assert kind == "BlockExecuteException"
    assert "Run block failed: Failed to read block or subflow: child. Block: child" in text


@pytest.mark.parametrize("error", [None, "it broke"])
async def test_child_subflow(engine: StubEngine, error: str | None) -> None:
    def subflow(engine: StubEngine, job_id: str) -> None:
        about: dict[str, Any] = {"job_id": job_id, "block_path": None, "stacks": []}
        engine.report("SubflowBlockStarted", **about, inputs={}, create_at=1)
        engine.report("SubflowBlockOutput", **about, handle="a", output=1)
        engine.report("SubflowBlockFinished", **about, error=error, finish_at=1)

    engine.blocks["child"] = subflow
    found = await result_of(engine.start(family(engine, None)))
    if error is None:
        assert found == [{"a": 1}]
    else:
        assert found[:2] == ["BlockExecuteException", "BlockExecuteException: run block child failed: it broke"]
        assert found[2] == [{"a": 1}]


async def test_children_at_once_from_a_sync_block(engine: StubEngine) -> None:
    engine.blocks["child"] = engine.write_block("def main(params):\n    return {'a': params}", name="child.py")
    block = engine.write_block(
        "def main(params, context):\n"
        "    jobs = [context.run_block('child', inputs={'n': n}) for n in range(30)]\n"
        "    for job in jobs:\n"
        "        job.finish().result(10)\n"
        "    return {'out': 'all'}"
    )
    parent = engine.start(block)
    assert await result_of(parent) == "all"
    asked = [message for message in parent.messages if isinstance(message, RunBlock)]
    assert len({message.block_job_id for message in asked}) == 30


# --- progress and previews --------------------------------------------------------------------------------------------


async def test_progress_goes_both_ways(engine: StubEngine) -> None:
    source = "def main(params, context):\n    for n in range(91):\n        context.report_progress(n)"
    job = engine.start(engine.write_block(source))
    await job.end()
    await engine.until(lambda: engine.reports[-1]["type"] == "BlockFinished")
    *_, last, end = job.messages
    assert isinstance(last, BlockProgress)
    assert last.progress == 90
    assert isinstance(end, BlockFinished)
    shown = [event for event in engine.reports if event["type"] == "BlockProgress"]
    assert (shown[-1]["progress"], shown[-1]["rate"]) == (90, 90)
    assert len(shown) < 10


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib")
async def test_figures_become_previews(start_engine: StartEngine) -> None:
    fonts = Path(tempfile.gettempdir()) / "oocana-async-tests-matplotlib"  # looking for fonts takes seconds
    engine = await start_engine(environment={"MPLCONFIGDIR": str(fonts), "OOMOL_COLOR_SCHEME": "light"})
    job = await engine.run(
        "import matplotlib.pyplot as plt\ndef main():\n    plt.plot([1, 2])\n    plt.show()\n"
        "    return {'out': [plt.get_backend(), len(plt.get_fignums())]}"
    )
    assert job.previews[0]["type"] == "image"
    assert str(job.previews[0]["data"]).startswith(("['data:image/png;base64,", "data:image/png;base64,"))


# --- cancellation -----------------------------------------------------------------------------------------------------

ASYNC = """
import asyncio
async def main(params, context):
    await context.output("out", "runs")
    try:
        await asyncio.sleep(600)
    finally:
        await context.output("out", "cleans up")
"""
SYNC = """
import time
def main(params, context):
    context.output("out", "runs")
    while not context.is_cancelled:
        time.sleep(0.01)
    context.output("out", "cleans up")
"""


@pytest.mark.parametrize("source", [ASYNC, SYNC], ids=["async", "sync"])
async def test_end_of_the_flow_cancels_its_jobs(engine: StubEngine, source: str) -> None:
    job = engine.start(engine.write_block(source))
    other = [{"flow_job_id": "other", "flow": "f", "node_id": "n"}]
    unrelated = engine.start(engine.write_block(source, name="other.py"), stacks=other)
    await engine.until(lambda: bool(job.outputs) and bool(unrelated.outputs))
    engine.finish_flow(error="a sibling failed")
    await job.end()
    assert job.outputs == [("out", "runs"), ("out", "cleans up")]
    assert isinstance(job.messages[-1], BlockFinished)
    assert not unrelated.ended.done()


async def test_time_out_cancels_one_job(engine: StubEngine) -> None:
    block = engine.write_block(ASYNC)
    job, other = engine.start(block), engine.start(block)
    await engine.until(lambda: bool(job.outputs) and bool(other.outputs))
    engine.time_out(job)
    await engine.until(lambda: any(isinstance(message, BlockFinished) for message in engine.dropped))
    assert {message.job_id for message in engine.dropped if isinstance(message, BlockFinished)} == {job.job_id}
    assert not other.ended.done()


async def test_end_of_the_session_cancels_all(engine: StubEngine) -> None:
    block = engine.write_block(ASYNC)
    jobs = [engine.start(block) for _ in range(3)]
    await engine.until(lambda: all(job.outputs for job in jobs))
    assert await engine.finish_session(terminate_after=600) == [0]
    for job in jobs:
        await job.end()
        assert job.outputs[-1] == ("out", "cleans up")
