"""Time, and calls that are due later: the one seam through which throttles and deadlines see a clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from oocana_async.channel.futures import call_on

__all__ = ["Clock", "LoopClock", "Timer"]


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> object:
        """Forget the call; harmless when it has happened."""
        ...


class Clock(Protocol):
    """Time, and calls that are due later; safe to use from any thread."""

    def now(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call back after some seconds."""
        ...


class LoopClock:
    """The clock of an event loop, usable from any thread; calls are made on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        """Return seconds on the clock of the loop."""
        return self._loop.time()

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call back on the loop after some seconds; never when the loop is closed before."""
        timer = _LoopTimer(self._loop, self._loop.time() + delay, callback)
        call_on(self._loop, timer.start)
        return timer


class _LoopTimer:
    """A timer of a loop that any thread may start and cancel; the loop's own are for its own thread alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop, when: float, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._when = when
        self._callback = callback
        self._cancelled = False
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """On the loop: wait from here on, for what is left of the delay."""
        if not self._cancelled:
            self._handle = self._loop.call_at(self._when, self._fire)

    def cancel(self) -> None:
        # The flag counts at once. The loop's own timer is cancelled only to give its memory back, which the loop does
        # at its next turn: until then the call may come due.
        self._cancelled = True
        if self._handle is not None:
            call_on(self._loop, self._handle.cancel)

    def _fire(self) -> None:
        if not self._cancelled:
            self._callback()
