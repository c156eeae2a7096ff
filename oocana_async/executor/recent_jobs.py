"""Remembers the ids of the jobs that came last, so that a repeated message starts none a second time."""

from __future__ import annotations

from collections import deque

__all__ = ["RecentIds"]


class RecentIds:
    """Ids in the order in which they came, the oldest of which are forgotten.

    The engine repeats a message every 3 s until it has its answer (flow-format.md 7.2), so that only young ids matter.

    Args:
        limit: most ids that are remembered.
    """

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        self._ids: set[str] = set()
        self._order: deque[str] = deque()
        self._count = 0

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._ids

    @property
    def count(self) -> int:
        """How many ids there were in all."""
        return self._count

    def add(self, job_id: str) -> None:
        """Remember a new id."""
        self._count += 1
        self._ids.add(job_id)
        self._order.append(job_id)
        if len(self._order) > self._limit:
            self._ids.discard(self._order.popleft())
