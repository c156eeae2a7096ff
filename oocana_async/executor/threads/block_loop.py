"""One thread with an event loop of its own, on which blocks run and may misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from oocana_async.executor.threads.loop_job import LeftoverTasks, LoopJob, handle_exception, make_task

if TYPE_CHECKING:
    _Selector = selectors.SelectSelector
else:
    _Selector = selectors.DefaultSelector

# Seconds outside of the selector after which a loop does not count as responsive.
RESPONSIVE = 0.05


class _StampedSelector(_Selector):
    """Tells its loop when user code runs and when it does not; costs nothing while the loop is idle.

    A loop without sockets and timers waits for a token in a queue, not in the system's selector: a token wakes it
    without a system call of the waking thread, which therefore keeps the interpreter until it waits itself. That
    halves what starting a job costs.

    It is the selector that takes the time of leaving and entering, and not a task that ticks, because each turn of the
    loop passes here and nowhere else; a tick would wake idle loops, and a blocked loop would not tick at all.
    """

    def __init__(self, owner: BlockLoop) -> None:
        super().__init__()
        self._owner = owner
        self._files = self.get_map()
        # One token per wake-up; drained after each wait; dies with the loop.
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.is_polling = False

    def wake(self) -> bool:
        """Wake a loop that waits for a token; says whether one in the system's selector has to be woken besides."""
        self._tokens.put(None)
        return self.is_polling

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events, and start the jobs that have come; take over a stranded one before going to sleep.

        Jobs are started here and not by a call on the loop, because here they still run in this turn of it.
        """
        events = self._wait(timeout)
        if self._owner.is_called:
            self._owner.start_all()
        return events

    def _wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        owner, tokens = self._owner, self._tokens
        has_files = len(self._files) > 1  # more than the loop's own wake-up socket
        if timeout == 0 and not (has_files or owner.stranded):  # there is work already, and nothing else can come
            owner.busy_since = time.monotonic()
            return []
        owner.busy_since = None
        if owner.stranded and owner.take_stranded():
            timeout = 0
        try:
            if timeout is None and not has_files:
                tokens.get()
                return []
            return self._poll(timeout)
        finally:
            while not tokens.empty():
                tokens.get_nowait()
            owner.busy_since = time.monotonic()

    def _poll(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        self.is_polling = True  # first: whoever wakes from here on also writes to the socket
        try:
            return super().select(timeout if self._tokens.empty() else 0)
        finally:
            self.is_polling = False


class _TokenLoop(asyncio.SelectorEventLoop):
    """A loop that is woken through its selector's tokens."""

    def __init__(self, selector: _StampedSelector) -> None:
        self._tokens = selector
        super().__init__(selector)

    def _write_to_self(self) -> None:
        if self._tokens.wake():
            super()._write_to_self()  # type: ignore[misc]  # how asyncio itself wakes a loop from other threads

    def wake_nowait(self) -> None:
        """Make the loop pass its selector; from any thread."""
        self._write_to_self()


class BlockLoop:
    """A thread with an event loop. It survives `sys.exit()` in a task and `loop.stop()`.

    The counters are written by one thread each: `assigned` and `ended` by the I/O loop, `taken` by this loop.

    Attributes:
        busy_since: `time.monotonic()` when the selector was left, None inside it.
        held_reported: the value of `busy_since` that was complained about.
        inbox: jobs that are assigned but not started; the I/O loop may take them back.
        is_called: whether the loop was woken for its inbox and has not looked yet.
        stranded: jobs that wait for any loop.
    """

    def __init__(
        self,
        name: str,
        *,
        stranded: deque[LoopJob],
        ended: Callable[[BlockLoop, LoopJob], None],
        leftovers_of: Callable[[LoopJob], LeftoverTasks],
        left: Callable[[BlockLoop], None],
    ) -> None:
        self.name = name
        self.busy_since: float | None = None
        self.held_reported: float | None = None
        self.assigned = self.ended = self.taken = 0
        self.inbox: deque[LoopJob] = deque()
        self.running: set[LoopJob] = set()
        self.stranded = stranded
        self._ended = ended
        self._leftovers_of = leftovers_of
        self._left = left
        self.is_called = False
        self._closing = False
        self.loop = _TokenLoop(_StampedSelector(self))
        self.loop.set_task_factory(make_task)
        self.loop.set_exception_handler(handle_exception)
        # Ends when close_nowait() is called and user code lets go; a daemon, so that a stuck one ends with the process.
        # Not anyio's worker threads: those are limited together with those of users, and are no daemons.
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    @property
    def load(self) -> int:
        """Jobs on this loop, started or not."""
        return self.assigned + self.taken - self.ended

    def held_for(self) -> float:
        """Return for how many seconds user code has not let the loop go."""
        since = self.busy_since
        return 0.0 if since is None else time.monotonic() - since

    def is_responsive(self) -> bool:
        """Whether the loop would start a job at once."""
        return self.held_for() < RESPONSIVE

    def submit_nowait(self, job: LoopJob) -> None:
        """Have a job started; called on the I/O loop."""
        self.assigned += 1
        self.inbox.append(job)
        if not self.is_called:
            self.is_called = True
            self.loop.wake_nowait()

    def wake_nowait(self) -> None:
        """Make the loop pass its selector, where it looks for stranded jobs."""
        self.loop.wake_nowait()

    def cancel_nowait(self, job: LoopJob) -> None:
        """Cancel a started job."""
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self.loop.call_soon_threadsafe(job.cancel_on_loop)

    def close_nowait(self) -> None:
        """Let the thread end; `left` is called at its end."""
        self._closing = True
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)

    def take_stranded(self) -> bool:
        """Start one job that waits for any loop; on this loop's thread."""
        while self.stranded:
            try:
                job = self.stranded.popleft()
            except IndexError:  # another loop was faster
                return False
            if self._start(job):
                self.taken += 1
                return True
        return False

    def start_all(self) -> None:
        """Start the jobs that wait in the inbox; on this loop's thread."""
        self.is_called = False  # first: a job that is appended from here on wakes again
        while self.inbox:
            try:
                job = self.inbox.popleft()
            except IndexError:  # taken back
                return
            self._start(job)

    def _start(self, job: LoopJob) -> bool:
        if not job.claim():  # cancelled before it started
            return False
        self.running.add(job)
        job.start(self.loop, self._job_ended, self._leftovers_of)
        return True

    def _job_ended(self, job: LoopJob) -> None:
        self.running.discard(job)
        self._ended(self, job)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            while not self._closing:
                self._run_until_stopped()
            self._clean_up()
        finally:
            asyncio.set_event_loop(None)
            self._left(self)

    def _run_until_stopped(self) -> None:
        try:
            self.loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            for job in tuple(self.running):
                if job.exit_in_child(error):  # its own: the others have nothing to do with it
                    break

    def _clean_up(self) -> None:
        """End what is left on the loop and close it."""
        left: set[asyncio.Task[Any]] = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            if left:
                self.loop.run_until_complete(asyncio.wait(left, timeout=1.0))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        executor = getattr(self.loop, "_default_executor", None)
        if executor is not None:
            # `loop.close()` would shut it down, too, but then what is queued in it would still begin, after the end.
            executor.shutdown(wait=False, cancel_futures=True)
        self.loop.close()
