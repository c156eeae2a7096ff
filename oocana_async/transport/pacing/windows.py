"""How many messages may be under way to somebody who may drop them: the three windows of the pacing; no I/O, no clock.

Each window counts what was sent, learns what has been taken, and says whether the next message may go. All times are
seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["Barrier", "ReadyWindow", "ReportWindow", "SessionWindow"]


class Barrier(msgspec.Struct):
    """A request whose answer proves that the engine has taken everything before it."""

    request_id: str
    job_id: str
    position: int
    deadline: float


class SessionWindow(msgspec.Struct):
    """Messages to the engine that it has not confirmed.

    Attributes:
        size: messages that may be unconfirmed.
        barrier_from: unconfirmed messages from which on a barrier is wanted.
        barrier_deadline: seconds to wait for the answer to one.
        sent: messages sent so far.
        confirmed: messages that the engine has taken.
        barrier: the barrier whose answer is awaited.
    """

    size: int
    barrier_from: int
    barrier_deadline: float
    sent: int = 0
    confirmed: int = 0
    barrier: Barrier | None = None
    barriers_sent: int = 0
    reopened: int = 0
    _late: dict[str, int] = {}  # void barriers; each is dropped once it proves nothing new

    @property
    def unconfirmed(self) -> int:
        """Messages that may still be on their way."""
        return self.sent - self.confirmed

    @property
    def wants_barrier(self) -> bool:
        """Whether it is time to ask the engine how far it is."""
        return self.barrier is None and self.unconfirmed >= self.barrier_from

    @property
    def is_full(self) -> bool:
        """Whether the next message must wait for the engine."""
        return self.unconfirmed >= self.size

    def barrier_sent(self, request_id: str, job_id: str, now: float) -> None:
        """Note that a barrier goes out behind everything that was sent so far."""
        self.sent += 1
        self.barriers_sent += 1
        self.barrier = Barrier(request_id, job_id, self.sent, now + self.barrier_deadline)

    def answered(self, request_id: str) -> bool:
        """Note an answer; returns whether it belongs to one of the barriers."""
        barrier = self.barrier
        if barrier is not None and barrier.request_id == request_id:
            self.barrier = None
            self.confirm(barrier.position)
            return True
        position = self._late.pop(request_id, None)
        if position is not None:
            self.confirm(position)
        return position is not None

    def confirm(self, position: int) -> None:
        """Note that the engine has taken everything up to a position."""
        self.confirmed = max(self.confirmed, position)
        if self.barrier is not None and self.barrier.position <= self.confirmed:
            self.barrier = None  # its answer would prove nothing more
        self._late = {name: late for name, late in self._late.items() if late > self.confirmed}

    def job_over(self, job_id: str) -> None:
        """Void a barrier that this job carries: the engine answers to living jobs only."""
        if self.barrier is not None and self.barrier.job_id == job_id:
            self.void_barrier()

    def void_barrier(self) -> None:
        """Wait for the answer to the barrier no more; a late answer still counts."""
        if self.barrier is not None:
            self._late[self.barrier.request_id] = self.barrier.position
            self.barrier = None

    def expire(self, now: float) -> bool:
        """Open the window when the answer to a barrier is overdue; returns whether it was."""
        if self.barrier is None or now < self.barrier.deadline:
            return False
        self.barrier = None
        self.confirm(self.sent)
        self.reopened += 1
        return True

    def statistics(self) -> Mapping[str, Any]:
        """Counters, for people."""
        return {
            "sent": self.sent,
            "unconfirmed": self.unconfirmed,
            "barriers": self.barriers_sent,
            "reopened": self.reopened,
        }


class ReadyWindow(msgspec.Struct):
    """Jobs that are ready and wait for their inputs.

    Attributes:
        size: jobs that may wait at once.
        deadline: seconds within which inputs must come.
        repeat: seconds before which a second BlockReady of a job is of no use.
        waiting: time of the last BlockReady of each waiting job, oldest first.
    """

    size: int
    deadline: float
    repeat: float
    waiting: dict[str, float] = {}

    @property
    def is_full(self) -> bool:
        """Whether one more job must wait until others have their inputs."""
        return len(self.waiting) >= self.size

    def is_fresh(self, job_id: str, now: float) -> bool:
        """Say whether the last BlockReady of a job is too young to repeat it."""
        sent_at = self.waiting.get(job_id)
        return sent_at is not None and now - sent_at < self.repeat

    def sent(self, job_id: str, now: float) -> None:
        """Note a BlockReady."""
        self.waiting.pop(job_id, None)
        self.waiting[job_id] = now

    def done(self, job_id: str) -> None:
        """Note that a job has its inputs, or has ended without them."""
        self.waiting.pop(job_id, None)

    def next_deadline(self) -> float | None:
        """Say when the job that waits longest has waited too long."""
        for sent_at in self.waiting.values():
            return sent_at + self.deadline
        return None

    def expire(self, now: float) -> list[str]:
        """Drop and return the jobs whose inputs are overdue."""
        overdue = [job_id for job_id, sent_at in self.waiting.items() if now >= sent_at + self.deadline]
        for job_id in overdue:
            del self.waiting[job_id]
        return overdue


class ReportWindow(msgspec.Struct):
    """Our own messages to `report` whose echo has not come back yet.

    Attributes:
        size: messages that may be without echo.
        release: seconds without any echo after which those under way count as lost.
        watched: whether echoes can be seen at all; if not, nothing is counted.
    """

    size: int
    release: float
    watched: bool = False
    released: int = 0
    _unseen: dict[bytes, int] = {}
    _count: int = 0
    _moved_at: float = 0.0

    @property
    def unseen(self) -> int:
        """Messages without an echo."""
        return self._count

    @property
    def is_full(self) -> bool:
        """Whether the next message must wait for an echo."""
        return self._count >= self.size

    def sent(self, payload: bytes, now: float) -> None:
        """Note a message of ours."""
        if not self.watched:
            return
        if not self._count:
            self._moved_at = now
        self._unseen[payload] = self._unseen.get(payload, 0) + 1
        self._count += 1

    def seen(self, payload: bytes, now: float) -> bool:
        """Note a message on `report`; returns whether it is an echo of ours."""
        left = self._unseen.get(payload)
        if left is None:
            return False
        if left == 1:
            del self._unseen[payload]
        else:
            self._unseen[payload] = left - 1
        self._count -= 1
        self._moved_at = now
        return True

    def next_deadline(self) -> float | None:
        """Say when to stop waiting for echoes."""
        return self._moved_at + self.release if self._count else None

    def expire(self, now: float) -> None:
        """Open the window when no echo has come for too long."""
        if self._count and now >= self._moved_at + self.release:
            self.clear()
            self.released += 1

    def clear(self) -> None:
        """Forget what is under way."""
        self._unseen.clear()
        self._count = 0
