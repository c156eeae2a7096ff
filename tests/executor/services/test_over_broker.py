"""Services of `python-executor` processes over a real broker: shared state, later sessions, ends of all kinds."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from oocana_async.transport.base import Subscription
from oocana_async.transport.broker import MqttTransport
from oocana_async.wire.envelope import Delivery, Outgoing
from tests.stub.jobs import Block, Job

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker
    from tests.executor.conftest import StartEngine
    from tests.stub.engine import StubEngine

pytestmark = [pytest.mark.anyio, pytest.mark.broker]

SOURCE = """
import os
state = {"total": 0}

def add(inputs, context):
    state["total"] += inputs["n"]
    return {"out": [state["total"], os.getpid()]}

async def hold(inputs, context):
    context.output("out", os.getpid())
    await __import__("asyncio").sleep(600)

async def many(inputs, context):
    for number in range(3000):
        await context.output("out", number)

def main(service):
    service.block_handler = {"add": add, "hold": hold, "many": many}
"""


class FrontEnd:
    """Somebody on the broker who watches services."""

    def __init__(self, transport: MqttTransport, exits: Subscription) -> None:
        self.transport = transport
        self._exits = exits

    async def exit_report(self) -> dict[str, Any]:
        """Wait for a service to say that it leaves."""
        body: dict[str, Any] = msgspec.json.decode((await anext(self._exits)).payload)
        return {key: body[key] for key in ("service_hash", "session_id", "executor")}


@pytest.fixture
async def front_end(broker: MosquittoBroker) -> AsyncIterator[FrontEnd]:
    """A front end, there before any service is."""
    async with MqttTransport(broker.address, client_id="front-end") as transport:
        yield FrontEnd(transport, await transport.subscribe("service/report/exit"))


async def run(stub: StubEngine, directory: Path, block: str, stop_at: str = "session_end") -> Any:
    """Run a block of the service and return its output."""
    job = await start(stub, directory, block, stop_at)
    end = await job.end()
    assert end.error is None
    assert end.result is not None
    return end.result["out"]


async def start(stub: StubEngine, directory: Path, block: str, stop_at: str = "session_end") -> Job:
    """Let a job of the service be due."""
    await stub.ready()
    directory.mkdir(exist_ok=True)
    (directory / "main.py").write_text(SOURCE)
    stacks = [{"flow_job_id": stub.flow_job_id, "flow": "flow.oo.yaml", "node_id": "node"}]
    outputs = {"out": {"handle": "out"}}
    job = Job(
        stub.session_id,
        str(uuid.uuid4()),
        stub.identifier(),
        Block("main.py", directory, outputs=outputs),
        {"n": 1},
        stacks,
    )
    executor = {"name": "python", "entry": "./main.py", "function": "main", "start_at": "block_start"}
    job.payload = {
        **{key: job.payload[key] for key in ("session_id", "job_id", "stacks", "executor_name", "dir", "identifier")},
        "type": "ServiceBlockPayload",
        "block_name": block,
        "service_executor": {**executor, "stop_at": stop_at, "keep_alive": None},
        "service_hash": "0123456789abcdef",
        "outputs": outputs,
    }
    stub.jobs[job.job_id] = job
    stub.publish("executor/python/run_service_block", job.payload)
    return job


async def test_session_service_keeps_its_state_and_leaves_with_its_session(
    start_engine: StartEngine, front_end: FrontEnd, tmp_path: Path
) -> None:
    stub = await start_engine()
    totals = [(await run(stub, tmp_path / "service", "add"))[0] for _ in range(3)]
    assert totals == [1, 2, 3]
    assert await stub.finish_session() == [0]
    report = {"service_hash": "0123456789abcdef", "session_id": stub.session_id, "executor": "python"}
    assert await front_end.exit_report() == report


async def test_two_sessions_have_a_service_each(start_engine: StartEngine, tmp_path: Path) -> None:
    first, second = await start_engine(), await start_engine()
    totals = [(await run(stub, tmp_path / "service", "add"))[0] for stub in (first, second, first, second)]
    assert totals == [1, 1, 2, 2]


async def test_service_leaves_when_the_executor_is_terminated_without_a_reporter(
    start_engine: StartEngine, front_end: FrontEnd, tmp_path: Path
) -> None:
    stub = await start_engine(reporter=False)
    job = await start(stub, tmp_path / "service", "hold")
    await stub.until(lambda: bool(job.outputs))
    stub.terminate()
    await front_end.exit_report()
    assert (await job.end()).error is not None


async def test_service_leaves_when_the_executor_is_killed(
    start_engine: StartEngine, front_end: FrontEnd, tmp_path: Path
) -> None:
    stub = await start_engine(reporter=False)
    await run(stub, tmp_path / "service", "add")
    os.kill(stub.process.pid, signal.SIGKILL)
    await front_end.exit_report()


async def test_global_service_is_found_by_the_next_session_and_ends_on_request(
    start_engine: StartEngine, front_end: FrontEnd, tmp_path: Path
) -> None:
    first = await start_engine()
    total, pid = await run(first, tmp_path / "service", "add", "Never")
    await first.finish_session()
    second = await start_engine()
    assert await run(second, tmp_path / "service", "add", "Never") == [total + 1, pid]
    message = Outgoing("service/global/action/shutdown", b"{}", Delivery.CONTROL)
    await front_end.transport.publish([message])
    assert (await front_end.exit_report())["session_id"] is None
    assert (await run(second, tmp_path / "service", "add", "Never"))[0] == 1
    await front_end.transport.publish([message])
    await front_end.exit_report()


@pytest.mark.parametrize("stop_at", ["session_end", "app_end"])
async def test_many_outputs_of_a_service_all_arrive_in_order(
    start_engine: StartEngine, front_end: FrontEnd, tmp_path: Path, stop_at: str
) -> None:
    stub = await start_engine()
    job = await start(stub, tmp_path / "service", "many", stop_at)
    assert (await job.end()).error is None
    assert [value for _, value in job.outputs] == list(range(3000))
    await front_end.transport.publish([Outgoing("service/global/action/shutdown", b"{}", Delivery.CONTROL)])
    await front_end.exit_report()


async def test_killed_service_is_an_error_of_its_jobs(start_engine: StartEngine, tmp_path: Path) -> None:
    stub = await start_engine()
    job = await start(stub, tmp_path / "service", "hold")
    await stub.until(lambda: bool(job.outputs))
    os.kill(job.outputs[0][1], signal.SIGKILL)
    error = (await job.end()).error
    assert error is not None
    assert error.startswith(f"Service {tmp_path / 'service'} exited with code -1")
    assert (await run(stub, tmp_path / "service", "add"))[0] == 1
