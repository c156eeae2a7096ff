"""The channel alone: order, marks, the hard limit, coalescing, who may put and who has to wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from oocana_async.channel.channel import OVERHEAD, Channel, ChannelStatistics
from oocana_async.errors import TransportError
from oocana_async.wire.envelope import Delivery, Outgoing
from tests.channel.gate import until

pytestmark = pytest.mark.anyio


class Producer:
    """Somebody who may put until it has put its last message."""

    is_running = True


def message(text: object, size: int = 0) -> Outgoing:
    return Outgoing("t", str(text).encode().ljust(size), Delivery.DATA)


def texts(taken: list[Outgoing | None]) -> list[str]:
    return [one.payload.decode().strip() for one in taken if one is not None]


def filled(count: int, size: int = 0, **limits: int) -> Channel:
    channel = Channel(**limits)
    for number in range(count):
        channel.append(message(number, size))
    return channel


def drain(channel: Channel) -> list[str]:
    """Be the sender for one look into the channel."""
    taken = texts(channel.take())
    channel.give_back()
    return taken


def woken(channel: Channel) -> list[str]:
    """Drain the channel in this thread from now on; return what shows how often it was woken."""
    calls: list[str] = []
    channel.start(lambda: calls.append("woken"))
    return calls


# -- order and coalescing ---------------------------------------------------------------------------------------------


def test_messages_come_out_in_the_order_of_their_calls() -> None:
    assert drain(filled(3)) == ["0", "1", "2"]


def test_only_the_latest_of_a_key_stays_at_its_own_place() -> None:
    channel = Channel()
    channel.append_latest("progress", message("p1"))
    channel.append(message("a"))
    channel.append_latest("progress", message("p2"))
    channel.append_latest("other", message("o"))
    assert drain(channel) == ["a", "p2", "o"]


def test_latest_of_a_key_does_not_replace_what_was_taken() -> None:
    channel = Channel()
    for text in ("p1", "p2"):
        channel.append_latest("progress", message(text))
        assert drain(channel) == [text]


def test_sender_is_woken_once_for_what_came_after_it_found_nothing() -> None:
    channel = Channel()
    calls = woken(channel)
    assert drain(channel) == []
    for number in range(3):
        channel.append(message(number))
    assert (calls, drain(channel)) == (["woken"], ["0", "1", "2"])
    channel.append(message("before it sleeps"))
    assert (calls, drain(channel)) == (["woken"], ["before it sleeps"])


@pytest.mark.parametrize("put", ["append", "append_latest", "put_last"])
def test_every_way_to_put_wakes_the_sender(put: str) -> None:
    channel = Channel()
    calls = woken(channel)
    drain(channel)
    ways: dict[str, Callable[[], object]] = {
        "append": lambda: channel.append(message(1)),
        "append_latest": lambda: channel.append_latest("key", message(1)),
        "put_last": lambda: channel.put_last(message(1), Producer()),
    }
    ways[put]()
    assert (calls, drain(channel)) == (["woken"], ["1"])


# -- the end of producers and of the channel --------------------------------------------------------------------------


def test_nothing_of_a_producer_follows_its_last_message() -> None:
    channel, producer = Channel(), Producer()
    assert channel.put(message("output"), producer) is False
    channel.put_last(message("end"), producer)
    channel.put_last(message("second end"), producer)
    assert channel.put(message("late"), producer) is None
    assert channel.put(message("of another")) is False
    assert drain(channel) == ["output", "end", "of another"]


def test_closed_channel_refuses_and_can_still_be_drained() -> None:
    channel, producer = filled(1), Producer()
    channel.close()
    assert channel.put(message("late")) is None
    channel.append_latest("progress", message("late"))
    channel.put_last(message("end"), producer)
    assert not producer.is_running
    assert (drain(channel), channel.statistics().refused) == (["0"], 3)


def test_ended_channel_forgets_what_waits() -> None:
    channel = filled(2)
    channel.end()
    assert channel.statistics() == ChannelStatistics(2, 0, 0, 0, 0, False, 0)
    assert drain(channel) == []


# -- marks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "size", "congested"), [(3, 0, False), (4, 0, True), (1, 600, True)])
def test_channel_is_congested_above_its_marks(count: int, size: int, congested: bool) -> None:
    channel = filled(count, size, high_water_messages=3, high_water_bytes=700)
    assert channel.congested is congested


@pytest.mark.parametrize("limits", [{"high_water_messages": 4}, {"high_water_bytes": 4 * (OVERHEAD + 1)}])
@pytest.mark.parametrize(("left", "congested"), [(3, True), (2, False)])
def test_channel_is_congested_until_it_has_come_down_to_half(
    limits: dict[str, int], left: int, congested: bool
) -> None:
    channel = filled(5, **limits)
    channel.take()
    for number in range(left):
        channel.append(message(number))
    channel.give_back()
    assert channel.congested is congested


def test_messages_count_until_the_sender_gives_them_back() -> None:
    channel = filled(3, 100)
    channel.append_latest("progress", message(1, 100))
    channel.append_latest("progress", message(2, 100))
    waiting = (5, 1, 0, 4, 4 * (100 + OVERHEAD), False, 0)
    assert channel.statistics() == waiting
    channel.take()
    assert channel.statistics() == waiting
    channel.give_back()
    assert channel.statistics() == (5, 1, 0, 0, 0, False, 0)


async def test_task_waits_until_there_is_room() -> None:
    channel = filled(2, high_water_messages=1)
    waiting = asyncio.create_task(channel.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    drain(channel)
    await waiting


async def test_failure_is_raised_each_time_with_a_traceback_of_its_own() -> None:
    channel = filled(1)
    channel.end(TransportError("gone"))
    depths: list[int] = []
    for _ in range(2):
        with pytest.raises(TransportError, match="gone") as caught:
            await channel.wait_for_room()
        depths.append(len(caught.traceback))
    assert depths[0] == depths[1]


# -- threads ----------------------------------------------------------------------------------------------------------


def test_sender_thread_is_never_held_back_by_itself() -> None:
    channel = filled(2, 1000, high_water_messages=1, hard_limit_bytes=1000)
    woken(channel)
    assert channel.congested
    assert channel.wait_for_room_blocking(0) is True
    assert channel.wait_below_limit() is False


def test_nobody_is_held_back_before_there_is_a_sender() -> None:
    channel = filled(2, 1000, hard_limit_bytes=1000)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(channel.wait_below_limit).result(5) is False


def test_thread_may_give_up_after_its_time() -> None:
    channel = filled(2, high_water_messages=1)
    assert channel.wait_for_room_blocking(0) is False
    drain(channel)
    assert channel.wait_for_room_blocking(0) is True


def test_thread_gives_up_its_wait_when_it_is_told() -> None:
    channel, looked, is_over = filled(2, high_water_messages=1), threading.Event(), threading.Event()

    def unless() -> bool:
        looked.set()
        return is_over.is_set()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(channel.wait_for_room_blocking, unless=unless)
        assert looked.wait(5)
        is_over.set()
        channel.nudge()
        assert waiting.result(5) is False


async def test_hard_limit_holds_a_thread_back_until_the_channel_has_come_down_to_half() -> None:
    size = 1000 - OVERHEAD
    channel = Channel(hard_limit_bytes=10_000)
    woken(channel)
    appended: list[int] = []

    def produce() -> None:
        for number in range(12):
            channel.append(message(number, size))
            appended.append(number)

    producing = asyncio.create_task(asyncio.to_thread(produce))
    await until(lambda: channel.statistics().blocked == 1)
    assert (appended, channel.statistics().waiting_bytes) == (list(range(10)), 11_000)
    channel.take()
    for number in range(6):
        channel.put(message(number, size))
    channel.give_back()  # six are left: more than half
    channel.nudge()
    for _ in range(1000):
        await asyncio.sleep(0)  # the thread would have gone on meanwhile
    assert len(appended) == 10
    drain(channel)
    await producing
    assert len(appended) == 12
