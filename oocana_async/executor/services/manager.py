"""The services of one executor: each job goes to its own, and never blocks the executor."""

from __future__ import annotations

import asyncio
from typing import Protocol

from oocana_async.channel.clock import Clock
from oocana_async.channel.futures import resolve
from oocana_async.channel.port import JobPort
from oocana_async.executor.scope import ExecutorScope, ExecutorSession
from oocana_async.executor.services.launching import ServicePlan
from oocana_async.executor.services.remote import RemoteService
from oocana_async.executor.services.service_messages import ServiceJob
from oocana_async.transport.base import Transport
from oocana_async.wire.envelope import Delivery, Outgoing
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.dispatch import ServiceBlockPayload
from oocana_async.wire.messages.session import BlockFinished
from oocana_async.wire.topics import session as session_topic

__all__ = ["ManagerOwner", "ServiceManager"]


class ManagerOwner(Protocol):
    """What the manager gets from its executor."""

    @property
    def session(self) -> ExecutorSession:
        """The session."""

    @property
    def channel(self) -> JobPort:
        """Where messages go."""

    @property
    def clock(self) -> Clock:
        """Time."""


class ServiceManager:
    """Hands jobs to services; belongs to the executor's loop.

    Args:
        owner: the executor.
        transport: for subscriptions and pipes; stays open.
        address: broker at which service processes reach the engine; None for pipes, and then global services end with
            this manager, too, because nobody else could keep them.
    """

    def __init__(self, owner: ManagerOwner, transport: Transport, *, address: str | None) -> None:
        self._owner = owner
        self._transport = transport
        self._address = address
        self._services: dict[tuple[str, str | None], RemoteService] = {}
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def clock(self) -> Clock:
        """The executor's clock."""
        return self._owner.clock

    @property
    def session_id(self) -> str:
        """The executor's session."""
        return self._owner.session.session_id

    @property
    def running(self) -> int:
        """Number of jobs that have not ended, as far as is known here."""
        return sum(len(service.jobs) for service in self._services.values())

    def take(self, payload: ServiceBlockPayload, scope: ExecutorScope) -> None:
        """Take a job; it gets its end whatever happens to the service."""
        plan = ServicePlan.of(payload, scope)
        key = (plan.service_hash, plan.session_id)
        service = self._services.get(key)
        if service is None:
            service = self._services[key] = RemoteService(self, self._transport, plan, address=self._address)
        session = self._owner.session
        service.take(ServiceJob(payload, str(session.session_dir), scope.pkg_data_dir, session.heal_children))

    def flow_ended(self, flow_job_id: str) -> None:
        """Cancel the jobs of a flow that no service has yet."""

        def belongs(job: ServiceJob) -> bool:
            return any(frame.flow_job_id == flow_job_id for frame in job.payload.stacks)

        for service in self._services.values():
            service.drop(belongs, "its flow has ended")

    def cancel_all(self, reason: str) -> None:
        """Cancel all jobs that no service has yet."""
        for service in self._services.values():
            service.drop(lambda job: True, reason)

    async def drain(self) -> None:
        """Wait until no job is left; cancelling it changes nothing."""
        while self.running:
            # A future per round and not an event: the number may rise again before who waits has been woken.
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    async def aclose(self, grace: float) -> None:
        """End the services of this session, and all that hang on a pipe; may be called twice.

        Args:
            grace: seconds that each process gets.
        """
        await asyncio.gather(*(service.aclose(grace) for service in self._services.values()))

    # -- for the services ---------------------------------------------------------------------------------------

    def send(self, message: Outgoing) -> None:
        """Send a message over the executor's channel."""
        self._owner.channel.put(message)

    def fail(self, job: ServiceJob, error: str) -> None:
        """End a job with an error."""
        session_id = self.session_id
        payload = encode_message(BlockFinished(session_id, job.job_id, None, error))
        self.send(Outgoing(session_topic(session_id), payload, Delivery.FINISH, session_id, job.job_id))
        self.changed()

    def changed(self) -> None:
        """Wake those who wait for the last job."""
        if not self.running:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                resolve(waiter)
