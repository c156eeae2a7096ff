"""Owner of the tasks and timers of one session, so that none outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Protocol, Self

import anyio

__all__ = ["TaskOwner", "Tasks"]


class Tasks(Protocol):
    """What the parts of a session need of its `TaskOwner`; tests have one whose timers fire by hand."""

    def start_soon(self, name: str, call: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        """Run a coroutine function in an owned, named task; returns what cancels it."""

    def call_later(self, delay: float, call: Callable[[], None]) -> Callable[[], None]:
        """Call something after `delay` seconds; returns what withdraws it."""


class TaskOwner:
    """Runs coroutines in named tasks and calls in timers; use it as an async context manager.

    Leaving withdraws the timers and waits for all tasks. A task that raises cancels the others, as in any task group.
    """

    def __init__(self) -> None:
        self._group = anyio.create_task_group()
        self._timers: set[asyncio.TimerHandle] = set()
        self._loop = asyncio.get_running_loop()
        self._is_closed = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._is_closed = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        return await self._group.__aexit__(exc_type, exc, traceback)

    def start_soon(self, name: str, call: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        """Run a coroutine function in an owned, named task; returns what cancels it."""
        scope = anyio.CancelScope()

        async def run() -> None:
            with scope:
                await call()

        self._group.start_soon(run, name=name)
        return scope.cancel

    def call_later(self, delay: float, call: Callable[[], None]) -> Callable[[], None]:
        """Call something after `delay` seconds; returns what withdraws it.

        These are timers of the loop, because anyio has none: a task that sleeps, for each job that has a time-out,
        would cost as much as the rest of starting the job.
        """
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

    def cancel_all(self) -> None:
        """Cancel all tasks that still run, and whatever the body of the `async with` still waits for."""
        self._group.cancel_scope.cancel()


def _nothing() -> None:
    """There is nothing to withdraw."""
