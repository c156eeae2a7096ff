"""Lets a value pass at once and then one per interval, the last one of each (progress at most every 0.3 s)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from oocana_async.channel.clock import Clock, Timer

__all__ = ["Throttle"]

T = TypeVar("T")


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
        # Reentrant: `send` may run code of a user, which may offer a value itself.
        self._lock = threading.RLock()
        self._passed_at: float | None = None
        self._held: list[T] = []  # nothing, or the one value that waits for the end of the interval
        self._timer: Timer | None = None
        self._wait: object = None  # stands for the wait that the timer ends
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
            if self._passed_at is None or now - self._passed_at >= self._interval:
                self._passed_at = now
                self._send(value)
            else:
                self._held = [value]
                self._start_timer(self._interval - (now - self._passed_at))

    def flush(self) -> None:
        """Pass on at once what is held back."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = self._wait = None
            self._release()

    def close(self) -> None:
        """Pass on at once what is held back, and nothing after it."""
        with self._lock:
            self.flush()
            self._closed = True

    def _start_timer(self, delay: float) -> None:
        wait = self._wait = object()
        self._timer = self._clock.call_later(delay, lambda: self._due(wait))

    def _due(self, wait: object) -> None:
        with self._lock:
            # A timer that is due may be waiting for the lock while another thread flushes: then this wait is over,
            # and what is held by now belongs to a later one.
            if wait is self._wait:
                self._timer = self._wait = None
                self._release()

    def _release(self) -> None:
        if self._held:
            value = self._held.pop()
            self._passed_at = self._clock.now()
            self._send(value)
