"""The event bus: who gets what, in which order, and what happens when a subscriber is slow."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oocana_async.channel.bus import Bus, BusMessage, BusSubscription, Overflow
from oocana_async.errors import ClosedError, StateError
from oocana_async.wire import topics

pytestmark = pytest.mark.anyio


def payloads(subscription: BusSubscription) -> list[bytes]:
    return [message.payload for message in subscription.receive_many_nowait()]


async def test_message_reaches_every_subscriber_of_its_topic() -> None:
    bus = Bus()
    exact, wild, other = bus.subscribe("session/S1"), bus.subscribe("session/#"), bus.subscribe("report")
    bus.publish_nowait("session/S1", b"1")
    assert (payloads(exact), payloads(wild), payloads(other)) == ([b"1"], [b"1"], [])


async def test_message_comes_once_to_a_subscriber_with_two_matching_filters() -> None:
    bus = Bus()
    subscription = bus.subscribe("a/b", "a/+")
    bus.publish_nowait("a/b", b"1")
    assert payloads(subscription) == [b"1"]


TOPICS = st.sampled_from(["a", "a/b", "a/b/c", "b", "/a"])
FILTERS = st.sampled_from(["#", "a", "a/#", "+", "a/+", "a/b/c", "+/b/#", "/+"])


@given(st.lists(FILTERS, min_size=1, max_size=3), st.lists(TOPICS, max_size=8))
def test_a_subscriber_gets_what_its_filters_match_in_order(filters: list[str], published: list[str]) -> None:
    bus = Bus()
    subscription = bus.subscribe(*filters)
    for topic in published:
        bus.publish_nowait(topic, b"")
    wanted = [topic for topic in published if any(topics.matches(one, topic) for one in filters)]
    assert [message.topic for message in subscription.receive_many_nowait()] == wanted


async def test_publish_many_keeps_the_order_across_topics() -> None:
    bus = Bus()
    subscription = bus.subscribe("#")
    await bus.publish_many([BusMessage("ab"[number % 3 == 0], b"%d" % number) for number in range(1000)])
    assert payloads(subscription) == [b"%d" % number for number in range(1000)]


async def test_subscriber_sees_only_what_came_after_it() -> None:
    bus = Bus()
    bus.publish_nowait("a", b"early")
    subscription = bus.subscribe("a")
    bus.publish_nowait("a", b"late")
    assert payloads(subscription) == [b"late"]


async def test_slow_viewer_loses_the_oldest_and_counts() -> None:
    bus = Bus()
    viewer = bus.subscribe("a", limit=3, overflow=Overflow.DROP_OLDEST)
    await bus.publish_many([BusMessage("a", b"%d" % number) for number in range(5)])
    assert viewer.statistics() == (5, 3, 2)
    assert payloads(viewer) == [b"2", b"3", b"4"]


@pytest.mark.parametrize("count", [3, 300])
async def test_batches_keep_order_for_readers_and_listeners_of_mixed_topics(count: int) -> None:
    bus = Bus()
    reader, heard = bus.subscribe("a", "b", overflow=Overflow.GROW), list[bytes]()
    bus.listen(lambda message: heard.append(message.payload), "b")
    batch = [BusMessage("ab"[number // 3 % 2], b"%d" % number) for number in range(count)]
    assert bus.publish_many_nowait(batch)
    assert payloads(reader) == [message.payload for message in batch]
    assert heard == [message.payload for message in batch if message.topic == "b"]


async def test_growing_subscriber_loses_nothing() -> None:
    bus = Bus()
    engine = bus.subscribe("a", limit=1, overflow=Overflow.GROW)
    await bus.publish_many([BusMessage("a", b"")] * 5)
    assert engine.statistics() == (5, 5, 0)


async def test_publisher_waits_for_a_full_subscriber_until_it_reads() -> None:
    bus = Bus()
    slow = bus.subscribe("a", limit=2, overflow=Overflow.WAIT)
    bus.publish_nowait("a", b"1")
    bus.publish_nowait("a", b"2")
    publishing = asyncio.create_task(bus.publish_many([BusMessage("a", b"3")]))
    await asyncio.sleep(0)
    assert slow.statistics().waiting == 2
    assert (await anext(slow)).payload == b"1"
    await publishing
    assert payloads(slow) == [b"2", b"3"]


async def test_cancelled_publisher_leaves_its_message_unpublished() -> None:
    bus = Bus()
    slow = bus.subscribe("a", limit=1, overflow=Overflow.WAIT)
    bus.publish_nowait("a", b"1")
    publishing = asyncio.create_task(bus.publish_many([BusMessage("a", b"2")]))
    await asyncio.sleep(0)
    publishing.cancel()
    await asyncio.wait([publishing])
    assert payloads(slow) == [b"1"]


async def test_closing_a_full_subscriber_lets_its_publisher_go() -> None:
    bus = Bus()
    slow = bus.subscribe("a", limit=1, overflow=Overflow.WAIT)
    bus.publish_nowait("a", b"1")
    publishing = asyncio.create_task(bus.publish_many([BusMessage("a", b"2")]))
    await asyncio.sleep(0)
    slow.close()
    await publishing


async def test_closed_subscription_ends_after_what_waits() -> None:
    bus = Bus()
    subscription = bus.subscribe("a")
    bus.publish_nowait("a", b"1")
    subscription.close()
    subscription.close()
    bus.publish_nowait("a", b"2")
    assert [message.payload async for message in subscription] == [b"1"]
    assert await subscription.receive_many() == []


async def test_waiting_reader_is_woken_by_the_end() -> None:
    bus = Bus()
    reading = asyncio.create_task(bus.subscribe("a").receive_many())
    await asyncio.sleep(0)
    bus.close()
    assert await reading == []


async def test_second_reader_is_refused() -> None:
    bus = Bus()
    subscription = bus.subscribe("a")
    first = asyncio.create_task(subscription.receive_many())
    await asyncio.sleep(0)
    with pytest.raises(StateError, match="a task reads the subscription of a already"):
        await subscription.receive_many()
    bus.publish_nowait("a", b"1")
    assert len(await first) == 1


async def test_cancelled_reader_takes_nothing() -> None:
    bus = Bus()
    subscription = bus.subscribe("a")
    reading = asyncio.create_task(subscription.receive_many())
    await asyncio.sleep(0)
    bus.publish_nowait("a", b"1")
    reading.cancel()
    await asyncio.wait([reading])
    assert payloads(subscription) == [b"1"]


async def test_closed_bus_takes_no_subscribers() -> None:
    bus = Bus()
    bus.close()
    bus.publish_nowait("a", b"")
    with pytest.raises(ClosedError, match="the bus is closed"):
        bus.subscribe("a")


def test_subscription_without_filter_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one topic filter"):
        Bus().subscribe()


async def test_listener_is_called_in_the_turn_of_the_publisher() -> None:
    bus, heard = Bus(), list[bytes]()
    bus.listen(lambda message: heard.append(message.payload), "a")
    bus.publish_nowait("a", b"1")
    bus.publish_nowait("b", b"2")
    assert heard == [b"1"]


async def test_what_a_listener_publishes_comes_after_what_was_published_before() -> None:
    bus, heard = Bus(), list[bytes]()
    bus.listen(lambda message: bus.publish_nowait("b", b"answer to " + message.payload), "a")
    bus.listen(lambda message: heard.append(message.payload), "#")
    await bus.publish_many([BusMessage("a", b"1"), BusMessage("a", b"2")])
    assert heard == [b"1", b"answer to 1", b"2", b"answer to 2"]


async def test_long_conversation_is_no_recursion_and_leaves_others_their_turn() -> None:
    bus, turns, over = Bus(), list[int](), asyncio.Event()

    def answer(message: BusMessage) -> None:
        count = int(message.payload)
        if count == 5000:
            over.set()
        else:
            bus.publish_nowait("b" if message.topic == "a" else "a", b"%d" % (count + 1))

    bus.listen(answer, "a")
    bus.listen(answer, "b")
    asyncio.get_running_loop().call_soon(lambda: turns.append(not over.is_set()))
    bus.publish_nowait("a", b"0")
    await over.wait()
    assert turns == [True]


async def test_paused_listener_gets_all_in_order_when_it_goes_on() -> None:
    bus, heard = Bus(), list[bytes]()
    listener = bus.listen(lambda message: heard.append(message.payload), "a")
    listener.pause()
    for number in range(3):
        bus.publish_nowait("a", b"%d" % number)
    assert heard == []
    assert listener.statistics() == (3, 3, 0)
    listener.resume()
    bus.publish_nowait("a", b"3")
    assert heard == [b"0", b"1", b"2", b"3"]
    assert listener.statistics() == (4, 0, 0)


async def test_publisher_waits_for_a_paused_listener_at_its_limit() -> None:
    bus, heard = Bus(), list[bytes]()
    listener = bus.listen(lambda message: heard.append(message.payload), "a", limit=1)
    listener.pause()
    await bus.publish_many([BusMessage("a", b"1")])
    assert not bus.publish_many_nowait([BusMessage("b", b""), BusMessage("a", b"2")])
    publisher = asyncio.create_task(bus.publish_many([BusMessage("a", b"2")]), name="publisher")
    await asyncio.sleep(0)
    assert listener.statistics().waiting == 1
    listener.resume()
    await publisher
    assert heard == [b"1", b"2"]


async def test_batch_is_taken_at_once_when_nobody_has_to_be_waited_for() -> None:
    bus = Bus()
    subscription = bus.subscribe("#", overflow=Overflow.WAIT, limit=2)
    assert bus.publish_many_nowait([BusMessage("a", b"1"), BusMessage("b", b"2")])
    assert not bus.publish_many_nowait([BusMessage("a", b"3")])
    assert payloads(subscription) == [b"1", b"2"]


async def test_listener_that_fails_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    bus, heard = Bus(), list[bytes]()

    def fail(message: BusMessage) -> None:
        raise ZeroDivisionError

    bus.listen(fail, "a")
    bus.listen(lambda message: heard.append(message.payload), "a")
    bus.publish_nowait("a", b"1")
    bus.publish_nowait("a", b"2")
    assert heard == [b"1", b"2"]
    assert "a listener to a failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_closed_listener_hears_nothing_more_not_even_what_it_is_owed() -> None:
    bus, heard = Bus(), list[bytes]()

    def hear_once(message: BusMessage) -> None:
        heard.append(message.payload)
        listener.close()

    def publish_two(message: BusMessage) -> None:
        bus.publish_nowait("a", b"1")
        bus.publish_nowait("a", b"2")

    listener = bus.listen(hear_once, "a")
    bus.listen(publish_two, "start")
    bus.publish_nowait("start", b"")
    assert heard == [b"1"]
    listener.close()
