"""The Context of classic scriptlets: plain results, blocking where back pressure says so."""

from __future__ import annotations

import asyncio
import threading

import pytest

from oocana_async.channel.channel import Channel
from oocana_async.channel.sender import Sender
from oocana_async.context import Context
from oocana_async.context.messenger import JobIdentity, JobMessenger
from oocana_async.context.sync import SyncContext
from oocana_async.errors import JobCancelledError, TransportError
from oocana_async.testing.manual_clock import ManualClock
from tests.channel.gate import GateTransport, broken, draining
from tests.context.bench import Bench

pytestmark = pytest.mark.anyio


async def test_sync_context_is_a_context_for_isinstance(bench: Bench) -> None:
    assert isinstance(bench.sync_context(), Context)
    assert not isinstance(bench.context(), SyncContext)


async def test_members_return_nothing_and_need_no_loop(bench: Bench) -> None:
    def main() -> list[object]:
        context = bench.sync_context()
        results = [context.output("out", number) for number in range(1000)]
        return [*results, context.flush(), context.finish()]

    assert await asyncio.to_thread(main) == [None] * 1000 + [True, None]
    assert await bench.outputs() == list(range(1000))


async def test_output_blocks_above_the_mark_and_gives_its_place_away(bench: Bench) -> None:
    given = threading.Event()
    transport = GateTransport(is_open=False)

    class Place:
        def __enter__(self) -> None:
            given.set()

        def __exit__(self, *_: object) -> None:
            return

    async with draining(transport, high_water_messages=10) as (channel, sender):
        bench.messenger = JobMessenger(JobIdentity("S1", "J1"), channel, sender, ManualClock(), blocking=Place)
        context = bench.sync_context()
        sent: list[int] = []

        def main() -> None:
            for number in range(30):
                context.output("out", number)
                sent.append(number)

        running = asyncio.create_task(asyncio.to_thread(main))
        await asyncio.to_thread(given.wait, 5)
        assert len(sent) <= 12
        transport.open()
        await running
    assert len(transport.taken) == 30


async def test_cancelled_block_is_not_left_waiting_for_room(bench: Bench) -> None:
    transport = GateTransport(is_open=False)
    async with draining(transport, high_water_bytes=1) as (channel, sender):
        bench.messenger = JobMessenger(JobIdentity("S1", "J1"), channel, sender, ManualClock())
        context = bench.sync_context()
        bench.messenger.send(b"{}")
        waiting = asyncio.create_task(asyncio.to_thread(context.output, "out", 1))
        await transport.reached.wait()
        assert not waiting.done()
        bench.messenger.cancel()
        with pytest.raises(JobCancelledError):
            await waiting
        transport.open()
    assert len(transport.taken) == 2


async def test_flush_gives_up_after_its_time(bench: Bench) -> None:
    transport = GateTransport(is_open=False)
    async with draining(transport) as (channel, sender):
        bench.messenger = JobMessenger(JobIdentity("S1", "J1"), channel, sender, ManualClock())
        context = bench.sync_context()
        context.output("out", 1)
        assert await asyncio.to_thread(context.flush, 0.01) is False
        transport.open()


async def test_output_raises_when_the_connection_is_gone(bench: Bench) -> None:
    transport = GateTransport()
    transport.failure = broken()
    channel = Channel()
    sender = await Sender(channel, transport).__aenter__()
    bench.messenger = JobMessenger(JobIdentity("S1", "J1"), channel, sender, ManualClock())
    context = bench.sync_context()
    bench.messenger.send(b"{}")
    with pytest.raises(TransportError, match="gone"):
        await sender.flush()
    with pytest.raises(TransportError, match="gone"):
        await asyncio.to_thread(context.output, "out", 2)
    await sender.aclose()
