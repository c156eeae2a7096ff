"""Owner of the tasks and timers of one session, so that none outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

__all__ = ["TaskOwner"]


class TaskOwner:
    """Runs coroutines in named tasks and calls in timers; use it as an async context manager.

    Leaving withdraws the timers and waits for all tasks. A task that raises cancels the others, as in any task group.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._loop = asyncio.get_running_loop()
        self._is_closed = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_closed = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        await self._group.__aexit__(exc_type, exc, traceback)

    def spawn(self, name: str, call: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], object]:
        """Run a coroutine function in an owned, named task; returns what cancels it."""
        task = self._group.create_task(call(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task.cancel

    def call_later(self, delay: float, call: Callable[[], None]) -> Callable[[], None]:
        """Call something after `delay` seconds; returns what withdraws it."""
        if self._is_closed:
            return _nothing

        def run() -> None:
            self._timers.discard(timer)
            call()

        def withdraw() -> None:
            self._timers.discard(timer)
            timer.cancel()

        timer = self._loop.call_later(delay, run)
        self._timers.add(timer)
        return withdraw

    async def breathe(self) -> None:
        """Let everything else on the loop have its turn."""
        await asyncio.sleep(0)

    def cancel_all(self) -> None:
        """Cancel all tasks that still run."""
        for task in list(self._tasks):
            task.cancel()


def _nothing() -> None:
    """There is nothing to withdraw."""
