"""Leading and trailing throttle: the figure of the API page, flushing, the loop's own clock."""

from __future__ import annotations

import asyncio
import threading

import pytest

from oocana_async.channel.throttle import LoopClock, Throttle
from oocana_async.testing.clock import ManualClock

pytestmark = pytest.mark.anyio


def make() -> tuple[Throttle[int], ManualClock, list[int]]:
    passed: list[int] = []
    clock = ManualClock()
    return Throttle(passed.append, 0.3, clock), clock, passed


def test_calls_pass_as_in_the_figure_of_the_api_page() -> None:
    throttle, clock, passed = make()
    throttle.offer(1)
    clock.advance(0.25)
    throttle.offer(2)
    clock.advance(0.05)
    assert passed == [1, 2]
    clock.advance(0.15)
    for call in (3, 4, 5, 6, 7):
        throttle.offer(call)
    clock.advance(0.149)
    assert passed == [1, 2]
    clock.advance(0.001)
    assert passed == [1, 2, 7]


def test_call_after_a_quiet_interval_passes_at_once() -> None:
    throttle, clock, passed = make()
    throttle.offer(1)
    clock.advance(0.3)
    throttle.offer(2)
    assert passed == [1, 2]
    assert clock.waiting == 0


def test_flush_passes_what_is_held_back_once() -> None:
    throttle, clock, passed = make()
    for call in (1, 2, 3):
        throttle.offer(call)
    throttle.flush()
    clock.advance(1)
    assert passed == [1, 3]


def test_closing_flushes_and_drops_what_comes_later() -> None:
    throttle, clock, passed = make()
    for call in (1, 2):
        throttle.offer(call)
    throttle.close()
    throttle.offer(3)
    clock.advance(1)
    assert passed == [1, 2]


async def test_clock_of_a_loop_takes_timers_from_other_threads() -> None:
    fired: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    clock = LoopClock(asyncio.get_running_loop())
    await asyncio.to_thread(clock.call_later, 0.001, lambda: fired.set_result(threading.get_ident()))
    assert await asyncio.wait_for(fired, 5) == threading.get_ident()


async def test_cancelled_timer_does_not_fire() -> None:
    fired: list[int] = []
    done = asyncio.Event()
    clock = LoopClock(asyncio.get_running_loop())
    timer = clock.call_later(0.001, lambda: fired.append(1))
    timer.cancel()
    clock.call_later(0.002, done.set)
    await asyncio.wait_for(done.wait(), 5)
    assert fired == []


def test_clock_of_a_closed_loop_is_harmless() -> None:
    loop = asyncio.new_event_loop()
    clock = LoopClock(loop)
    loop.close()
    clock.call_later(0, lambda: None).cancel()
