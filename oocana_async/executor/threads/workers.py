"""Run plain functions of blocks in worker threads, first come first served above a limit."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from queue import SimpleQueue
from typing import Any, TypeVar

from oocana_async.channel.futures import resolve
from oocana_async.channel.loop_calls import LoopCalls
from oocana_async.errors import ClosedError
from oocana_async.executor.threads.block_loops import StuckThread, default_max_threads
from oocana_async.executor.threads.code_location import location_of_thread

T = TypeVar("T")


class Work:
    """One function to call, and what came of it.

    Attributes:
        returned: called on the I/O loop, once, when `result` or `error` is there.
    """

    def __init__(
        self, function: Callable[[], Any], context: Context, job_id: str, returned: Callable[[Work], object]
    ) -> None:
        self.function = function
        self.context = context
        self.job_id = job_id
        self.returned = returned
        self.result: Any = None
        self.error: BaseException | None = None
        self.has_arrived = False

    def run(self) -> None:
        """Call the function in its context; in the worker thread."""
        try:
            self.result = self.context.run(self.function)
        except BaseException as error:  # noqa: BLE001 - goes to the one who waits for the work
            self.error = error

    def arrive(self) -> None:
        """Tell the one who waits; on the I/O loop."""
        self.has_arrived = True
        self.returned(self)


class _Worker:
    """A thread that does one piece of work after the other."""

    def __init__(self, name: str, next_work: Callable[[_Worker], Work | None], done: Callable[[Work], None]) -> None:
        # At most one entry: work is handed to idle workers only. None ends the thread.
        self.inbox: SimpleQueue[Work | None] = SimpleQueue()
        self.work: Work | None = None
        self.waits = 0
        self._next_work = next_work
        self._done = done
        # Ends with a None in its inbox; a daemon, so that a stuck one ends with the process. Not anyio's worker threads
        # nor a ThreadPoolExecutor: neither can hand on its slot while it waits (`yielding`), and Python waits for
        # both at its end, stuck or not.
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        _this_thread.worker = self
        while (work := self.inbox.get()) is not None:
            todo: Work | None = work
            while todo is not None:
                self.work = todo
                todo.run()
                self.work = None
                done, todo = todo, self._next_work(self)  # idle first: who hears of the end may have more work
                self._done(done)
            del work, done


class _ThisThread(threading.local):
    worker: _Worker | None = None


_this_thread = _ThisThread()


class Workers:
    """Threads for `def` blocks, made when needed, kept until `aclose`.

    At most `max_threads` run at a time, the others wait in order. A thread that waits for something (`yielding`) does
    not count, and comes before new work when it goes on, so blocks that wait for child blocks never starve them. Used
    from one I/O loop only.

    Args:
        max_threads: most threads that run at a time; None for `default_max_threads()`.
    """

    def __init__(self, *, max_threads: int | None = None) -> None:
        self.max_threads = max_threads or default_max_threads()
        self._lock = threading.Lock()
        self._permits = self.max_threads
        self._idle: list[_Worker] = []
        self._workers: set[_Worker] = set()
        self._made = 0
        # Unbounded: one entry per job above the limit. Drained by workers in order; `aclose` cancels what is in it.
        self._queue: deque[Work] = deque()
        # One entry per thread that wants to go on after waiting; a permit that becomes free goes here first.
        self._resuming: deque[threading.Event] = deque()
        self._loop_calls: LoopCalls | None = None
        self._closed = False

    async def run(self, function: Callable[[], T], *, context: Context, job_id: str = "") -> T:
        """Call a function in a worker thread and return its result.

        Waits its turn while `max_threads` functions run. Cancelling this call takes the function out of the queue; one
        that runs already goes on, its result is dropped.

        Args:
            function: what to call.
            context: the context to call it in.
            job_id: id for `cancel` and reports.

        Raises:
            ClosedError: `aclose` was called before.
            asyncio.CancelledError: `cancel` took it out of the queue.
            BaseException: whatever the function raises, `SystemExit` too.
        """
        returned: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        work = self.submit(function, context=context, job_id=job_id, returned=lambda _: resolve(returned))
        try:
            await returned
        except asyncio.CancelledError:
            self._withdraw(work)
            raise
        if work.error is not None:
            raise work.error
        result: T = work.result
        return result

    def submit(
        self,
        function: Callable[[], Any],
        *,
        context: Context,
        job_id: str = "",
        returned: Callable[[Work], object],
    ) -> Work:
        """Have a function called like `run` does; `returned` is called on the I/O loop, once, with what came of it.

        Raises:
            ClosedError: `aclose` was called before.
        """
        if self._closed:
            raise ClosedError("the worker threads are closed and take no more work")
        self._loop_calls = LoopCalls.of_running_loop(self._loop_calls)
        work = Work(function, context, job_id, returned)
        self._submit(work)
        return work

    def cancel(self, job_id: str) -> bool:
        """Cancel a job that has not started; on the I/O loop. Returns whether there was one."""
        work = next((one for one in tuple(self._queue) if one.job_id == job_id), None)
        return work is not None and self._withdraw(work)

    @contextlib.contextmanager
    def yielding(self) -> Iterator[None]:
        """Give the permit of the calling worker thread to others while it waits; does nothing in other threads."""
        worker = _this_thread.worker
        if worker is None or worker not in self._workers:
            yield
            return
        worker.waits += 1
        if worker.waits == 1:
            self._give_back()
        try:
            yield
        finally:
            worker.waits -= 1
            if worker.waits == 0:
                self._take_again()

    def statistics(self) -> dict[str, int]:
        """Return how many threads there are, how many are idle or may still start, and how much work waits."""
        with self._lock:
            return {
                "threads": len(self._workers),
                "idle": len(self._idle),
                "free": self._permits,
                "queued": len(self._queue),
                "resuming": len(self._resuming),
            }

    async def aclose(self, deadline: float = 5.0) -> list[StuckThread]:
        """Drop what is queued, wait for what runs, end all threads. May be called twice.

        Args:
            deadline: seconds that this may take.

        Returns:
            The threads that did not end; they are daemons and end with the process.
        """
        end = time.monotonic() + deadline
        self._closed = True
        while self._queue:
            self._withdraw(self._queue[0])
        running = [work for worker in tuple(self._workers) if (work := worker.work) is not None]
        waiting = [_end_of(work) for work in running if not work.has_arrived]
        if waiting:
            await asyncio.wait(waiting, timeout=deadline)
        return self._end_threads(end)

    def _end_threads(self, end: float) -> list[StuckThread]:
        stuck = []
        for worker in tuple(self._workers):
            worker.inbox.put(None)
            if worker.work is None:
                worker.thread.join(max(0.1, end - time.monotonic()))
            work = worker.work
            if worker.thread.is_alive():
                job_ids = () if work is None else (work.job_id,)
                stuck.append(StuckThread(worker.thread.name, job_ids, location_of_thread(worker.thread)))
            else:
                self._workers.discard(worker)
        self._idle.clear()
        return stuck

    # -- permits: a function that runs has one -----------------------------------------------------------------

    def _submit(self, work: Work) -> None:
        with self._lock:
            if self._permits == 0 or self._resuming:
                self._queue.append(work)
                return
            self._permits -= 1
        self._start(work)

    def _start(self, work: Work) -> None:
        """Hand work to an idle thread or a new one; its permit is taken already."""
        with self._lock:
            worker = self._idle.pop() if self._idle else None
            if worker is None:
                self._made += 1
                name = f"oocana-worker-{self._made}"
        if worker is None:
            worker = _Worker(name, self._next_work, self._work_done)
            self._workers.add(worker)
        worker.inbox.put(work)

    def _work_done(self, work: Work) -> None:
        assert self._loop_calls is not None
        self._loop_calls.post_end(work.arrive)

    def _next_work(self, worker: _Worker) -> Work | None:
        """Return what a thread does next with its permit; None if it has none any more."""
        with self._lock:
            if self._resuming:
                self._resuming.popleft().set()
            elif self._queue:
                return self._queue.popleft()
            else:
                self._permits += 1
            if len(self._idle) < self.max_threads:
                self._idle.append(worker)
            else:  # made while others were waiting
                self._workers.discard(worker)
                worker.inbox.put(None)
            return None

    def _give_back(self) -> None:
        with self._lock:
            if self._resuming:
                self._resuming.popleft().set()
                return
            if not self._queue:
                self._permits += 1
                return
            work = self._queue.popleft()
        self._start(work)

    def _take_again(self) -> None:
        turn = threading.Event()
        with self._lock:
            if self._permits:
                self._permits -= 1
                return
            self._resuming.append(turn)
        turn.wait()

    def _withdraw(self, work: Work) -> bool:
        with self._lock:
            try:
                self._queue.remove(work)
            except ValueError:
                return False
        work.error = asyncio.CancelledError()
        work.arrive()
        return True


def _end_of(work: Work) -> asyncio.Future[None]:
    """Return a future for the end of work that has not arrived yet; who waited before is told as well."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tell = work.returned

    def returned(work: Work) -> None:
        resolve(future)
        tell(work)

    work.returned = returned
    return future
