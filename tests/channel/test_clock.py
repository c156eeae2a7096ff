"""The clock of an event loop: its timers come on the loop, whoever starts them, and not once they are cancelled."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from oocana_async.channel.clock import LoopClock

pytestmark = pytest.mark.anyio


async def test_timer_of_another_thread_comes_on_the_loop() -> None:
    fired: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    clock = LoopClock(asyncio.get_running_loop())
    await asyncio.to_thread(clock.call_later, 0, lambda: fired.set_result(threading.get_ident()))
    assert await asyncio.wait_for(fired, 5) == threading.get_ident()


async def test_timers_come_in_the_order_of_their_times() -> None:
    loop, fired = asyncio.get_running_loop(), list[float]()
    clock, done = LoopClock(loop), asyncio.Event()
    start = clock.now()
    clock.call_later(0.002, lambda: fired.append(clock.now() - start))
    clock.call_later(0.001, lambda: fired.append(clock.now() - start))
    clock.call_later(0.003, done.set)
    await asyncio.wait_for(done.wait(), 5)
    assert 0.0009 < fired[0] <= fired[1]


async def test_timer_that_is_cancelled_before_it_started_does_not_come() -> None:
    fired: list[int] = []
    LoopClock(asyncio.get_running_loop()).call_later(0, lambda: fired.append(1)).cancel()
    await turns(4)
    assert fired == []


async def test_timer_that_is_cancelled_in_the_turn_in_which_it_is_due_does_not_come() -> None:
    loop, fired = asyncio.get_running_loop(), list[int]()
    timer = LoopClock(loop).call_later(0, lambda: fired.append(1))
    await turns(1)  # the loop has it now, for its next turn
    loop.call_at(0, timer.cancel)  # comes right before it, in the same turn
    await turns(4)
    assert fired == []


async def test_timer_that_is_cancelled_late_has_come() -> None:
    fired: list[int] = []
    timer = LoopClock(asyncio.get_running_loop()).call_later(0, lambda: fired.append(1))
    await turns(4)
    timer.cancel()
    assert fired == [1]


@pytest.mark.parametrize("started", [False, True])
async def test_cancelled_timer_is_forgotten_before_it_would_be_due(started: bool) -> None:
    def callback() -> None:
        raise AssertionError

    kept = weakref.ref(callback)
    timer = LoopClock(asyncio.get_running_loop()).call_later(3600, callback)
    await turns(int(started))
    timer.cancel()
    del timer, callback
    await turns(2)
    gc.collect()
    assert kept() is None


def test_clock_of_a_closed_loop_is_harmless() -> None:
    loop = asyncio.new_event_loop()
    clock = LoopClock(loop)
    loop.close()
    clock.call_later(0, lambda: None).cancel()


async def turns(count: int) -> None:
    """Let the loop go round some times."""
    for _ in range(count):
        await asyncio.sleep(0)
