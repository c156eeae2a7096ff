"""The transport within one process."""

from __future__ import annotations

import asyncio

import pytest

from oocana_async.channel.bus import Bus, Overflow
from oocana_async.channel.channel import Channel
from oocana_async.errors import ClosedError
from oocana_async.transport.memory import MemoryTransport
from oocana_async.wire.envelope import Delivery, Outgoing
from tests.channel.gate import draining

pytestmark = pytest.mark.anyio


def message(topic: str, text: str) -> Outgoing:
    return Outgoing(topic, text.encode(), Delivery.DATA)


async def test_messages_go_from_one_transport_to_another_of_the_bus() -> None:
    bus = Bus()
    async with MemoryTransport(bus) as executor, MemoryTransport(bus) as engine:
        inbox = await engine.subscribe("session/S1")
        await executor.publish([message("session/S1", "1"), message("report", "2"), message("session/S1", "3")])
        await executor.flush()
        assert [one.payload for one in inbox.receive_many_nowait()] == [b"1", b"3"]
        assert inbox.statistics()["received"] == 2
        assert executor.statistics()["published"] == 3


async def test_leaving_ends_the_own_subscriptions() -> None:
    async with MemoryTransport(Bus()) as transport:
        inbox = await transport.subscribe("a")
        await transport.publish([message("a", "1")])
    assert [one.payload async for one in inbox] == [b"1"]
    assert await inbox.receive_many() == []


async def test_use_after_the_end_is_refused() -> None:
    transport = MemoryTransport(Bus())
    await transport.aclose()
    await transport.aclose()
    with pytest.raises(ClosedError, match="memory transport is closed"):
        await transport.publish([message("a", "1")])
    with pytest.raises(ClosedError, match="memory transport is closed"):
        await transport.subscribe("a")


async def test_subscriber_that_wants_to_be_waited_for_holds_the_sender_back() -> None:
    bus = Bus()
    engine = bus.subscribe("a", limit=10, overflow=Overflow.WAIT)
    transport = MemoryTransport(bus)
    async with draining(transport, high_water_messages=50) as (channel, _):
        producing = asyncio.create_task(_produce(channel, 1000))
        taken = 0
        while taken < 1000:
            taken += len(await engine.receive_many())
            assert channel.statistics().waiting <= 400
        await producing
    assert taken == 1000


async def _produce(channel: Channel, count: int) -> None:
    for _ in range(count):
        channel.append(message("a", "x"))
        await channel.wait_for_room()
