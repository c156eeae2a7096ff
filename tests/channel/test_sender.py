"""The sender between channel and transport: batches, turns for others, flushing, the end and failures."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oocana_async.channel.channel import Channel
from oocana_async.channel.sender import Sender
from oocana_async.errors import ClosedError, PacketTooLargeError, StateError, TransportError
from oocana_async.wire.envelope import Delivery, Outgoing
from tests.channel.gate import GateTransport, broken, draining, until

pytestmark = pytest.mark.anyio


def message(text: object, size: int = 0) -> Outgoing:
    return Outgoing("t", str(text).encode().ljust(size), Delivery.DATA)


def sent(transport: GateTransport) -> list[str]:
    return [one.payload.decode().strip() for one in transport.taken]


async def in_thread(call: Callable[[], object]) -> None:
    await asyncio.to_thread(call)


async def test_messages_arrive_in_the_order_of_their_calls() -> None:
    transport = GateTransport()
    async with draining(transport) as (channel, _):
        for number in range(3000):
            channel.append(message(number))
    assert sent(transport) == [str(number) for number in range(3000)]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 200), min_size=2, max_size=5))
def test_each_thread_keeps_its_order(counts: list[int]) -> None:
    transport = GateTransport()

    async def run() -> None:
        async with draining(transport, high_water_messages=20) as (channel, _):

            def produce(name: int, count: int) -> None:
                for number in range(count):
                    channel.append(message(f"{name}:{number}"))
                    channel.wait_for_room_blocking()

            await asyncio.gather(*(in_thread(lambda n=n, c=c: produce(n, c)) for n, c in enumerate(counts)))  # type: ignore[misc]

    asyncio.run(run())
    for name, count in enumerate(counts):
        mine = [text for text in sent(transport) if text.startswith(f"{name}:")]
        assert mine == [f"{name}:{number}" for number in range(count)]
    assert len(transport.taken) == sum(counts)


async def test_many_messages_travel_in_few_batches() -> None:
    transport = GateTransport()
    async with draining(transport) as (channel, _):
        for number in range(2000):
            channel.append(message(number))
    assert len(transport.batches) <= 3


async def test_others_on_the_loop_have_their_turn_between_batches() -> None:
    transport, seen = GateTransport(), set[int]()

    async def read() -> None:
        while len(transport.taken) < 4000:
            seen.add(len(transport.taken))
            await asyncio.sleep(0)

    async with draining(transport) as (channel, _):
        for number in range(4000):
            channel.append(message(number))
        await read()
    assert len(seen) >= len(transport.batches) > 1


async def test_messages_from_before_the_start_are_sent() -> None:
    transport = GateTransport()
    channel = Channel()
    channel.append(message("early"))
    async with Sender(channel, transport):
        pass
    assert sent(transport) == ["early"]


async def test_task_waits_above_the_mark_until_the_sender_has_come_down() -> None:
    transport = GateTransport(is_open=False)
    async with draining(transport, high_water_messages=4) as (channel, _):
        for number in range(5):
            channel.append(message(number))
        waiting = asyncio.create_task(channel.wait_for_room())
        await transport.reached.wait()
        assert not waiting.done()
        transport.open()
        await waiting
        assert len(transport.taken) == 5


async def test_thread_waits_above_the_mark_and_may_give_up() -> None:
    transport = GateTransport(is_open=False)
    async with draining(transport, high_water_messages=1) as (channel, _):
        for number in range(2):
            channel.append(message(number))
        assert await asyncio.to_thread(channel.wait_for_room_blocking, 0) is False
        waiting = asyncio.create_task(asyncio.to_thread(channel.wait_for_room_blocking))
        transport.open()
        assert await waiting is True


async def test_tasks_of_another_loop_may_wait() -> None:
    transport = GateTransport(is_open=False)
    async with draining(transport, high_water_messages=1) as (channel, _):
        channel.append(message(1))
        channel.append(message(2))
        waiting = asyncio.create_task(in_thread(lambda: asyncio.run(channel.wait_for_room())))
        await transport.reached.wait()
        transport.open()
        await waiting


async def test_cancelling_a_wait_withdraws_nothing() -> None:
    transport = GateTransport(is_open=False)
    async with draining(transport, high_water_messages=1) as (channel, _):
        channel.append(message(1))
        channel.append(message(2))
        waiting = asyncio.create_task(channel.wait_for_room())
        await transport.reached.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        transport.open()
    assert sent(transport) == ["1", "2"]


async def test_hard_limit_never_blocks_the_senders_own_thread() -> None:
    async with draining(transport := GateTransport(), hard_limit_bytes=1000) as (channel, _):
        for number in range(50):
            channel.append(message(number, 1000))
        assert channel.wait_for_room_blocking() is True
    assert len(transport.taken) == 50


async def test_flush_returns_when_the_transport_has_acknowledged() -> None:
    transport = GateTransport(is_open=False)
    async with draining(transport) as (channel, sender):
        channel.append(message(1))
        flushing = asyncio.create_task(sender.flush())
        await transport.reached.wait()
        assert not flushing.done()
        transport.open()
        await flushing
        assert (sent(transport), transport.flushes) == (["1"], 1)


async def test_flush_waits_for_the_last_message_also_when_later_ones_were_replaced() -> None:
    transport = GateTransport(is_open=False)
    async with draining(transport) as (channel, sender):
        channel.append(message("first"))
        await transport.reached.wait()
        channel.append(message("last"))
        flushing = asyncio.create_task(sender.flush())
        await asyncio.sleep(0)
        for number in range(3):
            channel.append_latest("progress", message(number))
        transport.open()
        await flushing
        assert "last" in sent(transport)


class OneByOne(GateTransport):
    """Shuts its gate behind each batch."""

    async def publish(self, batch: Sequence[Outgoing]) -> None:
        await super().publish(batch)
        self.shut()


async def test_flush_waits_for_the_batch_of_its_last_message() -> None:
    transport = OneByOne(is_open=False)
    async with draining(transport) as (channel, sender):
        for number in range(1500):
            channel.append(message(number))
        flushing = asyncio.create_task(sender.flush())
        await transport.reached.wait()
        transport.open()
        await until(lambda: len(transport.batches) == 1)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not flushing.done()
        transport.open()
        await flushing
        assert len(transport.taken) == 1500


async def test_time_out_of_the_transport_is_not_the_one_of_the_caller() -> None:
    class Slow(GateTransport):
        async def flush(self) -> None:
            raise TimeoutError("the broker is slow")

    async with Sender(Channel(), transport := Slow()) as sender:
        with pytest.raises(TimeoutError, match="the broker is slow"):
            await asyncio.to_thread(sender.flush_blocking, 5)
    assert transport.taken == []


async def test_thread_may_flush_and_give_up() -> None:
    transport = GateTransport(is_open=False)
    async with draining(transport) as (channel, sender):
        channel.append(message(1))
        assert await asyncio.to_thread(sender.flush_blocking, 0) is False
        transport.open()
        assert await asyncio.to_thread(sender.flush_blocking) is True
        assert sent(transport) == ["1"]


async def test_another_loop_may_flush() -> None:
    async with draining(transport := GateTransport()) as (channel, sender):
        channel.append(message(1))
        await in_thread(lambda: asyncio.run(sender.flush()))
        assert sent(transport) == ["1"]


async def test_senders_own_thread_cannot_block_until_the_sender_is_done() -> None:
    async with draining(GateTransport()) as (_, sender):
        with pytest.raises(StateError, match="await flush"):
            sender.flush_blocking()


async def test_flush_before_the_start_is_refused() -> None:
    with pytest.raises(ClosedError, match="has not been opened"):
        await Sender(Channel(), GateTransport()).flush()


async def test_closing_sends_what_is_queued_and_may_happen_twice() -> None:
    transport = GateTransport()
    channel = Channel()
    sender = await Sender(channel, transport).__aenter__()
    channel.append(message(1))
    await sender.aclose()
    await sender.aclose()
    assert (sent(transport), transport.flushes, sender.statistics().state) == (["1"], 1, "closed")


async def test_message_after_the_end_is_dropped_and_counted() -> None:
    transport = GateTransport()
    async with draining(transport) as (channel, sender):
        pass
    channel.append(message(1))
    channel.append_latest("progress", message(2))
    await sender.flush()
    assert sender.flush_blocking() is True
    assert (sent(transport), channel.statistics().refused, channel.statistics().waiting) == ([], 2, 0)


async def test_message_that_comes_while_the_sender_closes_is_refused() -> None:
    transport = GateTransport(is_open=False)
    channel = Channel()
    sender = await Sender(channel, transport).__aenter__()
    channel.append(message("early"))
    closing = asyncio.create_task(sender.aclose())
    await transport.reached.wait()
    channel.append(message("late"))
    transport.open()
    await closing
    assert (sent(transport), channel.statistics().refused) == (["early"], 1)


async def test_opening_twice_is_refused_with_both_states() -> None:
    async with draining(GateTransport()) as (_, sender):
        with pytest.raises(StateError, match="that is open cannot become open, only closing or broken"):
            await sender.__aenter__()


async def test_cancelled_close_drops_what_is_queued() -> None:
    transport = GateTransport(is_open=False)
    channel = Channel()
    sender = await Sender(channel, transport).__aenter__()
    channel.append(message(1))
    closing = asyncio.create_task(sender.aclose())
    await transport.reached.wait()
    closing.cancel()
    await asyncio.wait([closing])
    await sender.aclose()
    assert (sent(transport), sender.statistics().lost) == ([], 1)


async def test_failure_reaches_everybody_who_waits() -> None:
    transport = GateTransport(is_open=False)
    channel = Channel(high_water_messages=1)
    sender = await Sender(channel, transport).__aenter__()
    for number in range(2):
        channel.append(message(number))
    waits = [
        asyncio.create_task(channel.wait_for_room()),
        asyncio.create_task(sender.flush()),
        asyncio.create_task(asyncio.to_thread(channel.wait_for_room_blocking)),
        asyncio.create_task(asyncio.to_thread(sender.flush_blocking)),
    ]
    await transport.reached.wait()
    transport.failure = broken("gone for good")
    transport.open()
    for error in await asyncio.gather(*waits, return_exceptions=True):
        assert isinstance(error, TransportError)
        assert "gone for good" in str(error)
    await sender.aclose()


async def test_after_a_failure_messages_are_dropped_and_who_waits_hears_of_it() -> None:
    transport = GateTransport()
    transport.failure = broken()
    channel = Channel()
    sender = await Sender(channel, transport).__aenter__()
    channel.append(message(1))
    with pytest.raises(TransportError):
        await sender.flush()
    channel.append(message(2))
    assert channel.congested
    with pytest.raises(TransportError, match="gone"):
        await channel.wait_for_room()
    found = channel.statistics()
    assert (sender.statistics().lost, found.refused, found.waiting, str(channel.failure)) == (1, 1, 0, "gone")
    await sender.aclose()
    assert sender.statistics().state == "closed"


async def test_failure_releases_a_thread_at_the_hard_limit() -> None:
    transport = GateTransport(is_open=False)
    channel = Channel(hard_limit_bytes=1000)
    sender = await Sender(channel, transport).__aenter__()

    def produce() -> None:
        for _ in range(5):
            channel.append(message(1, 900))

    producing = asyncio.create_task(in_thread(produce))
    await until(lambda: channel.statistics().blocked > 0)
    transport.failure = broken()
    transport.open()
    await producing
    await sender.aclose()


async def test_error_of_another_kind_ends_the_sender_as_a_transport_error(caplog: pytest.LogCaptureFixture) -> None:
    transport = GateTransport()
    transport.failure = ZeroDivisionError("a bug")
    channel = Channel()
    sender = await Sender(channel, transport).__aenter__()
    channel.append(message(1))
    with pytest.raises(TransportError, match="ZeroDivisionError: a bug"):
        await sender.flush()
    await sender.aclose()
    assert "the sender stopped" in caplog.text


async def test_message_that_is_too_large_is_dropped_alone(caplog: pytest.LogCaptureFixture) -> None:
    transport = GateTransport()
    async with draining(transport) as (channel, sender):
        transport.failure = PacketTooLargeError("too large", size=9, limit=1)
        channel.append(message(1))
        await sender.flush()
        transport.failure = None
        channel.append(message(2))
    assert (sent(transport), sender.statistics().lost) == (["2"], 1)
    assert "too large" in caplog.text


async def test_statistics_add_up_while_messages_wait() -> None:
    transport = GateTransport(is_open=False)
    async with draining(transport) as (channel, sender):
        for number in itertools.islice(itertools.count(), 3):
            channel.append(message(number, 100))
        await transport.reached.wait()
        found = channel.statistics()
        assert (found.appended, found.waiting, found.waiting_bytes) == (3, 3, 3 * 228)
        assert sender.statistics() == ("open", 0, 0)
        transport.open()
    assert channel.statistics() == (3, 0, 0, 0, 0, False, 0)
    assert sender.statistics() == ("closed", 3, 0)


async def test_sender_is_a_named_task_and_leaves_nothing_behind() -> None:
    before = threading.active_count()
    async with Sender(Channel(), GateTransport()):
        assert "oocana-sender" in {task.get_name() for task in asyncio.all_tasks()}
    assert "oocana-sender" not in {task.get_name() for task in asyncio.all_tasks()}
    assert threading.active_count() == before


class EagerTransport(GateTransport):
    """Takes batches at once, unless it is told to refuse them."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = False

    def publish_many_nowait(self, batch: Sequence[Outgoing]) -> bool:
        if not self.refuses:
            self.taken.extend(batch)
        return not self.refuses


async def test_outlet_that_can_take_it_gets_a_message_in_the_next_turn() -> None:
    transport = EagerTransport()
    async with draining(transport) as (channel, sender):
        await asyncio.sleep(0)  # the sender has nothing to do
        channel.append(message("a"))
        await asyncio.sleep(0)
        assert sent(transport) == ["a"]
        channel.append(message("b"))
        await sender.flush()
        assert sent(transport) == ["a", "b"]
        assert sender.statistics() == ("open", 2, 0)
        assert channel.statistics().waiting_bytes == 0
    assert transport.batches == []


async def test_batch_that_is_refused_goes_out_before_what_comes_later() -> None:
    transport = EagerTransport()
    async with draining(transport) as (channel, sender):
        await asyncio.sleep(0)  # the sender has nothing to do
        transport.refuses = True
        channel.append(message("a"))
        await asyncio.sleep(0)
        assert sent(transport) == []
        transport.refuses = False
        channel.append(message("b"))
        await sender.flush()
    assert sent(transport) == ["a", "b"]
    assert channel.statistics().waiting_bytes == 0
