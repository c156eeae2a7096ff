"""Calls on a loop that other threads ask for: their order, how few wake-ups they cost, and the turn of others."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from oocana_async.channel.loop_calls import LoopCalls

pytestmark = pytest.mark.anyio


async def in_thread(*calls: Callable[[], object]) -> None:
    """Do something in one other thread, and wait for its end without looking at the loop in between."""

    def run() -> None:
        for call in calls:
            call()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


async def test_calls_are_made_on_the_loop_in_the_order_of_posting() -> None:
    calls, seen, over = LoopCalls.of_running_loop(), list[tuple[int, int]](), asyncio.Event()
    here = threading.get_ident()
    posts = [lambda n=n: calls.post_nowait(lambda: seen.append((n, threading.get_ident()))) for n in range(5)]
    await in_thread(*posts, lambda: calls.post_nowait(over.set))
    assert seen == []
    await over.wait()
    assert seen == [(number, here) for number in range(5)]


async def test_the_end_of_a_job_comes_before_all_that_waits() -> None:
    calls, seen, over = LoopCalls.of_running_loop(), list[str](), asyncio.Event()
    await in_thread(
        lambda: calls.post_nowait(lambda: seen.append("message")),
        lambda: calls.post_end(lambda: seen.append("end")),
        lambda: calls.post_nowait(over.set),
    )
    await over.wait()
    assert seen == ["end", "message"]


async def test_what_comes_with_the_end_costs_one_wake_up(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, loop, wakes, seen = LoopCalls.of_running_loop(), asyncio.get_running_loop(), list[int](), list[str]()
    original, over = loop.call_soon_threadsafe, asyncio.Event()

    def wake(*args: object, **options: object) -> object:
        wakes.append(len(seen))
        return original(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_soon_threadsafe", wake)
    await in_thread(calls.hold_until_end, lambda: calls.post_nowait(lambda: seen.append("message")))
    assert wakes == []
    await in_thread(
        calls.hold_until_end,
        lambda: calls.post_nowait(over.set),
        lambda: calls.post_end(lambda: seen.append("end")),
    )
    assert len(wakes) == 1
    await over.wait()
    assert seen == ["end", "message"]


async def test_calls_that_are_held_back_come_when_the_end_is_put_off() -> None:
    calls, over = LoopCalls.of_running_loop(), asyncio.Event()
    await in_thread(calls.hold_until_end, lambda: calls.post_nowait(over.set), calls.release)
    async with asyncio.timeout(5):
        await over.wait()


async def test_call_that_fails_does_not_keep_others_back() -> None:
    calls, over, errors = LoopCalls.of_running_loop(), asyncio.Event(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, report: errors.append(report["exception"]))
    await in_thread(lambda: calls.post_nowait(lambda: 1 / 0), lambda: calls.post_nowait(over.set))
    async with asyncio.timeout(5):
        await over.wait()
    assert [type(error) for error in errors] == [ZeroDivisionError]


async def test_others_have_their_turn_while_calls_keep_coming() -> None:
    calls, turn, limit = LoopCalls.of_running_loop(), asyncio.Event(), time.monotonic() + 1

    def again() -> None:
        if not turn.is_set() and time.monotonic() < limit:
            calls.post_nowait(again)

    calls.post_nowait(again)
    asyncio.get_running_loop().call_soon(turn.set)
    await turn.wait()
    assert time.monotonic() < limit


async def test_quick_answers_are_waited_for_and_wake_the_loop_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oocana_async.channel.loop_calls.MOMENT", 5.0)
    monkeypatch.setattr("oocana_async.channel.loop_calls.TURN", 60.0)
    calls, loop, wakes = LoopCalls.of_running_loop(), asyncio.get_running_loop(), list[object]()
    original, over, rounds = loop.call_soon_threadsafe, asyncio.Event(), 0
    asked = threading.Semaphore(0)

    def wake(*args: object, **options: object) -> object:
        wakes.append(args)
        return original(*args, **options)  # type: ignore[arg-type]

    def ask() -> None:
        nonlocal rounds
        rounds += 1
        asked.release()

    def answer() -> None:
        for _ in range(20):
            asked.acquire()
            calls.post_nowait(ask)
        calls.post_nowait(end)

    def end() -> None:
        monkeypatch.setattr("oocana_async.channel.loop_calls.TURN", 0.0)
        over.set()

    monkeypatch.setattr(loop, "call_soon_threadsafe", wake)
    thread = threading.Thread(target=answer)
    thread.start()
    ask()
    await over.wait()
    thread.join()
    assert rounds == 21
    assert len(wakes) < 5


def test_one_for_each_loop_and_none_for_two() -> None:
    async def get(bound: LoopCalls | None = None) -> LoopCalls:
        assert LoopCalls.of_running_loop() is LoopCalls.of_running_loop()
        return LoopCalls.of_running_loop(bound)

    first = asyncio.run(get())
    assert asyncio.run(get()) is not first
    with pytest.raises(RuntimeError, match="cannot be used from"):
        asyncio.run(get(first))


def test_calls_on_a_closed_loop_are_dropped() -> None:
    async def get() -> LoopCalls:
        return LoopCalls.of_running_loop()

    calls = asyncio.run(get())
    calls.post_nowait(pytest.fail)
