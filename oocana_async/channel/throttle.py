"""Leading and trailing throttle with an injectable clock (seed API: progress at most every 0.3 s)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

__all__ = ["Clock", "LoopClock", "Throttle", "Timer"]

T = TypeVar("T")


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
        """Return seconds on the monotonic clock."""
        return time.monotonic()

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call back on the loop after some seconds."""
        timer = _LoopTimer(self._loop, delay, callback)
        with contextlib.suppress(RuntimeError):  # the loop was closed: nothing will ever be due
            self._loop.call_soon_threadsafe(timer.start)
        return timer


class _LoopTimer:
    def __init__(self, loop: asyncio.AbstractEventLoop, delay: float, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._due = time.monotonic() + delay
        self._callback = callback
        self._cancelled = False
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if not self._cancelled:
            self._handle = self._loop.call_later(max(0.0, self._due - time.monotonic()), self._fire)

    def cancel(self) -> None:
        self._cancelled = True
        if self._handle is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed, and the timer with it
                self._loop.call_soon_threadsafe(self._handle.cancel)

    def _fire(self) -> None:
        if not self._cancelled:
            self._callback()


class Throttle(Generic[T]):
    """Passes a value on at once, then at most one per interval: the last one of each interval, at its end.

    What is offered after `close()` is dropped.

    Args:
        send: takes the values that pass; called under a lock, so they keep their order.
        interval: seconds.
        clock: time and timers.
    """

    def __init__(self, send: Callable[[T], object], interval: float, clock: Clock) -> None:
        self._send = send
        self._interval = interval
        self._clock = clock
        self._lock = threading.RLock()
        self._last: float | None = None
        self._held: list[T] = []
        self._timer: Timer | None = None
        self._closed = False

    def offer(self, value: T) -> None:
        """Pass a value on now, or hold it back until the interval is over; from any thread."""
        with self._lock:
            if self._closed:
                return
            if self._timer is not None:
                self._held = [value]
                return
            now = self._clock.now()
            if self._last is None or now - self._last >= self._interval:
                self._last = now
                self._send(value)
            else:
                self._held = [value]
                self._timer = self._clock.call_later(self._interval - (now - self._last), self._due)

    def flush(self) -> None:
        """Pass on at once what is held back."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._release()

    def close(self) -> None:
        """Pass on at once what is held back, and nothing after it."""
        with self._lock:
            self.flush()
            self._closed = True

    def _due(self) -> None:
        with self._lock:
            self._timer = None
            self._release()

    def _release(self) -> None:
        if self._held:
            value = self._held.pop()
            self._last = self._clock.now()
            self._send(value)
