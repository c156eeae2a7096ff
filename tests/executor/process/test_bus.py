"""Whoever listens to a run over MQTT listens to a bus, as with the embedded engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from oocana_async.channel.bus import Bus
from oocana_async.executor.core import Executor
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.scope import ExecutorScope, ExecutorSession
from oocana_async.transport.broker import MqttTransport
from tests.stub.process import ExecutorState

if TYPE_CHECKING:
    from tests.stub.engine import StubEngine

pytestmark = [pytest.mark.anyio, pytest.mark.broker]


@pytest.fixture
async def bus(engine: StubEngine) -> AsyncIterator[Bus]:
    """The bus of an executor in this process that takes the jobs of the engine over the broker."""
    bus = Bus()
    session = ExecutorSession(
        engine.session_id, engine.session_dir, heal_children=True, watch_session_topic=True, inputs_deadline=None
    )
    scope = ExecutorScope(
        identifier=engine.identifier(),
        package_path=engine.workspace,
        package_name="workspace",
        pkg_data_dir=str(engine.tmp_dir),
        tmp_dir=engine.tmp_dir,
        variables={},
    )
    engine.executors[engine.identifier()] = ExecutorState.SPAWNED
    transport = MqttTransport(engine.address, client_id="executor", session_id=engine.session_id)
    async with transport, Runtime() as runtime, Executor(transport, session, runtime, bus=bus) as executor:
        executor.add_scope(scope)
        await engine.until(lambda: bool(engine.readies))
        yield bus


async def test_report_comes_over_the_bus(engine: StubEngine, bus: Bus) -> None:
    events = bus.subscribe("report")
    await engine.run("def main():\n    print('said')\n    return {'out': 1}")
    kinds: list[str] = []
    async with asyncio.timeout(10):
        while "BlockFinished" not in kinds:
            kinds.append(json.loads((await anext(events)).payload)["type"])
    assert [kind for kind in kinds if kind in ("BlockStarted", "BlockLog")] == ["BlockStarted", "BlockLog"]


async def test_messages_of_children_come_over_the_bus(engine: StubEngine, bus: Bus) -> None:
    messages = bus.subscribe("session/+")
    engine.blocks["child"] = engine.write_block("def main():\n    return {'a': 1}", name="child.py")
    job = await engine.run("async def main(params, context):\n    await context.run_block('child', inputs={}).finish()")
    assert getattr(job.messages[-1], "error", None) is None
    kinds = [json.loads(message.payload)["type"] for message in messages.receive_many_nowait()]
    assert "BlockFinished" in kinds
