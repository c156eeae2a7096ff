"""When messages to `report` go: no faster than their echo comes back; no I/O, no clock."""

from __future__ import annotations

from collections import deque

from oocana_async.transport.pacing.windows import ReportWindow
from oocana_async.wire.envelope import Outgoing, Publication

__all__ = ["ReportPacing"]


class ReportPacing:
    """Takes messages to `report` and puts those that may go into `out`, in order.

    Attributes:
        window: messages without an echo.
        taken: messages taken so far.
        sent: messages that went so far.

    Args:
        window: how many may be without an echo.
        out: where messages go that may go; whoever drives the pacing empties it.
    """

    def __init__(self, window: ReportWindow, out: list[Publication]) -> None:
        self.window = window
        self.taken = 0
        self.sent = 0
        self._out = out
        # Unbounded: who publishes waits while `held` is not 0. Drained by drain().
        self._queue: deque[Outgoing] = deque()

    @property
    def held(self) -> int:
        """Messages that wait for an echo of others."""
        return len(self._queue)

    def submit(self, message: Outgoing, now: float) -> None:
        """Take a message."""
        self.taken += 1
        if self._queue or not self._offer(message, now):
            self._queue.append(message)

    def drain(self, now: float) -> None:
        """Let go what may go now."""
        while self._queue and self._offer(self._queue[0], now):
            self._queue.popleft()

    def _offer(self, message: Outgoing, now: float) -> bool:
        if self.window.is_full:
            return False
        self.window.sent(message.payload, now)
        self.sent += 1
        self._out.append((message.topic, message.payload, 1))
        return True

    def next_deadline(self) -> float | None:
        """Say when to stop waiting for echoes; nobody minds while nothing is held."""
        return self.window.next_deadline() if self._queue else None

    def on_time(self, now: float) -> None:
        """Stop waiting for echoes when it is time."""
        if self._queue:
            self.window.expire(now)
