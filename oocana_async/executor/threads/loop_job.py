"""One coroutine on a block loop, the tasks that belong to it, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import types
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextvars import Context, ContextVar
from typing import Any

_current: ContextVar[LoopJob | None] = ContextVar("oocana_async_loop_job", default=None)


class JobTask(asyncio.Task[Any]):
    """A task that knows the job that made it.

    Attributes:
        job: the job; None for tasks that no job made.
    """

    job: LoopJob | None = None


class LoopJob:
    """One coroutine of one block. Made and told the end on the I/O loop, run on a block loop.

    Attributes:
        job_id: id of the job.
        returned: called on the I/O loop, once, when it is over.
        has_returned: whether it was.
        cancelled: whether its end was asked for.
        result: what the coroutine returned.
        error: what it raised.
    """

    def __init__(
        self,
        factory: Callable[[], Coroutine[Any, Any, Any]],
        context: Context,
        job_id: str,
        returned: Callable[[LoopJob], object],
    ) -> None:
        self.job_id = job_id
        self.context = context
        self.returned = returned
        self.has_returned = False
        self.cancelled = False
        self.result: Any = None
        self.error: BaseException | None = None
        self._factory = factory
        self._claim = threading.Lock()  # held from the first claim on, never released: a flag that only one can set
        self._main: JobTask | None = None
        self._main_is_over = False
        self._exit: BaseException | None = None
        self._tasks: set[JobTask] = set()
        self._failed: list[JobTask] = []

    def arrive(self) -> None:
        """Tell the one who waits for the end, once; on the I/O loop."""
        if not self.has_returned:
            self.has_returned = True
            self.returned(self)

    def claim(self) -> bool:
        """Take the right to start the job, or to end it before it starts; True for one caller only, from any thread."""
        return self._claim.acquire(blocking=False)

    @property
    def is_claimed(self) -> bool:
        """Whether somebody has taken the right to start or end the job."""
        return self._claim.locked()

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        ended: Callable[[LoopJob], None],
        leftovers_of: Callable[[LoopJob], LeftoverTasks],
    ) -> None:
        """Start the coroutine on its loop, in its own context."""
        if self.cancelled:  # a task that is cancelled before its first step would not tell of its end
            self.error = asyncio.CancelledError()
            ended(self)
            return
        self.context.run(_current.set, self)
        self._main = JobTask(self._run(ended, leftovers_of), loop=loop, name=f"job {self.job_id}", context=self.context)
        self._main.job = self

    async def _run(self, ended: Callable[[LoopJob], None], leftovers_of: Callable[[LoopJob], LeftoverTasks]) -> None:
        try:
            try:
                self.result = await self._drive(self._factory())
            except GeneratorExit:  # the loop is being closed under us
                raise
            except BaseException as error:  # noqa: BLE001 - goes to the one who runs the job
                self.error = error
            self._main_is_over = True
            if self.left_over():
                await leftovers_of(self).run()
        finally:
            self._report_failed_tasks()
            self._let_go()
            ended(self)

    def _let_go(self) -> None:
        """Break the circles in which the job stands, else each waits for the garbage collector."""
        self._main = None
        _current.set(None)  # the task runs in the context of the job

    @types.coroutine
    def _drive(self, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Await a coroutine; the cancellation that stands for the exit of a child task reaches it as that exit."""
        # Driven by hand, and not by `await`, because only here, between two steps, can a CancelledError be exchanged:
        # a task can be woken with nothing else, and the coroutine is to see the SystemExit of its child as it was.
        error: BaseException | None = None
        while True:
            try:
                waits_for = coroutine.send(None) if error is None else coroutine.throw(error)
            except StopIteration as end:
                return end.value
            error = None
            try:
                yield waits_for
            except GeneratorExit:
                coroutine.close()
                raise
            except asyncio.CancelledError as cancelled:
                error, self._exit = self._exit or cancelled, None
            except BaseException as thrown:  # noqa: BLE001 - belongs to the coroutine
                error = thrown

    def cancel_on_loop(self) -> None:
        """Cancel the coroutine; on the block loop."""
        if self._main is not None:
            self._main.cancel()

    def adopt(self, task: JobTask) -> None:
        """Make a task one of this job's."""
        task.job = self
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def owns(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether a task belongs to this job."""
        return isinstance(task, JobTask) and task.job is self

    def left_over(self) -> list[JobTask]:
        """Return the unfinished tasks that the coroutine has started."""
        return [task for task in self._tasks if not task.done()] if self._tasks else []

    def exit_in_child(self, error: BaseException) -> bool:
        """Let the coroutine end with the error if it is a `SystemExit` out of one of its tasks."""
        if not any(task.done() and not task.cancelled() and task.exception() is error for task in self._tasks):
            return False
        if not self._main_is_over:
            self._exit = error
            self.cancel_on_loop()
        return True

    def _task_done(self, task: asyncio.Future[Any]) -> None:
        assert isinstance(task, JobTask)
        self._tasks.discard(task)
        if getattr(task, "_log_traceback", False):
            self._failed.append(task)

    def _report_failed_tasks(self) -> None:
        """Tell of tasks whose errors nobody looked at while the job's log is still open."""
        for task in self._failed:
            if getattr(task, "_log_traceback", False):
                error = task.exception()
                task.get_loop().call_exception_handler(
                    {"message": "Task exception was never retrieved", "exception": error, "task": task}
                )
        self._failed.clear()


class LeftoverTasks:
    """How tasks are treated that a job leaves behind.

    Args:
        job: the job.
        grace: seconds that they may go on; none when the job was cancelled.
        cancel_grace: seconds that they may take to end once they are cancelled.
        report: called with the names of those that had to be cancelled.
    """

    def __init__(
        self, job: LoopJob, *, grace: float, cancel_grace: float, report: Callable[[str, list[str]], None] | None
    ) -> None:
        self._job = job
        self._grace = grace
        self._cancel_grace = cancel_grace
        self._report = report

    async def run(self) -> None:
        """Wait for the tasks, then cancel them; returns when they are gone or cannot be waited for any longer."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._wait(0 if self._job.cancelled else self._grace)
        left = self._job.left_over()
        if not left:
            return
        if self._report is not None:
            self._report(self._job.job_id, sorted(map(_describe, left)))
        for task in left:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._wait(self._cancel_grace)

    async def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := self._job.left_over()) and (rest := end - time.monotonic()) > 0:
            await asyncio.wait(left, timeout=rest)  # they may start more meanwhile


def _describe(task: asyncio.Task[Any]) -> str:
    name = getattr(task.get_coro(), "__qualname__", "")
    return f"{task.get_name()} ({name})" if name else task.get_name()


def make_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    *,
    context: Context | None = None,
    **options: Any,
) -> JobTask:
    """Make a task that belongs to the job that makes it: the task factory of block loops."""
    # A factory, and not a look at `all_tasks` at the end: only at this moment is it known who makes the task, as many
    # jobs share a loop; and a task that fails before the end has to be told of in its own job's log.
    task = JobTask(coroutine, loop=loop, context=context, **options)
    job = _current.get() if context is None else context.get(_current)
    if job is not None:
        job.adopt(task)
    return task


def handle_exception(loop: asyncio.AbstractEventLoop, report: dict[str, Any]) -> None:
    """Let the loop complain in the log of the job that it is about: the exception handler of block loops."""
    job = getattr(report.get("task") or report.get("future"), "job", None)
    if job is None:
        loop.default_exception_handler(report)
    else:
        job.context.copy().run(loop.default_exception_handler, report)


def find_owner(jobs: Iterable[LoopJob], loop: asyncio.AbstractEventLoop) -> LoopJob | None:
    """Return the job whose code runs on a loop just now, asked from any thread."""
    task = asyncio.current_task(loop)
    return next((job for job in jobs if job.owns(task)), None)
