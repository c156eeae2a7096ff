"""Runs the jobs of one service for one session, in the service's process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from oocana_async.channel.clock import Clock
from oocana_async.context.messenger import Surroundings
from oocana_async.executor.core import Executor
from oocana_async.executor.job_run import JobRun
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.scope import ExecutorSession
from oocana_async.executor.service_process.handlers import HandlerCallee, Readiness
from oocana_async.executor.service_process.registration import ServiceContext
from oocana_async.executor.services.service_messages import ServiceJob
from oocana_async.handles.var_store import VarStore
from oocana_async.transport.base import Transport
from oocana_async.wire.envelope import Delivery

__all__ = ["ServiceJobs"]


class ServiceJobs(Executor):
    """An executor that is fed by another one: it takes no jobs from the engine, and announces no scope.

    As documented for services, `tmp_dir` is the session's directory and the package is named after the service
    (protocol.md 6.4).

    Args:
        transport: connected already; stays open.
        first: the first job; tells what the session looks like.
        runtime: runs the code; stays open.
        context: where handlers are registered.
        readiness: when they are.
        on_ended: called with the id of each job that has ended, after its BlockFinished is queued.
        on_session_over: called when the session is over.
        clock: for throttles and deadlines.
    """

    def __init__(
        self,
        transport: Transport,
        first: ServiceJob,
        runtime: Runtime,
        *,
        context: ServiceContext,
        readiness: Readiness,
        on_ended: Callable[[ServiceJobs, str], object],
        on_session_over: Callable[[ServiceJobs], object],
        clock: Clock,
    ) -> None:
        payload = first.payload
        session = ExecutorSession(
            payload.session_id,
            Path(first.session_dir),
            heal_children=first.real_engine,
            watch_session_topic=first.real_engine,
        )
        super().__init__(transport, session, runtime, clock=clock)
        self._context = context
        self._readiness = readiness
        self._on_ended = on_ended
        self._on_session_over = on_session_over
        self._store = VarStore()
        self._surroundings = Surroundings(
            session_dir=first.session_dir,
            tmp_dir=first.session_dir,
            package_name=payload.service_hash,
            pkg_data_dir=first.pkg_data_dir,
            variables=os.environ,
        )

    @property
    def filters(self) -> tuple[str, ...]:
        """Inputs, answers and the report of the session; jobs come from elsewhere."""
        return tuple(name for name in self.exchange.filters if not name.startswith("executor/"))

    def surroundings(self, identifier: str | None) -> tuple[Surroundings, VarStore]:
        """Return directories and objects of the service in this session."""
        return self._surroundings, self._store

    def take_job(self, job: ServiceJob) -> bool:
        """Start a job and say that it is ready (protocol.md 6.1); False when it is known already."""
        payload = job.payload
        if self._closing or payload.job_id in self._seen:
            return False
        self._seen.add(payload.job_id)
        callee = HandlerCallee(self._context, self._readiness, payload.dir, payload.block_name)
        self.start_run(JobRun(self, payload, callee), Delivery.CONTROL)
        return True

    def has_run(self, job_id: str) -> bool:
        """Say whether a job has been run here, or is."""
        return job_id in self._seen

    def warn_all(self, text: str) -> None:
        """Warn as each of the running jobs."""
        for run in list(self._runs.values()):
            run.warn(text)

    def session_ended(self) -> None:
        """Cancel the session's jobs; the service decides whether it leaves."""
        super().session_ended()
        self._on_session_over(self)

    def _forget(self, run: JobRun) -> None:
        super()._forget(run)
        self._on_ended(self, run.job_id)
