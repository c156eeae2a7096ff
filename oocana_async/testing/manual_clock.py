"""A clock that stands still until a test moves it: throttles and deadlines without sleeping."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

from oocana_async.channel.clock import Timer

__all__ = ["ManualClock"]


class ManualClock:
    """Time for `run_scriptlet(..., clock=...)` that moves only in `advance`; safe to use from any thread.

    It drives the progress throttle and the deadlines of queries. The time-out of the kit itself is always real.

    Args:
        start: seconds on the clock at first.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._lock = threading.Lock()
        self._timers: list[tuple[float, int, _ManualTimer]] = []
        self._order = itertools.count()

    def now(self) -> float:
        """Return seconds on this clock."""
        return self._now

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call back once the clock has been moved on by some seconds."""
        timer = _ManualTimer(callback)
        with self._lock:
            heapq.heappush(self._timers, (self._now + delay, next(self._order), timer))
        return timer

    @property
    def waiting(self) -> int:
        """Number of calls that are due later."""
        with self._lock:
            return sum(not timer.cancelled for _, _, timer in self._timers)

    def advance(self, seconds: float) -> None:
        """Move the clock on, and make all calls that become due, in order, in this thread.

        Args:
            seconds: how far, not negative.

        Raises:
            ValueError: It is negative.
        """
        if seconds < 0:
            raise ValueError(f"a clock is moved on by 0 seconds or more, but got {seconds}")
        end = self._now + seconds
        while (callback := self._next_due(end)) is not None:
            callback()

    def _next_due(self, end: float) -> Callable[[], object] | None:
        with self._lock:
            while self._timers and self._timers[0][0] <= end:
                due, _, timer = heapq.heappop(self._timers)
                self._now = max(self._now, due)
                if not timer.cancelled:
                    return timer.callback
            self._now = max(self._now, end)
            return None


class _ManualTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
