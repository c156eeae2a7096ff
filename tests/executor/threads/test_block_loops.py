"""Where coroutines of blocks run, what happens to those behind one that blocks, and how they end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import logging
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from oocana_async.channel.loop_calls import LoopCalls
from oocana_async.errors import ClosedError
from oocana_async.executor.threads import block_loop, block_loops
from oocana_async.executor.threads.block_loop import BlockLoop
from oocana_async.executor.threads.block_loops import BlockLoops, HeldLoop

pytestmark = pytest.mark.anyio
VALUE: contextvars.ContextVar[int] = contextvars.ContextVar("VALUE")
Factory = Callable[[], Coroutine[Any, Any, Any]]


@pytest.fixture
async def loops() -> AsyncIterator[BlockLoops]:
    made = BlockLoops(max_threads=1)
    yield made
    assert await made.aclose() == []


def start(loops: BlockLoops, factory: Factory, job_id: str = "job") -> asyncio.Task[Any]:
    return asyncio.create_task(loops.run(factory, context=contextvars.copy_context(), job_id=job_id))


async def here() -> threading.Thread:
    return threading.current_thread()


def forget(coroutine: Coroutine[Any, Any, Any], **options: Any) -> None:
    asyncio.create_task(coroutine, **options)  # noqa: RUF006 - what blocks do


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 10)


async def test_run_returns_result_of_a_named_daemon_thread(loops: BlockLoops) -> None:
    thread = await start(loops, here)
    assert thread is not threading.current_thread()
    assert (thread.name, thread.daemon) == ("oocana-block-loop-1", True)


async def test_run_raises_what_the_coroutine_raises(loops: BlockLoops) -> None:
    async def fail() -> None:
        raise KeyError("x")

    async def leave() -> None:
        sys.exit("bye")

    with pytest.raises(KeyError):
        await start(loops, fail)
    with pytest.raises(SystemExit, match="bye"):
        await loops.run(leave, context=contextvars.copy_context(), job_id="job")
    assert await start(loops, here)


async def test_run_uses_the_given_context(loops: BlockLoops) -> None:
    async def main() -> None:
        VALUE.set(7)
        assert await asyncio.create_task(read()) == 7

    async def read() -> int:
        return VALUE.get()

    context = contextvars.copy_context()
    await loops.run(main, context=context, job_id="job")
    assert context[VALUE] == 7
    assert VALUE.get(None) is None


async def test_idle_loop_is_used_again() -> None:
    loops = BlockLoops(max_threads=4)
    assert len({(await start(loops, here)).name for _ in range(5)}) == 1
    assert await loops.aclose() == []


async def test_blocking_jobs_run_side_by_side() -> None:
    loops, barrier = BlockLoops(max_threads=20), threading.Barrier(20)

    async def block() -> None:
        barrier.wait(10)

    await asyncio.gather(*(start(loops, block) for _ in range(20)))
    assert loops.statistics()["loops"] == 20
    assert await loops.aclose() == []


async def test_thousand_waiting_jobs_share_few_loops() -> None:
    loops, gate, left = BlockLoops(max_threads=4), asyncio.Event(), 1000
    home, everybody = asyncio.get_running_loop(), asyncio.Event()

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            everybody.set()

    async def wait() -> None:
        home.call_soon_threadsafe(count)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(gate.wait(), home))

    tasks = [start(loops, wait, str(number)) for number in range(1000)]
    await asyncio.wait_for(everybody.wait(), 10)
    gate.set()
    await asyncio.gather(*tasks)
    assert loops.statistics() == {"loops": 4, "idle": 4, "jobs": 0, "stranded": 0}
    assert await loops.aclose() == []


async def test_job_behind_a_blocking_one_is_moved() -> None:
    loops, gate = BlockLoops(max_threads=2), threading.Event()
    started = threading.Barrier(3)

    async def block() -> None:
        started.wait(10)
        gate.wait(10)

    async def wait() -> None:
        started.wait(10)
        await asyncio.to_thread(gate.wait, 10)

    held = [start(loops, block), start(loops, wait)]
    await asyncio.to_thread(started.wait, 10)
    quick = await asyncio.gather(*(start(loops, here) for _ in range(6)))
    assert {thread.name for thread in quick} == {"oocana-block-loop-2"}
    gate.set()
    await asyncio.gather(*held)
    assert await loops.aclose() == []


async def test_job_without_a_free_loop_waits_for_the_first(loops: BlockLoops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_loop, "RESPONSIVE", 1e-9)  # everything outside of the selector counts as held
    gate, started = threading.Event(), threading.Event()

    async def block() -> None:
        started.set()
        gate.wait(10)

    held = start(loops, block)
    await until(started)
    waiting = start(loops, here)
    await asyncio.sleep(0)
    assert loops.statistics()["stranded"] == 1
    gate.set()
    assert (await waiting).name == "oocana-block-loop-1"
    await held


async def test_job_wakes_a_loop_that_fell_asleep_meanwhile(loops: BlockLoops, monkeypatch: pytest.MonkeyPatch) -> None:
    started, home, made = asyncio.Event(), asyncio.get_running_loop(), list[BlockLoop]()

    class Noted(BlockLoop):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

    async def wait() -> None:
        home.call_soon_threadsafe(started.set)
        await asyncio.Event().wait()

    monkeypatch.setattr(block_loops, "BlockLoop", Noted)
    waiting = start(loops, wait, "waiting")
    await started.wait()
    while made[0].busy_since is not None:  # the loop has yet to reach its selector
        await asyncio.sleep(0)
    monkeypatch.setattr(BlockLoop, "is_responsive", lambda _: False)
    assert await asyncio.wait_for(start(loops, here), 10)
    waiting.cancel()


async def test_job_that_holds_a_loop_is_named_with_its_place() -> None:
    held, gate, started = list[HeldLoop](), threading.Event(), threading.Event()

    def note(report: HeldLoop) -> None:
        held.append(report)
        gate.set()

    async def block() -> None:
        started.set()
        gate.wait(10)

    loops = BlockLoops(max_threads=1, held_after=0.1, on_held=note)
    first = start(loops, block, "holder")
    await until(started)
    second = start(loops, here, "waiter")
    await asyncio.gather(first, second)
    (report,) = held
    assert (report.job_id, report.waiting) == ("holder", 1)
    assert report.seconds >= 0.1
    assert report.location is not None
    assert str(report.location).startswith(f"{__file__}:")
    assert report.location.function == "block"
    assert await loops.aclose() == []


async def test_job_that_holds_a_loop_is_named_once() -> None:
    """The third is named in a later look at the loops than the first, which holds its loop all the time."""
    held, both, third = list[str](), asyncio.Event(), asyncio.Event()
    gates = {name: threading.Event() for name in ("first", "second", "third")}
    started = {name: threading.Event() for name in gates}

    def note(report: HeldLoop) -> None:
        held.append(report.job_id)
        if {"first", "second"} <= set(held):
            both.set()
        if "third" in held:
            third.set()

    def blocking(name: str) -> Callable[[], Coroutine[Any, Any, Any]]:
        async def block() -> None:
            started[name].set()
            gates[name].wait(10)

        return block

    loops, tasks = BlockLoops(max_threads=2, held_after=0.15, on_held=note), []
    for name in ("first", "second"):
        tasks.append(start(loops, blocking(name), name))
        await until(started[name])
    tasks += [start(loops, here, "waiter"), start(loops, blocking("third"), "third")]
    await asyncio.wait_for(both.wait(), 10)
    gates["second"].set()
    await until(started["third"])
    tasks.append(start(loops, here, "last"))
    await asyncio.wait_for(third.wait(), 10)
    for gate in gates.values():
        gate.set()
    await asyncio.gather(*tasks)
    assert sorted(held) == ["first", "second", "third"]
    assert await loops.aclose() == []


async def test_work_queued_for_run_in_executor_is_dropped_with_the_loops() -> None:
    loops, gate, ran, threads = BlockLoops(max_threads=1), threading.Event(), list[str](), list[threading.Thread]()

    def hold(busy: threading.Event) -> None:
        busy.set()
        gate.wait(10)

    async def main() -> None:
        loop, busy = asyncio.get_running_loop(), threading.Event()
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
        threads.append(await asyncio.to_thread(threading.current_thread))
        loop.run_in_executor(None, hold, busy)
        loop.run_in_executor(None, ran.append, "queued")
        assert busy.wait(10)

    await start(loops, main)
    assert await loops.aclose() == []
    gate.set()
    await asyncio.to_thread(threads[0].join, 10)
    assert ran == []


async def test_threads_of_run_in_executor_end_with_the_loops() -> None:
    loops = BlockLoops(max_threads=1)

    async def main() -> threading.Thread:
        return await asyncio.to_thread(threading.current_thread)

    thread = await start(loops, main)
    assert await loops.aclose() == []
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()


async def test_exit_in_child_task_ends_its_job_alone(loops: BlockLoops) -> None:
    started, gate = asyncio.Event(), asyncio.Event()
    home = asyncio.get_running_loop()

    async def other() -> str:
        home.call_soon_threadsafe(started.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(gate.wait(), home))
        return "unharmed"

    async def child() -> None:
        sys.exit("enough")

    async def main() -> None:
        forget(child())
        try:
            await asyncio.Event().wait()
        except SystemExit:
            seen.append("exit")
            raise

    seen = list[str]()
    bystander = start(loops, other, "other")
    await started.wait()
    with pytest.raises(SystemExit, match="enough"):
        await loops.run(main, context=contextvars.copy_context(), job_id="main")
    gate.set()
    assert await bystander == "unharmed"
    assert seen == ["exit"]


async def test_loop_survives_being_stopped(loops: BlockLoops) -> None:
    async def stop() -> str:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        return "went on"

    assert await start(loops, stop) == "went on"
    assert (await start(loops, here)).name == "oocana-block-loop-1"


async def test_forgotten_tasks_are_awaited(loops: BlockLoops) -> None:
    done = []

    async def later(depth: int) -> None:
        await asyncio.sleep(0)
        if depth:
            forget(later(depth - 1))
        done.append(depth)

    async def main() -> None:
        forget(later(2))

    await start(loops, main)
    assert done == [2, 1, 0]


async def test_tasks_left_over_are_cancelled_and_named() -> None:
    names, cancelled = list[tuple[str, list[str]]](), list[str]()

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append("cancelled")

    async def main() -> str:
        forget(for_ever(), name="ticker")
        return "result"

    async def other() -> str:
        await asyncio.sleep(0)
        return "unharmed"

    loops = BlockLoops(max_threads=1, leftover_grace=0.01, on_leftover=lambda job, left: names.append((job, left)))
    results = await asyncio.gather(start(loops, main, "main"), start(loops, other, "other"))
    assert list(results) == ["result", "unharmed"]
    assert cancelled == ["cancelled"]
    assert [(job, [name.split()[0] for name in left]) for job, left in names] == [("main", ["ticker"])]
    assert "for_ever" in names[0][1][0]
    assert await loops.aclose() == []


async def test_error_of_forgotten_task_is_logged_before_the_end(
    loops: BlockLoops, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((VALUE.get(None), threading.current_thread().name, record.exc_info))

    async def fail() -> None:
        raise KeyError("forgotten")

    async def main() -> None:
        VALUE.set(7)
        forget(fail())

    handler = Note()
    logging.getLogger("asyncio").addHandler(handler)
    await start(loops, main)
    logging.getLogger("asyncio").removeHandler(handler)
    ((value, thread, info),) = seen
    assert (value, thread) == (7, "oocana-block-loop-1")
    assert info is not None
    assert info[0] is KeyError


async def test_cancel_reaches_the_coroutine(loops: BlockLoops) -> None:
    started, cleaned = asyncio.Event(), list[str]()
    home = asyncio.get_running_loop()

    async def main() -> None:
        home.call_soon_threadsafe(started.set)
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("cleaned")

    task = start(loops, main, "job-1")
    await started.wait()
    assert not loops.cancel("job-2")
    assert loops.cancel("job-1")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == ["cleaned"]


async def test_cancelled_job_does_not_wait_for_its_tasks(loops: BlockLoops) -> None:
    started, home = asyncio.Event(), asyncio.get_running_loop()

    async def main() -> None:
        forget(asyncio.Event().wait())
        home.call_soon_threadsafe(started.set)
        await asyncio.Event().wait()

    task = start(loops, main)
    await started.wait()
    loops.cancel("job")
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


async def test_cancel_before_the_start_ends_at_once(loops: BlockLoops) -> None:
    gate, started, ran = threading.Event(), threading.Event(), list[str]()

    async def block() -> None:
        started.set()
        gate.wait(10)

    async def main() -> None:
        ran.append("ran")

    held = start(loops, block, "held")
    await until(started)
    task = start(loops, main, "unstarted")
    await asyncio.sleep(0)
    loops.cancel("unstarted")
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    await held
    await start(loops, here)
    assert ran == []
    assert loops.statistics()["idle"] == 1


async def test_cancelled_jobs_are_counted_out_wherever_they_waited() -> None:
    loops, gate, started = BlockLoops(max_threads=2), threading.Event(), threading.Barrier(3)

    async def block() -> None:
        started.wait(10)
        gate.wait(10)

    held = [start(loops, block, f"held-{number}") for number in range(2)]
    await asyncio.to_thread(started.wait, 10)
    waiting = [start(loops, here, str(number)) for number in range(10)]
    await asyncio.sleep(0)
    for number in range(0, 10, 2):
        loops.cancel(str(number))
    while loops.statistics()["stranded"] < 5:  # the loops do not count as responsive any more
        await asyncio.sleep(0)
    for number in range(1, 10, 2):
        loops.cancel(str(number))
    assert all(
        isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*waiting, return_exceptions=True)
    )
    gate.set()
    await asyncio.gather(*held)
    await asyncio.gather(*(start(loops, here) for _ in range(2)))
    assert loops.statistics() == {"loops": 2, "idle": 2, "jobs": 0, "stranded": 0}
    assert await loops.aclose() == []


async def test_cancelling_the_caller_cancels_the_job(loops: BlockLoops) -> None:
    started, ended = asyncio.Event(), asyncio.Event()
    home = asyncio.get_running_loop()

    async def main() -> None:
        home.call_soon_threadsafe(started.set)
        try:
            await asyncio.Event().wait()
        finally:
            home.call_soon_threadsafe(ended.set)

    task = start(loops, main)
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), 10)


async def test_aclose_ends_threads_and_jobs() -> None:
    loops, started = BlockLoops(max_threads=3), threading.Barrier(4)

    async def wait() -> None:
        forget(asyncio.to_thread(started.wait, 10))
        await asyncio.Event().wait()

    tasks = [start(loops, wait, str(number)) for number in range(3)]
    await asyncio.to_thread(started.wait, 10)
    assert await loops.aclose() == []
    assert await loops.aclose() == []
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True))
    assert not [one for one in threading.enumerate() if one.name.startswith("oocana-block-loop")]
    with pytest.raises(ClosedError):
        await start(loops, here)


async def test_aclose_names_stuck_thread_and_its_place() -> None:
    loops, gate, started = BlockLoops(max_threads=1), threading.Event(), threading.Event()

    async def stuck() -> None:
        started.set()
        gate.wait(10)

    task = start(loops, stuck, "job-1")
    await until(started)
    (report,) = await loops.aclose(0.01)
    assert (report.name, report.job_ids) == ("oocana-block-loop-1", ("job-1",))
    assert report.location is not None
    assert report.location.function == "stuck"
    gate.set()
    await asyncio.wait([task])
    assert await loops.aclose() == []


async def test_job_that_is_over_does_not_wait_for_the_garbage_collector() -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    loops, over = BlockLoops(max_threads=1), asyncio.Event()
    gc.disable()
    try:
        context = contextvars.copy_context()
        job = weakref.ref(loops.submit(work, context=context, job_id="J", returned=lambda _: over.set()))
        await over.wait()
        await loops.run(work, context=contextvars.copy_context(), job_id="K")  # lets the thread go on from the first
        del context
        assert job() is None
    finally:
        gc.enable()
        await loops.aclose()


async def test_what_a_job_sent_last_does_not_wait_for_the_tasks_that_it_leaves() -> None:
    loops, calls = BlockLoops(max_threads=1, leftover_grace=30.0), LoopCalls.of_running_loop()

    async def work() -> None:
        arrived, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.create_task(arrived.wait(), name="leftover")
        calls.hold_until_end()
        calls.post_nowait(lambda: loop.call_soon_threadsafe(arrived.set))

    async with asyncio.timeout(5):
        await loops.run(work, context=contextvars.copy_context(), job_id="J")
    await loops.aclose()
