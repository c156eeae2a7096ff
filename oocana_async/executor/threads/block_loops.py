"""Run async blocks on threads with a loop each, so that one that blocks hurts nobody else."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, NamedTuple, TypeVar

from oocana_async.channel.futures import resolve
from oocana_async.channel.loop_calls import LoopCalls
from oocana_async.errors import ClosedError
from oocana_async.executor.threads.block_loop import RESPONSIVE, BlockLoop
from oocana_async.executor.threads.code_location import CodeLocation, location_of_thread
from oocana_async.executor.threads.loop_job import LeftoverTasks, LoopJob, find_owner

T = TypeVar("T")

CANCEL_GRACE = 5.0
"""Seconds that left-over tasks may take to end once they are cancelled."""


def default_max_threads() -> int:
    """Return how many threads blocks get by default: 8 per core, at most 64."""
    return min(64, 8 * (os.cpu_count() or 1))


class HeldLoop(NamedTuple):
    """A job that does not let its loop go while others wait.

    Attributes:
        job_id: the job, empty if it cannot be told.
        location: where its code is, as well as that can be told.
        seconds: for how long.
        waiting: how many other jobs wait.
    """

    job_id: str
    location: CodeLocation | None
    seconds: float
    waiting: int


class StuckThread(NamedTuple):
    """A thread that did not end in time.

    Attributes:
        name: its name.
        job_ids: the jobs in it.
        location: where it is.
    """

    name: str
    job_ids: tuple[str, ...]
    location: CodeLocation | None


class BlockLoops:
    """Event loops for async blocks (threads, made when needed, kept until `aclose`).

    A job gets an idle loop; a new one while fewer than `max_threads` exist; after that the least-loaded one whose jobs
    let go of it. If none does, it waits for the first that does. Used from one I/O loop only.

    Args:
        max_threads: most loops; None for `default_max_threads()`.
        leftover_grace: seconds that tasks may go on which a block has not awaited.
        on_leftover: called with job id and names of tasks that had to be cancelled; in the block's thread and context.
        on_held: called when a job holds its loop while others wait, once per hold; on the I/O loop.
        held_after: seconds after which that is.
    """

    def __init__(
        self,
        *,
        max_threads: int | None = None,
        leftover_grace: float = 30.0,
        on_leftover: Callable[[str, list[str]], None] | None = None,
        on_held: Callable[[HeldLoop], None] | None = None,
        held_after: float = 1.0,
    ) -> None:
        self.max_threads = max_threads or default_max_threads()
        self._leftover_grace = leftover_grace
        self._on_leftover = on_leftover
        self._on_held = on_held
        self._held_after = held_after
        self._loops: list[BlockLoop] = []
        self._idle: list[BlockLoop] = []
        self._jobs: dict[str, LoopJob] = {}
        self._where: dict[LoopJob, BlockLoop] = {}
        # Unbounded: one entry per job that no loop can start. Drained by the first loops that reach their selector.
        self._stranded: deque[LoopJob] = deque()
        self._loop_calls: LoopCalls | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._left: dict[BlockLoop, asyncio.Future[None]] = {}
        self._closed = False

    async def run(self, factory: Callable[[], Coroutine[Any, Any, T]], *, context: Context, job_id: str) -> T:
        """Run a coroutine on a block loop and return its result.

        Returns when the coroutine and all tasks that it has started are over: those are awaited for `leftover_grace`
        seconds, then cancelled. Cancelling this call cancels the job and does not wait for its end.

        Args:
            factory: makes the coroutine, on the block loop.
            context: the job's own context; the coroutine and its tasks run in it or in copies.
            job_id: id for `cancel` and reports.

        Raises:
            ClosedError: `aclose` was called before.
            asyncio.CancelledError: the job was cancelled.
            BaseException: whatever the coroutine raises, `SystemExit` too, which it also raises if a task of it does.
        """
        returned: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        job = self.submit(factory, context=context, job_id=job_id, returned=lambda _: resolve(returned))
        try:
            await returned
        except asyncio.CancelledError:
            self._cancel(job)
            self._forget(job)
            raise
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def submit(
        self,
        factory: Callable[[], Coroutine[Any, Any, Any]],
        *,
        context: Context,
        job_id: str,
        returned: Callable[[LoopJob], object],
    ) -> LoopJob:
        """Have a coroutine run like `run` does; `returned` is called on the I/O loop, once, with what came of it.

        Raises:
            ClosedError: `aclose` was called before.
        """
        if self._closed:
            raise ClosedError("the block loops are closed and take no more jobs")
        self._loop_calls = LoopCalls.of_running_loop(self._loop_calls)
        job = self._jobs[job_id] = LoopJob(factory, context, job_id, returned)
        self._assign(job)
        return job

    def cancel(self, job_id: str) -> bool:
        """Cancel a job; on the I/O loop. Returns whether there is one of this id."""
        job = self._jobs.get(job_id)
        if job is not None:
            self._cancel(job)
        return job is not None

    def statistics(self) -> dict[str, int]:
        """Return how many loops, idle loops, jobs and stranded jobs there are."""
        return {
            "loops": len(self._loops),
            "idle": sum(loop.load == 0 for loop in self._loops),
            "jobs": len(self._jobs),
            "stranded": len(self._stranded),
        }

    async def aclose(self, deadline: float = 5.0) -> list[StuckThread]:
        """Cancel all jobs and end all threads. May be called twice.

        Args:
            deadline: seconds that this may take.

        Returns:
            The threads that did not end; they are daemons and end with the process.
        """
        self._closed = True
        end = time.monotonic() + deadline
        jobs = list(self._jobs.values())
        for job in jobs:
            self._cancel(job)
        await _wait([_end_of(job) for job in jobs if not job.has_returned], end)
        for loop in self._loops:
            if loop not in self._left:
                self._left[loop] = asyncio.get_running_loop().create_future()
                loop.close_nowait()
        await _wait(list(self._left.values()), end)
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        return self._count_out()

    def _count_out(self) -> list[StuckThread]:
        stuck = [loop for loop in self._loops if not self._left[loop].done()]
        for loop in self._loops:
            if loop not in stuck:
                loop.thread.join()  # its last statement is what told us
        self._loops = stuck
        self._idle.clear()
        return [
            StuckThread(
                loop.name, tuple(sorted(job.job_id for job in tuple(loop.running))), location_of_thread(loop.thread)
            )
            for loop in stuck
        ]

    # -- where a job goes; all on the I/O loop ----------------------------------------------------------------------

    def _assign(self, job: LoopJob) -> None:
        loop = self._pick()
        if loop is None:
            self._stranded.append(job)
            # A loop that has gone to its selector since we looked has not seen the job.
            sleeping = next((one for one in self._loops if one.busy_since is None), None)
            if sleeping is not None:
                sleeping.wake_nowait()
        else:
            self._where[job] = loop
            if loop.load > 0:
                self._keep_watch(RESPONSIVE)
            loop.submit_nowait(job)
            return
        self._keep_watch(self._held_after)

    def _pick(self) -> BlockLoop | None:
        # Sharing comes last: of the async blocks that people write, more than a quarter block their loop (data frames,
        # HTTP clients, sleeps) and would hold up their neighbours.
        while self._idle:
            loop = self._idle.pop()
            if loop.load == 0:
                return loop
        if len(self._loops) < self.max_threads:
            return self._new_loop()
        return min((one for one in self._loops if one.is_responsive()), key=lambda one: one.load, default=None)

    def _new_loop(self) -> BlockLoop:
        loop = BlockLoop(
            f"oocana-block-loop-{len(self._loops) + 1}",
            stranded=self._stranded,
            ended=self._ended,
            leftovers_of=self._leftovers_of,
            left=self._thread_left,
        )
        self._loops.append(loop)
        return loop

    def _cancel(self, job: LoopJob) -> None:
        job.cancelled = True
        if job.claim():  # not started: a loop that meets it later skips it
            self._forget_unstarted(job)
            job.error = asyncio.CancelledError()
            self._forget(job)
            job.arrive()
            return
        loop = self._where.get(job)
        for one in self._loops if loop is None else (loop,):
            if job in one.running:
                one.cancel_nowait(job)

    def _forget_unstarted(self, job: LoopJob) -> None:
        loop = self._where.pop(job, None)
        if loop is not None:
            loop.ended += 1
            self._note_idle(loop)

    # -- told by block loops ------------------------------------------------------------------------------------------

    def _leftovers_of(self, job: LoopJob) -> LeftoverTasks:
        if self._loop_calls is not None:
            self._loop_calls.release()  # the end of the job is put off
        return LeftoverTasks(job, grace=self._leftover_grace, cancel_grace=CANCEL_GRACE, report=self._on_leftover)

    def _ended(self, loop: BlockLoop, job: LoopJob) -> None:
        assert self._loop_calls is not None
        self._loop_calls.post_end(lambda: self._arrive(loop, job))

    def _arrive(self, loop: BlockLoop, job: LoopJob) -> None:
        loop.ended += 1
        self._where.pop(job, None)
        self._note_idle(loop)
        self._forget(job)
        job.arrive()

    def _forget(self, job: LoopJob) -> None:
        if self._jobs.get(job.job_id) is job:
            del self._jobs[job.job_id]

    def _note_idle(self, loop: BlockLoop) -> None:
        if loop.load == 0:
            self._idle.append(loop)

    def _thread_left(self, loop: BlockLoop) -> None:
        assert self._loop_calls is not None
        self._loop_calls.post_nowait(lambda: self._mark_left(loop))

    def _mark_left(self, loop: BlockLoop) -> None:
        future = self._left.get(loop)
        if future is not None:
            resolve(future)

    # -- the watch: set only while jobs share a loop ----------------------------------------------------------------

    def _keep_watch(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._watch is not None:
            if self._watch.when() <= loop.time() + seconds:
                return
            self._watch.cancel()
        self._watch = loop.call_later(seconds, self._look_round)

    def _look_round(self) -> None:
        """Take back jobs that a held loop cannot start, and name those who hold one."""
        self._watch = None
        for loop in self._loops:
            if loop.inbox and not loop.is_responsive():
                self._take_back(loop)
            self._name_holder(loop)
        if any(loop.inbox for loop in self._loops):
            self._keep_watch(RESPONSIVE)
        elif self._stranded or any(loop.load > 1 and loop.busy_since is not None for loop in self._loops):
            self._keep_watch(self._held_after)

    def _take_back(self, loop: BlockLoop) -> None:
        jobs = []
        while loop.inbox:
            try:
                job = loop.inbox.popleft()
            except IndexError:  # started meanwhile
                break
            if not job.is_claimed:  # else cancelled, and counted as ended
                jobs.append(job)
        loop.assigned -= len(jobs)
        for job in jobs:
            self._where.pop(job, None)
            self._assign(job)

    def _name_holder(self, loop: BlockLoop) -> None:
        since, seconds = loop.busy_since, loop.held_for()
        waiting = max(loop.load - 1, 0) + len(self._stranded)
        if not waiting or seconds < self._held_after or since == loop.held_reported or self._on_held is None:
            return
        loop.held_reported = since
        owner = find_owner(tuple(loop.running), loop.loop)
        location = location_of_thread(loop.thread)
        self._on_held(HeldLoop("" if owner is None else owner.job_id, location, seconds, waiting))


async def _wait(futures: list[asyncio.Future[None]], end: float) -> None:
    pending = [future for future in futures if not future.done()]
    if pending:
        await asyncio.wait(pending, timeout=max(0.0, end - time.monotonic()))


def _end_of(job: LoopJob) -> asyncio.Future[None]:
    """Return a future for the end of a job that is not over; who waited before is told as well."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tell = job.returned

    def returned(job: LoopJob) -> None:
        resolve(future)
        tell(job)

    job.returned = returned
    return future
