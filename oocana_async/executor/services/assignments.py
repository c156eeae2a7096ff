"""Which job of a service is where: held back, or sent to a process; decisions only, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from oocana_async.executor.services.service_messages import ServiceJob

__all__ = ["Assignments"]


class Assignments:
    """The jobs of one service that have not ended, as an executor sees them.

    Attributes:
        instance: the process that gets the jobs, None while there is none.
    """

    def __init__(self) -> None:
        self.instance: str | None = None
        # Bound: what the engine runs at once; drained by `found`, dropped by `drop` and `fail_all`.
        self._held: dict[str, ServiceJob] = {}
        self._sent: dict[str, ServiceJob] = {}
        self._sent_again: set[str] = set()

    def __len__(self) -> int:
        return len(self._held) + len(self._sent)

    @property
    def has_held(self) -> bool:
        """Whether jobs wait for a process."""
        return bool(self._held)

    def take(self, job: ServiceJob) -> list[ServiceJob]:
        """Take a new job; returns what must be sent to the process now."""
        self._held[job.job_id] = job
        return [] if self.instance is None else self._send_held()

    def found(self, instance: str) -> list[ServiceJob]:
        """Note which process gets the jobs; returns what must be sent to it now."""
        self.instance = instance
        return self._send_held()

    def _send_held(self) -> list[ServiceJob]:
        jobs = list(self._held.values())
        self._sent.update(self._held)
        self._held.clear()
        return jobs

    def ended(self, job_ids: Iterable[str]) -> None:
        """Note jobs that the process has ended."""
        for job_id in job_ids:
            self._sent.pop(job_id, None)
            self._sent_again.discard(job_id)

    def gone(self, *, orderly: bool) -> list[ServiceJob]:
        """Note that the process is no more.

        A process that left in order has ended all jobs that it took, so the others are held for the next one, once.

        Args:
            orderly: whether it said that it was leaving.

        Returns:
            The jobs that have failed.
        """
        self.instance = None
        failed = []
        for job_id, job in self._sent.items():
            if orderly and job_id not in self._sent_again:
                self._sent_again.add(job_id)
                self._held[job_id] = job
            else:
                failed.append(job)
                self._sent_again.discard(job_id)
        self._sent.clear()
        return failed

    def drop(self, wanted: Callable[[ServiceJob], bool] = lambda job: True) -> list[ServiceJob]:
        """Take out the held jobs that are `wanted`; returns them."""
        dropped = [job for job in self._held.values() if wanted(job)]
        for job in dropped:
            del self._held[job.job_id]
            self._sent_again.discard(job.job_id)
        return dropped

    def fail_all(self) -> list[ServiceJob]:
        """Take out all jobs, sent or not; returns them."""
        self.instance = None
        jobs = [*self._sent.values(), *self._held.values()]
        self._sent.clear()
        self._held.clear()
        self._sent_again.clear()
        return jobs
