"""Channel and sender in one for who has no executor: a message is delivered before the call that sent it returns."""

from __future__ import annotations

import threading
from collections.abc import Callable

from oocana_async.channel.channel import Gate
from oocana_async.wire.envelope import Delivery, Outgoing

__all__ = ["DeliversAtOnce"]


class DeliversAtOnce:
    """Delivers in the caller's thread, one message after another, so that there is nothing to wait for.

    Args:
        deliver: takes each message.
        progress: progress is made twice, for the engine and for the report; which of them is delivered.
    """

    congested = False
    is_sender_thread = False

    def __init__(self, deliver: Callable[[Outgoing], object], *, progress: Delivery) -> None:
        self._deliver = deliver
        self._progress = progress
        # Held during a delivery, so that no message of another thread overtakes the end of the job. Reentrant, because
        # who takes a message may answer, and so run code of the block, before the delivery returns.
        self._lock = threading.RLock()

    def put(self, message: Outgoing, gate: Gate | None = None) -> bool | None:
        """Deliver a message, unless its job has ended."""
        with self._lock:
            if gate is not None and not gate.is_running:
                return None
            self._deliver(message)
        return False

    def put_last(self, message: Outgoing, gate: Gate) -> None:
        """Deliver the end of a job."""
        with self._lock:
            gate.is_running = False
            self._deliver(message)

    def append_latest(self, key: str, message: Outgoing) -> None:
        """Deliver progress once."""
        if message.delivery is self._progress:
            self.put(message)

    def wait_below_limit(self) -> bool:
        """Return at once."""
        return False

    async def wait_for_room(self) -> None:
        """Return at once."""

    def wait_for_room_blocking(self, timeout: float | None = None, *, unless: Callable[[], bool] | None = None) -> bool:
        """Return at once."""
        return True

    def nudge(self) -> None:
        """Do nothing: nobody waits."""

    async def flush(self) -> None:
        """Return at once."""

    def flush_blocking(self, timeout: float | None = None) -> bool:
        """Return at once."""
        return True
