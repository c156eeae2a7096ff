"""When a service leaves: `stop_at` and `keep_alive` (protocol.md 6.5), without clock."""

from __future__ import annotations

import enum
import math

__all__ = ["DEFAULT_KEEP_ALIVE", "Lifetime", "StopAt"]

DEFAULT_KEEP_ALIVE = 10
"""Seconds that a `block_end` service stays after its last job unless the manifest says otherwise."""


class StopAt(enum.Enum):
    """When a service ends."""

    BLOCK_END = "block_end"
    SESSION_END = "session_end"
    APP_END = "app_end"
    NEVER = "never"

    @classmethod
    def parse(cls, text: str) -> StopAt:
        """Read `stop_at`; the engine spells never `Never`, and what is unknown is `session_end`."""
        try:
            return cls(text.lower())
        except ValueError:
            return cls.SESSION_END

    @property
    def is_global(self) -> bool:
        """Whether the service outlives sessions and serves all of them."""
        return self in (StopAt.APP_END, StopAt.NEVER)


class Lifetime:
    """Says when it is time to leave.

    Args:
        stop_at: when the service ends.
        keep_alive: seconds that a `block_end` service stays after its last job; None for 10.
    """

    def __init__(self, stop_at: StopAt, keep_alive: float | None = None) -> None:
        self.stop_at = stop_at
        self._keep_alive = DEFAULT_KEEP_ALIVE if keep_alive is None else max(0.0, keep_alive)
        self._running = 0
        self._idle_since = math.inf
        self._failed = False

    def job_began(self) -> None:
        """Note a new job; it stops the countdown."""
        self._running += 1

    def job_ended(self, now: float) -> None:
        """Note the end of a job."""
        self._running -= 1
        self._idle_since = now

    def main_failed(self, now: float) -> None:
        """Note that the service will never have a handler: it leaves as soon as its jobs know."""
        self._failed = True
        self._idle_since = min(self._idle_since, now)

    def leave_at(self) -> float | None:
        """Return when to leave if nothing happens until then, None for not by itself."""
        if self._running:
            return None
        if self._failed:
            return self._idle_since
        if self.stop_at is StopAt.BLOCK_END and self._idle_since != math.inf:
            return self._idle_since + self._keep_alive
        return None
