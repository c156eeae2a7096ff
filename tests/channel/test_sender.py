"""The channel between producers and the transport: order, marks, coalescing, flushing, the end and failures."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oocana_async.channel.sender import Outbox
from oocana_async.errors import ClosedError, PacketTooLargeError, StateError, TransportError
from oocana_async.wire.envelope import Delivery, Outgoing
from tests.context.bench import GateTransport, broken

pytestmark = pytest.mark.anyio


def message(text: object, size: int = 0) -> Outgoing:
    return Outgoing("t", str(text).encode().ljust(size), Delivery.DATA)


def sent(transport: GateTransport) -> list[str]:
    return [one.payload.decode().strip() for one in transport.taken]


async def in_thread(call: Callable[[], object]) -> None:
    await asyncio.to_thread(call)


async def test_messages_arrive_in_the_order_of_their_calls() -> None:
    transport = GateTransport()
    async with Outbox(transport) as outbox:
        for number in range(3000):
            outbox.append(message(number))
    assert sent(transport) == [str(number) for number in range(3000)]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 200), min_size=2, max_size=5))
def test_each_thread_keeps_its_order(counts: list[int]) -> None:
    transport = GateTransport()

    async def run() -> None:
        async with Outbox(transport, high_water_messages=20) as outbox:

            def produce(name: int, count: int) -> None:
                for number in range(count):
                    outbox.append(message(f"{name}:{number}"))
                    outbox.wait_for_room_blocking()

            await asyncio.gather(*(in_thread(lambda n=n, c=c: produce(n, c)) for n, c in enumerate(counts)))  # type: ignore[misc]

    asyncio.run(run())
    for name, count in enumerate(counts):
        mine = [text for text in sent(transport) if text.startswith(f"{name}:")]
        assert mine == [f"{name}:{number}" for number in range(count)]
    assert len(transport.taken) == sum(counts)


async def test_many_messages_travel_in_few_batches() -> None:
    transport = GateTransport()
    async with Outbox(transport) as outbox:
        for number in range(2000):
            outbox.append(message(number))
    assert len(transport.batches) <= 3


async def test_messages_from_before_the_start_are_sent() -> None:
    transport = GateTransport()
    outbox = Outbox(transport)
    outbox.append(message("early"))
    async with outbox:
        pass
    assert sent(transport) == ["early"]


async def test_only_the_latest_of_a_key_is_sent_at_its_own_place() -> None:
    transport = GateTransport()
    outbox = Outbox(transport)
    outbox.append_latest("progress", message("p1"))
    outbox.append(message("a"))
    outbox.append_latest("progress", message("p2"))
    outbox.append_latest("other", message("o"))
    async with outbox:
        pass
    assert sent(transport) == ["a", "p2", "o"]
    assert outbox.statistics().coalesced == 1


async def test_latest_is_sent_again_after_the_one_before_it_has_gone() -> None:
    transport = GateTransport()
    async with Outbox(transport) as outbox:
        for text in ("p1", "p2"):
            outbox.append_latest("progress", message(text))
            await outbox.flush()
    assert sent(transport) == ["p1", "p2"]


@pytest.mark.parametrize(("count", "size", "congested"), [(3, 0, False), (4, 0, True), (1, 600, True)])
async def test_channel_is_congested_above_its_marks(count: int, size: int, congested: bool) -> None:
    outbox = Outbox(GateTransport(), high_water_messages=3, high_water_bytes=700)
    for number in range(count):
        outbox.append(message(number, size))
    assert outbox.congested is congested


async def test_task_waits_above_the_mark_until_the_sender_has_come_down() -> None:
    transport = GateTransport(is_open=False)
    async with Outbox(transport, high_water_messages=4) as outbox:
        for number in range(5):
            outbox.append(message(number))
        waiting = asyncio.create_task(outbox.wait_for_room())
        await transport.reached.wait()
        assert not waiting.done()
        transport.open()
        await waiting
        assert len(transport.taken) == 5


async def test_thread_waits_above_the_mark_and_may_give_up() -> None:
    transport = GateTransport(is_open=False)
    async with Outbox(transport, high_water_messages=1) as outbox:
        for number in range(2):
            outbox.append(message(number))
        assert await asyncio.to_thread(outbox.wait_for_room_blocking, 0.01) is False
        waiting = asyncio.create_task(asyncio.to_thread(outbox.wait_for_room_blocking))
        transport.open()
        assert await waiting is True


async def test_tasks_of_another_loop_may_wait() -> None:
    transport = GateTransport(is_open=False)
    async with Outbox(transport, high_water_messages=1) as outbox:
        outbox.append(message(1))
        outbox.append(message(2))
        waiting = asyncio.create_task(in_thread(lambda: asyncio.run(outbox.wait_for_room())))
        await transport.reached.wait()
        transport.open()
        await waiting


async def test_cancelling_a_wait_withdraws_nothing() -> None:
    transport = GateTransport(is_open=False)
    async with Outbox(transport, high_water_messages=1) as outbox:
        outbox.append(message(1))
        outbox.append(message(2))
        waiting = asyncio.create_task(outbox.wait_for_room())
        await transport.reached.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        transport.open()
    assert sent(transport) == ["1", "2"]


async def test_hard_limit_blocks_a_thread_that_does_not_wait() -> None:
    transport = GateTransport(is_open=False)
    async with Outbox(transport, hard_limit_bytes=10_000) as outbox:
        appended: list[int] = []

        def produce() -> None:
            for number in range(50):
                outbox.append(message(number, 1000))
                appended.append(number)

        producing = asyncio.create_task(in_thread(produce))
        while outbox.statistics().blocked == 0:
            await asyncio.sleep(0.001)
        assert len(appended) < 12
        assert outbox.statistics().waiting_bytes < 12_000
        transport.open()
        await producing
    assert len(transport.taken) == 50


async def test_hard_limit_never_blocks_the_senders_own_thread() -> None:
    async with Outbox(transport := GateTransport(), hard_limit_bytes=1000) as outbox:
        for number in range(50):
            outbox.append(message(number, 1000))
        assert outbox.wait_for_room_blocking() is True
    assert len(transport.taken) == 50


async def test_flush_returns_when_the_transport_has_acknowledged() -> None:
    transport = GateTransport(is_open=False)
    async with Outbox(transport) as outbox:
        outbox.append(message(1))
        flushing = asyncio.create_task(outbox.flush())
        await transport.reached.wait()
        assert not flushing.done()
        transport.open()
        await flushing
        assert (sent(transport), transport.flushes) == (["1"], 1)


async def test_flush_waits_for_the_last_message_also_when_later_ones_were_replaced() -> None:
    transport = GateTransport(is_open=False)
    async with Outbox(transport) as outbox:
        outbox.append(message("first"))
        await transport.reached.wait()
        outbox.append(message("last"))
        flushing = asyncio.create_task(outbox.flush())
        await asyncio.sleep(0)
        for number in range(3):
            outbox.append_latest("progress", message(number))
        transport.open()
        await flushing
        assert "last" in sent(transport)


async def test_thread_may_flush_and_give_up() -> None:
    transport = GateTransport(is_open=False)
    async with Outbox(transport) as outbox:
        outbox.append(message(1))
        assert await asyncio.to_thread(outbox.flush_blocking, 0.01) is False
        transport.open()
        assert await asyncio.to_thread(outbox.flush_blocking) is True
        assert sent(transport) == ["1"]


async def test_another_loop_may_flush() -> None:
    async with Outbox(transport := GateTransport()) as outbox:
        outbox.append(message(1))
        await in_thread(lambda: asyncio.run(outbox.flush()))
        assert sent(transport) == ["1"]


async def test_senders_own_thread_cannot_block_until_the_sender_is_done() -> None:
    async with Outbox(GateTransport()) as outbox:
        with pytest.raises(StateError, match="await flush"):
            outbox.flush_blocking()


async def test_flush_before_the_start_is_refused() -> None:
    with pytest.raises(ClosedError, match="has not been opened"):
        await Outbox(GateTransport()).flush()


async def test_closing_sends_what_is_queued_and_may_happen_twice() -> None:
    transport = GateTransport()
    outbox = await Outbox(transport).__aenter__()
    outbox.append(message(1))
    await outbox.aclose()
    await outbox.aclose()
    assert (sent(transport), transport.flushes, outbox.statistics().state) == (["1"], 1, "closed")


async def test_message_after_the_end_is_dropped_and_counted() -> None:
    transport = GateTransport()
    async with Outbox(transport) as outbox:
        pass
    outbox.append(message(1))
    outbox.append_latest("progress", message(2))
    await outbox.flush()
    assert outbox.flush_blocking() is True
    assert (sent(transport), outbox.statistics().dropped, outbox.statistics().waiting) == ([], 2, 0)


async def test_opening_twice_is_refused_with_both_states() -> None:
    async with Outbox(GateTransport()) as outbox:
        with pytest.raises(StateError, match="that is open cannot become open"):
            await outbox.__aenter__()


async def test_cancelled_close_drops_what_is_queued() -> None:
    transport = GateTransport(is_open=False)
    outbox = await Outbox(transport).__aenter__()
    outbox.append(message(1))
    closing = asyncio.create_task(outbox.aclose())
    await transport.reached.wait()
    closing.cancel()
    await asyncio.wait([closing])
    await outbox.aclose()
    assert (sent(transport), outbox.statistics().dropped) == ([], 1)


async def test_failure_reaches_everybody_who_waits() -> None:
    transport = GateTransport(is_open=False)
    outbox = await Outbox(transport, high_water_messages=1).__aenter__()
    for number in range(2):
        outbox.append(message(number))
    waits = [
        asyncio.create_task(outbox.wait_for_room()),
        asyncio.create_task(outbox.flush()),
        asyncio.create_task(asyncio.to_thread(outbox.wait_for_room_blocking)),
        asyncio.create_task(asyncio.to_thread(outbox.flush_blocking)),
    ]
    await transport.reached.wait()
    transport.failure = broken("gone for good")
    transport.open()
    for error in await asyncio.gather(*waits, return_exceptions=True):
        assert isinstance(error, TransportError)
        assert "gone for good" in str(error)
    await outbox.aclose()


async def test_after_a_failure_messages_are_dropped_and_who_waits_hears_of_it() -> None:
    transport = GateTransport()
    transport.failure = broken()
    outbox = await Outbox(transport).__aenter__()
    outbox.append(message(1))
    with pytest.raises(TransportError):
        await outbox.flush()
    outbox.append(message(2))
    assert outbox.congested
    with pytest.raises(TransportError, match="gone"):
        await outbox.wait_for_room()
    assert (outbox.statistics().dropped, outbox.statistics().waiting, str(outbox.failure)) == (2, 0, "gone")
    await outbox.aclose()
    assert outbox.statistics().state == "closed"


async def test_failure_releases_a_thread_at_the_hard_limit() -> None:
    transport = GateTransport(is_open=False)
    outbox = await Outbox(transport, hard_limit_bytes=1000).__aenter__()

    def produce() -> None:
        for _ in range(5):
            outbox.append(message(1, 900))

    producing = asyncio.create_task(in_thread(produce))
    while outbox.statistics().blocked == 0:
        await asyncio.sleep(0.001)
    transport.failure = broken()
    transport.open()
    await producing
    await outbox.aclose()


async def test_error_of_another_kind_ends_the_sender_as_a_transport_error(caplog: pytest.LogCaptureFixture) -> None:
    transport = GateTransport()
    transport.failure = ZeroDivisionError("a bug")
    outbox = await Outbox(transport).__aenter__()
    outbox.append(message(1))
    with pytest.raises(TransportError, match="ZeroDivisionError: a bug"):
        await outbox.flush()
    await outbox.aclose()
    assert "the sender stopped" in caplog.text


async def test_message_that_is_too_large_is_dropped_alone(caplog: pytest.LogCaptureFixture) -> None:
    transport = GateTransport()
    async with Outbox(transport) as outbox:
        transport.failure = PacketTooLargeError("too large", size=9, limit=1)
        outbox.append(message(1))
        await outbox.flush()
        transport.failure = None
        outbox.append(message(2))
    assert (sent(transport), outbox.statistics().dropped) == (["2"], 1)
    assert "too large" in caplog.text


async def test_statistics_add_up_while_messages_wait() -> None:
    transport = GateTransport(is_open=False)
    async with Outbox(transport) as outbox:
        for number in itertools.islice(itertools.count(), 3):
            outbox.append(message(number, 100))
        await transport.reached.wait()
        found = outbox.statistics()
        assert (found.appended, found.sent, found.waiting, found.waiting_bytes) == (3, 0, 3, 3 * 228)
        transport.open()
    assert outbox.statistics()[:7] == ("closed", 3, 3, 0, 0, 0, 0)


async def test_sender_is_a_named_task_and_leaves_nothing_behind() -> None:
    before = threading.active_count()
    async with Outbox(GateTransport()):
        assert "oocana-outbox-sender" in {task.get_name() for task in asyncio.all_tasks()}
    assert "oocana-outbox-sender" not in {task.get_name() for task in asyncio.all_tasks()}
    assert threading.active_count() == before
