"""The executors of one session: started when first needed, their jobs held back until they are ready."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from oocana_async.engine.hosts.scopes import ExecutorHost, RunScope, ScopeMap
from oocana_async.engine.running.tasks import Tasks
from oocana_async.wire.messages.session import ExecutorReady

__all__ = ["Executors"]

logger = logging.getLogger(__name__)

READY_TIMEOUT = 30.0
"""Seconds that an executor may take to announce itself; generous, because it shares the machine with its blocks."""


class _Waiting(NamedTuple):
    job_id: str
    topic: str
    payload: bytes


class _Executor:
    __slots__ = ("failure", "is_ready", "jobs", "stop_timer", "waiting")

    def __init__(self) -> None:
        self.is_ready = False
        self.failure: str | None = None
        # Bound: the jobs that run at once; drained by `on_ready`, dropped by a failure.
        self.waiting: list[_Waiting] = []
        self.jobs: set[str] = set()
        self.stop_timer: Callable[[], None] = lambda: None


class Executors:
    """Sends jobs to executors.

    Args:
        host: starts them.
        scopes: says how.
        tasks: owner of tasks and timers.
        publish: puts a message on its topic.
        fail: ends jobs with an error text; called with their ids.
    """

    def __init__(
        self,
        host: ExecutorHost,
        scopes: ScopeMap,
        tasks: Tasks,
        *,
        publish: Callable[[str, bytes], None],
        fail: Callable[[list[str], str], None],
    ) -> None:
        self._host = host
        self._scopes = scopes
        self._tasks = tasks
        self._publish = publish
        self._fail = fail
        self._known: dict[str, _Executor] = {}

    def identifier(self, scope: RunScope, node_id: str | None = None) -> str:
        """Return the identifier of a scope's executor."""
        return self._scopes.identifier(scope, node_id)

    def dispatch(self, scope: RunScope, node_id: str | None, job_id: str, topic: str, payload: bytes) -> None:
        """Send a job to the executor of a scope, as soon as that is ready; the first job starts it."""
        identifier = self._scopes.identifier(scope, node_id)
        executor = self._known.get(identifier)
        if executor is None:
            executor = self._start(identifier, scope, node_id)
        if executor.failure is not None:
            self._fail([job_id], executor.failure)
            return
        executor.jobs.add(job_id)
        if executor.is_ready:
            self._publish(topic, payload)
        else:
            executor.waiting.append(_Waiting(job_id, topic, payload))

    def forget(self, identifier: str | None, job_id: str) -> None:
        """Note that a job has ended."""
        executor = self._known.get(identifier) if identifier is not None else None
        if executor is not None:
            executor.jobs.discard(job_id)

    def on_ready(self, message: ExecutorReady) -> None:
        """Send an executor what waits for it; one that nobody started here is welcome, too."""
        if message.executor_name != "python" or message.identifier is None:
            return
        executor = self._known.setdefault(message.identifier, _Executor())
        if executor.failure is not None:
            return
        executor.is_ready = True
        executor.stop_timer()
        waiting, executor.waiting = executor.waiting, []
        for job_id, topic, payload in waiting:
            if job_id in executor.jobs:
                self._publish(topic, payload)

    def _start(self, identifier: str, scope: RunScope, node_id: str | None) -> _Executor:
        executor = self._known[identifier] = _Executor()
        executor.stop_timer = self._tasks.call_later(READY_TIMEOUT, lambda: self._on_late(identifier))

        async def start() -> None:
            try:
                spec = self._scopes.spec(scope, node_id, lambda reason: self._on_exit(identifier, reason))
                await self._host.start(spec)
            except Exception as error:  # whatever the reason, the jobs must end with it
                logger.warning("executor %s cannot be started", identifier, exc_info=True)
                self._give_up(identifier, f"Failed to spawn python-executor. {error}")

        self._tasks.start_soon(f"start executor {identifier}", start)
        return executor

    def _on_late(self, identifier: str) -> None:
        # Word for word what the reference says, Rust's Some and None included (flow-format.md 4.2).
        text = f'Executor python-executor identifier Some("{identifier}") for package None timeout'
        self._give_up(identifier, f"{text} after {READY_TIMEOUT:g}s")

    def _on_exit(self, identifier: str, reason: str) -> None:
        """Fail its jobs; the next job starts it anew (protocol.md 2.7)."""
        executor = self._known.pop(identifier, None)
        if executor is not None:
            executor.stop_timer()
            self._fail(sorted(executor.jobs), f"Executor python-executor {reason}")

    def _give_up(self, identifier: str, error: str) -> None:
        executor = self._known[identifier]
        executor.failure = error
        executor.waiting = []
        executor.stop_timer()
        self._fail(sorted(executor.jobs), error)
