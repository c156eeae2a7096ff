"""A service in its own process: takes jobs, runs them per session, answers pings, says when it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from oocana_async.channel.channel import Channel
from oocana_async.channel.clock import Clock, Timer
from oocana_async.channel.sender import Sender
from oocana_async.errors import ScriptletError, TransportError
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.service_process.front_end import FrontEndMessages
from oocana_async.executor.service_process.handlers import Readiness
from oocana_async.executor.service_process.main_function import MainFunction
from oocana_async.executor.service_process.registration import ServiceContext
from oocana_async.executor.service_process.service_jobs import ServiceJobs
from oocana_async.executor.services.lifetime import Lifetime, StopAt
from oocana_async.executor.services.service_messages import (
    Ended,
    ServiceJob,
    ServiceTopics,
    Sighting,
    Status,
    decode_job,
    decode_session_end,
)
from oocana_async.transport.base import Subscription, Transport
from oocana_async.wire import topics
from oocana_async.wire.envelope import Delivery, Incoming, Outgoing
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.services import decode_service_message

__all__ = ["Service", "ServiceIdentity"]

logger = logging.getLogger(__name__)

STATUS_INTERVAL = 5.0
"""Seconds between two messages on `service/report/status` (protocol.md 6.2)."""


@dataclass(frozen=True, slots=True)
class ServiceIdentity:
    """Which service this is.

    Attributes:
        service_hash: hash of its directory.
        instance: names this process.
        session_id: its session, None for a global service.
        stop_at: when it ends.
        keep_alive: seconds after the last job, for `block_end`.
    """

    service_hash: str
    instance: str
    session_id: str | None = None
    stop_at: StopAt = StopAt.SESSION_END
    keep_alive: float | None = None


class Service:
    """Runs the blocks of one service; use it as an async context manager around `until_over()`.

    Args:
        transport: connected already; stays open.
        runtime: runs the code, all async code on one loop; stays open.
        identity: which service.
        clock: for the status and the lifetime.
    """

    def __init__(self, transport: Transport, runtime: Runtime, identity: ServiceIdentity, clock: Clock) -> None:
        self.identity = identity
        self._transport = transport
        self._runtime = runtime
        self._clock = clock
        self._topics = ServiceTopics(identity.session_id, identity.service_hash)
        self._channel = Channel()
        self._sender = Sender(self._channel, transport)
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[str] = self._loop.create_future()
        self._lifetime = Lifetime(identity.stop_at, identity.keep_alive)
        self._leaving: Timer | None = None
        self._heartbeat: Timer | None = None
        self._readiness = Readiness()
        self._context = ServiceContext(self._on_ready)
        self._front_end = FrontEndMessages(runtime, self._context)
        self._sessions: dict[str, ServiceJobs] = {}
        self._main: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None
        self._closed = False
        self.has_failed = False

    # -- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self._sender.__aenter__()
        self._subscription = await self._transport.subscribe(
            self._topics.run(self.identity.instance),
            self._topics.ping,
            self._topics.shutdown,
            self._topics.end_session,
            topics.SERVICE_GLOBAL_SHUTDOWN,
            topics.SERVICE_MESSAGE,
        )
        self._own(self._read(self._subscription), "oocana-service-reader")
        self._own(self._front_end.run(), "oocana-service-messages")
        self._beat()
        self._send(self._topics.prepare, Sighting(self.identity.instance))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def is_over(self) -> bool:
        """Whether the service has a reason to leave; it takes no job any more then."""
        return self._over.done()

    async def until_over(self) -> str:
        """Wait until the service has a reason to leave; returns the reason."""
        return await asyncio.shield(self._over)  # cancelling one who waits must not cancel the reason itself

    def leave(self, reason: str) -> None:
        """Give a reason to leave; the first one counts."""
        if not self.is_over:
            self._over.set_result(reason)

    def warn(self, job_id: str, text: str) -> None:
        """Warn as a job; as any, when there is none of that id."""
        homes = list(self._sessions.values())
        for jobs in [one for one in homes if one.has_run(job_id)] or homes:
            jobs.warn(job_id, text)

    async def aclose(self, deadline: float = 3.0) -> None:
        """Cancel what runs, tell everybody, deliver what is queued; may be called twice.

        Args:
            deadline: seconds that running jobs get to clean up.
        """
        if self._closed:
            return
        self._closed = True
        self.leave("it was closed")
        for timer in (self._leaving, self._heartbeat):
            if timer is not None:
                timer.cancel()
        await asyncio.gather(*(jobs.aclose(deadline) for jobs in self._sessions.values()))
        self._send(topics.SERVICE_EXIT, self._status())
        tasks = [*self._tasks] if self._main is None else [*self._tasks, self._main]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._subscription is not None:
            await self._subscription.aclose()
        with contextlib.suppress(TransportError):
            await self._sender.aclose()

    # -- what comes in ------------------------------------------------------------------------------------------

    async def _read(self, subscription: Subscription) -> None:
        try:
            while batch := await subscription.receive_many():
                for message in batch:
                    await self._take(message)
        except TransportError as error:
            self.has_failed = True
            self.leave(f"the connection is lost: {error}")

    async def _take(self, message: Incoming) -> None:
        try:
            match message.topic:
                case topics.SERVICE_MESSAGE:
                    self._take_front_end(message.payload)
                case self._topics.ping:
                    self._send(self._topics.pong, Sighting(self.identity.instance))
                case self._topics.shutdown | topics.SERVICE_GLOBAL_SHUTDOWN:
                    self.leave("it was asked to shut down")
                case self._topics.end_session:
                    jobs = self._sessions.get(decode_session_end(message.payload).session_id)
                    if jobs is not None:
                        jobs.session_ended()
                case _:
                    await self._take_job(decode_job(message.payload))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.warning("skipped a message on %s that cannot be read: %s", message.topic, error)

    def _take_front_end(self, payload: bytes) -> None:
        message = decode_service_message(payload)
        if any(jobs.has_run(message.job_id) for jobs in self._sessions.values()):
            self._front_end.take(message)

    async def _take_job(self, job: ServiceJob) -> None:
        if self.is_over:
            return  # whoever sent it finds out by the exit report
        jobs = await self._jobs_of(job)
        if not jobs.take_job(job):
            return
        self._lifetime.job_began()
        self._schedule_leaving()
        if self._main is None:
            # No task group: the main function begins with the first job, in the middle of the reader, and what goes
            # wrong in it is answered to the jobs; it must not cancel the reader.
            self._main = asyncio.create_task(self._run_main(job), name="oocana-service-main")

    async def _jobs_of(self, job: ServiceJob) -> ServiceJobs:
        session_id = job.payload.session_id
        found = self._sessions.get(session_id)
        if found is None:
            found = self._sessions[session_id] = ServiceJobs(
                self._transport,
                job,
                self._runtime,
                context=self._context,
                readiness=self._readiness,
                on_ended=self._on_job_ended,
                on_session_over=self._on_session_over,
                clock=self._clock,
            )
            await found.__aenter__()
        return found

    # -- main function ------------------------------------------------------------------------------------------

    def _on_ready(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process leaves already
            self._loop.call_soon_threadsafe(self._readiness.open)

    async def _run_main(self, job: ServiceJob) -> None:
        try:
            await MainFunction(self._runtime, job.payload, self._context).run(self._on_main_returned)
        except ScriptletError as error:
            logger.error("the main function failed: %s", error)
            if not self._context.is_ready:
                self.has_failed = True
                self._readiness.fail(str(error))
                self._lifetime.main_failed(self._clock.now())
                self._schedule_leaving()

    def _on_main_returned(self) -> None:
        if not self._context.is_ready:
            text = "the main function of the service has returned, but no block_handler is ready; the job waits for one"
            logger.warning("%s", text)
            for jobs in self._sessions.values():
                jobs.warn_all(text)

    # -- ends ---------------------------------------------------------------------------------------------------

    def _on_job_ended(self, jobs: ServiceJobs, job_id: str) -> None:
        message = encode_message(Ended(self.identity.instance, [job_id]))
        jobs.channel.append(Outgoing(self._topics.ended, message, Delivery.CONTROL))
        self._lifetime.job_ended(self._clock.now())
        self._schedule_leaving()

    def _on_session_over(self, jobs: ServiceJobs) -> None:
        if self.identity.session_id is not None:
            self.leave("its session is over")
        else:
            self._own(self._end_session(jobs), f"oocana-service-end-{jobs.session.session_id}")

    async def _end_session(self, jobs: ServiceJobs) -> None:
        self._sessions.pop(jobs.session.session_id, None)
        await jobs.aclose()

    def _schedule_leaving(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        when = self._lifetime.leave_at()
        if when is not None:
            self._leaving = self._clock.call_later(max(0.0, when - self._clock.now()), self._leave_if_due)

    def _leave_if_due(self) -> None:
        when = self._lifetime.leave_at()
        if when is not None and when <= self._clock.now():
            self.leave("it is no longer needed" if not self.has_failed else "its main function failed")

    # -- what goes out ------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        self._send(topics.SERVICE_STATUS, self._status())
        self._heartbeat = self._clock.call_later(STATUS_INTERVAL, self._beat)

    def _status(self) -> Status:
        identity = self.identity
        return Status(identity.service_hash, identity.session_id, instance=identity.instance)

    def _send(self, topic: str, body: msgspec.Struct) -> None:
        self._channel.append(Outgoing(topic, encode_message(body), Delivery.CONTROL))

    def _own(self, work: Any, name: str) -> None:
        # No task group: sessions end out of plain callbacks, and `aclose` has to send the exit report after the jobs
        # have ended and before the reader is cancelled; a group would cancel all of them at once.
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
