"""How plain functions share a limited number of worker threads, and how those end."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from oocana_async.errors import ClosedError
from oocana_async.executor.threads.workers import Workers

pytestmark = pytest.mark.anyio
VALUE: contextvars.ContextVar[int] = contextvars.ContextVar("VALUE")


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    made = Workers(max_threads=2)
    yield made
    assert await made.aclose() == []


def start(workers: Workers, function: Callable[[], Any], job_id: str = "") -> asyncio.Task[Any]:
    return asyncio.create_task(workers.run(function, context=contextvars.copy_context(), job_id=job_id))


async def test_run_returns_result_of_a_named_daemon_thread(workers: Workers) -> None:
    thread = await start(workers, threading.current_thread)
    assert thread.daemon
    assert thread.name == "oocana-worker-1"


async def test_run_raises_what_the_function_raises(workers: Workers) -> None:
    with pytest.raises(ZeroDivisionError):
        await start(workers, lambda: 1 / 0)
    with pytest.raises(SystemExit):
        await workers.run(lambda: exec("raise SystemExit"), context=contextvars.copy_context())
    assert await start(workers, lambda: 1) == 1


async def test_run_uses_the_given_context(workers: Workers) -> None:
    context = contextvars.copy_context()
    await workers.run(lambda: VALUE.set(7), context=context)
    assert context[VALUE] == 7
    assert VALUE.get(None) is None


async def test_idle_thread_is_used_again(workers: Workers) -> None:
    names = {(await start(workers, threading.current_thread)).name for _ in range(5)}
    assert len(names) == 1


async def test_work_above_the_limit_waits_in_order(workers: Workers) -> None:
    gate, started, order = threading.Event(), threading.Barrier(3), list[int]()

    def hold() -> None:
        started.wait(10)
        gate.wait(10)

    held = [start(workers, hold) for _ in range(2)]
    await asyncio.to_thread(started.wait, 10)
    queued = [start(workers, lambda number=number: order.append(number)) for number in range(5)]  # type: ignore[misc]
    await asyncio.sleep(0)
    assert workers.statistics() == {"threads": 2, "idle": 0, "free": 0, "queued": 5, "resuming": 0}
    gate.set()
    await asyncio.gather(*held, *queued)
    assert sorted(order) == list(range(5))


async def test_waiting_parents_do_not_starve_children(workers: Workers) -> None:
    def parent(depth: int) -> int:
        if depth == 0:
            return 0
        future = asyncio.run_coroutine_threadsafe(
            workers.run(lambda: parent(depth - 1), context=contextvars.copy_context()), loop
        )
        with workers.yielding(), workers.yielding():
            return future.result(10) + 1

    loop = asyncio.get_running_loop()
    assert await asyncio.gather(*(start(workers, lambda: parent(4)) for _ in range(4))) == [4] * 4
    assert workers.statistics()["free"] == 2
    assert workers.statistics()["threads"] == 2  # those that were made while others waited have ended


async def test_thread_that_goes_on_takes_a_permit_again(workers: Workers) -> None:
    running, most, lock = 0, 0, threading.Lock()
    gate, hold = threading.Event(), threading.Event()
    waiting = threading.Barrier(5)

    def work() -> None:
        nonlocal running, most
        with workers.yielding():
            waiting.wait(10)
            gate.wait(10)
        with lock:
            running += 1
            most = max(most, running)
        hold.wait(10)
        with lock:
            running -= 1

    tasks = [start(workers, work) for _ in range(4)]
    await asyncio.to_thread(waiting.wait, 10)
    gate.set()
    while running + workers.statistics()["resuming"] < 4:  # each of the threads runs, or waits for its permit
        await asyncio.sleep(0)
    hold.set()
    await asyncio.gather(*tasks)
    assert most == 2


async def test_yielding_outside_of_workers_does_nothing(workers: Workers) -> None:
    with workers.yielding():
        assert await start(workers, lambda: 1) == 1


async def test_queued_work_can_be_cancelled(workers: Workers) -> None:
    gate, started = threading.Event(), threading.Barrier(3)
    held = [start(workers, lambda: (started.wait(10), gate.wait(10))) for _ in range(2)]
    await asyncio.to_thread(started.wait, 10)
    by_id, by_task = start(workers, lambda: 1, "one"), start(workers, lambda: 2)
    await asyncio.sleep(0)
    assert workers.cancel("one")
    assert not workers.cancel("other")
    by_task.cancel()
    for task in (by_id, by_task):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert workers.statistics()["queued"] == 0
    gate.set()
    await asyncio.gather(*held)


async def test_aclose_names_stuck_thread_and_its_place() -> None:
    workers, gate, started = Workers(max_threads=1), threading.Event(), threading.Event()

    def stuck() -> None:
        started.set()
        gate.wait(10)

    task = start(workers, stuck, "job-1")
    queued = start(workers, lambda: 1)
    await asyncio.to_thread(started.wait, 10)
    (report,) = await workers.aclose(0.01)
    assert (report.name, report.job_ids) == ("oocana-worker-1", ("job-1",))
    assert report.location is not None
    assert report.location.file == __file__
    assert report.location.function == "stuck"
    with pytest.raises(asyncio.CancelledError):
        await queued
    gate.set()
    await task
    assert await workers.aclose() == []


async def test_aclose_waits_for_work_whose_caller_is_gone() -> None:
    workers, gate, started = Workers(max_threads=1), threading.Event(), threading.Event()

    def hold() -> None:
        started.set()
        gate.wait(10)

    task = start(workers, hold)
    await asyncio.to_thread(started.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    closing = asyncio.create_task(workers.aclose(10))
    await asyncio.sleep(0)
    gate.set()
    assert await closing == []


async def test_run_after_close_is_refused() -> None:
    workers = Workers()
    assert await workers.aclose() == []
    with pytest.raises(ClosedError):
        await start(workers, lambda: 1)
