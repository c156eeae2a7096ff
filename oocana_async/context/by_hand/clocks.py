"""Time and timers for who has no executor: in a thread of their own, or on the caller's event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from oocana_async.channel.clock import LoopClock, Timer

__all__ = ["NearbyClock", "ThreadClock"]


class ThreadClock:
    """Time and timers without an event loop."""

    def now(self) -> float:
        """Return seconds on the monotonic clock."""
        return time.monotonic()

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call back in a thread of its own after some seconds."""
        timer = threading.Timer(delay, callback)
        timer.daemon = True  # a script that has come to its end does not wait for progress that nobody will see
        timer.name = "oocana-timer"
        timer.start()
        return timer


class NearbyClock(ThreadClock):
    """Time and timers where the caller is: on its running event loop, or in a thread when it has none."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call back after some seconds."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return super().call_later(delay, callback)
        return LoopClock(loop).call_later(delay, callback)
