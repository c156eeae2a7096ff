"""What a `python-executor` process makes of a broken wire: poison, restarts, cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.stub.parsing import BlockFinished
from tests.transport.conftest import Proxy

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker
    from tests.executor.conftest import StartEngine
    from tests.stub.engine import StubEngine

pytestmark = [pytest.mark.anyio, pytest.mark.broker]

POISON = (
    b"",
    b"poison-body",
    b"\xff\xfe",
    b"[]",
    b'{"type":"BlockPayload","session_id":null}',
    b'{"type":"BlockInputs"}',
    b'{"type":"BlockFinished","session_id":"%(session)s","job_id":7}',
    b'{"type":"FlowFinished","session_id":"%(session)s","job_id":["F"]}',
    b"[" * 100_000,
)

PARENT = """
async def main(params, context):
    job = context.run_block("child", inputs={})
    await job.finish()
    return {"out": "both"}
"""


async def test_poison_is_skipped_on_every_topic(engine: StubEngine) -> None:
    session = engine.session_id
    await engine.ready()
    gate = (
        "import os, asyncio\nasync def main():\n    while not os.path.exists('go'):\n        await asyncio.sleep(0.01)"
    )
    engine.blocks["child"] = engine.write_block(gate, name="child.py")
    parent = engine.start(engine.write_block(PARENT))
    await engine.until(lambda: len(engine.jobs) == 2)  # the session topic is subscribed, too, while a child runs
    for topic in (
        "executor/python/run_block",
        "executor/python/run_service_block",
        "report",
        f"inputs/{session}/{parent.job_id}",
        f"session/{session}/request/R/response",
        f"session/{session}",
    ):
        for body in POISON:
            engine.publish(topic, body.replace(b"%(session)s", session.encode()))
    (engine.workspace / "go").touch()
    assert (await parent.end()).result == {"out": "both"}
    await engine.finish_session()
    log = next((engine.home / ".oocana" / "sessions" / session).glob("python-executor-*.log")).read_text()
    for topic in ("executor/python/run_block", "executor/python/run_service_block", f"session/{session}/request/R/"):
        assert f"skipped a message on {topic}" in log
    assert "poison-body" not in log


async def test_broker_restart_between_two_jobs(broker: MosquittoBroker, start_engine: StartEngine) -> None:
    engine = await start_engine(repeat_after=0.2)
    process = await engine.ready()
    await engine.run("def main():\n    return {'out': 1}")
    broker.restart()
    job = await engine.run("def main():\n    return {'out': 2}", name="again.py")
    assert job.messages == [BlockFinished(session_id=engine.session_id, job_id=job.job_id, result={"out": 2})]
    assert await engine.finish_session() == [0]
    assert engine.processes == [process]


async def test_cut_in_the_middle_of_a_packet(broker: MosquittoBroker, start_engine: StartEngine) -> None:
    async with Proxy(broker.host, broker.port) as proxy:
        engine = await start_engine(executor_address=f"127.0.0.1:{proxy.port}")
        await engine.ready()
        proxy.cut_after = 100_001
        job = await engine.run(
            "async def main(params, context):\n"
            "    for n in range(3000):\n"
            "        await context.output('out', n)\n"
            "    await context.flush()\n"
        )
        values = [value for _, value in job.outputs]
        assert list(dict.fromkeys(values)) == list(range(3000))  # in order; those on their way may come twice
        assert isinstance(job.messages[-1], BlockFinished)
        await engine.until(lambda: any(event["type"] == "BlockFinished" for event in engine.reports))
        (warning,) = [event["warning"] for event in engine.reports if event["type"] == "BlockWarning"]
        assert "may arrive twice" in warning


async def test_cut_while_a_job_waits_for_its_inputs_ends_it(broker: MosquittoBroker, start_engine: StartEngine) -> None:
    async with Proxy(broker.host, broker.port) as proxy:
        engine = await start_engine(executor_address=f"127.0.0.1:{proxy.port}", repeat_after=600)
        await engine.ready()
        engine.deaf_to_readies = 1
        job = engine.start(engine.write_block("def main():\n    pass"))
        await engine.until(lambda: not engine.deaf_to_readies)
        proxy.cut()
        assert "the connection to the broker was cut while the job waited for its inputs" in str(
            (await job.end()).error
        )


async def test_messages_of_blocks_survive_a_broker_outage(broker: MosquittoBroker, start_engine: StartEngine) -> None:
    engine = await start_engine()
    await engine.ready()
    job = engine.start(
        engine.write_block(
            "import os, time\n"
            "def main(params, context):\n"
            "    context.output('out', 'before')\n"
            "    while not os.path.exists('down'):\n"
            "        time.sleep(0.01)\n"
            "    context.output('out', 'meanwhile')\n"
            "    open('sent', 'w').close()\n"
        )
    )
    await engine.until(lambda: bool(job.outputs))
    broker.stop()
    (engine.workspace / "down").touch()
    broker.start()
    assert (await job.end()).error is None
    assert [value for _, value in job.outputs] == ["before", "meanwhile"]
