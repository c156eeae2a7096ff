"""When to try again: exponential delays with jitter until a limit; no clock of its own."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["Backoff"]


class Backoff:
    """Delays between attempts, from the first failure on.

    Args:
        now: time of the first failure in seconds.
        give_up_after: seconds after it when no further attempt is made.
        first: longest first delay in seconds; each following one may be twice as long.
        longest: bound of the delays in seconds.
        jitter: returns a number from 0 to 1; a delay is between half and all of what it may be.
    """

    def __init__(
        self,
        now: float,
        *,
        give_up_after: float,
        first: float = 0.05,
        longest: float = 5.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._end = now + give_up_after
        self._next = first
        self._longest = longest
        self._jitter = jitter

    def delay(self, now: float) -> float | None:
        """Return the seconds to wait before the next attempt, None to give up."""
        left = self._end - now
        if left <= 0:
            return None
        delay = min(self._next, self._longest) * (0.5 + self._jitter() / 2)
        self._next = min(self._next * 2, self._longest)
        return min(delay, left)
