"""One service as its executor sees it: found or started, fed with jobs, missed when it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import uuid
from collections.abc import Callable, Coroutine
from typing import Protocol

import anyio
import msgspec

from oocana_async.channel.clock import Clock, Timer
from oocana_async.errors import StateError, TransportError
from oocana_async.executor.services.assignments import Assignments
from oocana_async.executor.services.launching import ServicePlan, launch
from oocana_async.executor.services.service_messages import (
    ServiceJob,
    ServiceTopics,
    SessionEnd,
    Sighting,
    decode_ended,
    decode_sighting,
    decode_status,
)
from oocana_async.transport.base import Subscription, Transport
from oocana_async.transport.pipe.processes import ChildProcess, show_code
from oocana_async.wire import topics
from oocana_async.wire.envelope import Delivery, Incoming, Outgoing
from oocana_async.wire.messages import encode_message

__all__ = ["ServiceState", "RemoteService", "ServiceOwner"]

logger = logging.getLogger(__name__)

FIND_WINDOW = 0.05
"""Seconds that a process which runs already gets to answer a ping before another one is started."""

READY_TIMEOUT = 30.0
"""Seconds that a started process may take to say that it is up."""

LAST_WORDS = 0.5
"""Seconds that the exit report may take to arrive when the process has ended."""

SILENCE = 15.0
"""Seconds without status after which a process that somebody else started counts as dead: three are missing."""


class ServiceOwner(Protocol):
    """What a service gets from the manager."""

    @property
    def clock(self) -> Clock:
        """Time."""

    @property
    def session_id(self) -> str:
        """The executor's session."""

    def send(self, message: Outgoing) -> None:
        """Send a message."""

    def fail(self, job: ServiceJob, error: str) -> None:
        """End a job with an error."""

    def changed(self) -> None:
        """Jobs have ended."""


class ServiceState(enum.Enum):
    """What is known about the process of a service."""

    IDLE = "not needed"
    SEEKING = "being looked for"
    STARTING = "starting"
    READY = "ready"
    CLOSED = "closed"


_MOVES = {
    ServiceState.IDLE: {ServiceState.SEEKING, ServiceState.CLOSED},
    ServiceState.SEEKING: {ServiceState.STARTING, ServiceState.READY, ServiceState.IDLE, ServiceState.CLOSED},
    ServiceState.STARTING: {ServiceState.READY, ServiceState.IDLE, ServiceState.CLOSED},
    ServiceState.READY: {ServiceState.IDLE, ServiceState.CLOSED},
    ServiceState.CLOSED: set[ServiceState](),
}


class RemoteService:
    """The way to one service.

    Args:
        owner: sends, and ends jobs that cannot be run.
        transport: for subscriptions and pipes; stays open.
        plan: the service.
        address: broker for its process; None for a pipe, and then nobody else can have started one.
    """

    def __init__(self, owner: ServiceOwner, transport: Transport, plan: ServicePlan, *, address: str | None) -> None:
        self.plan = plan
        self.jobs = Assignments()
        self._owner = owner
        self._transport = transport
        self._address = address
        self._topics = ServiceTopics(plan.session_id, plan.service_hash)
        self._state = ServiceState.IDLE
        self._subscription: Subscription | None = None
        self._process: ChildProcess | None = None
        self._own_instance = ""
        self._sighted = asyncio.Event()
        self._is_gone = asyncio.Event()
        self._heard_at = 0.0
        self._timer: Timer | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> ServiceState:
        """What is known about the process."""
        return self._state

    def _move(self, state: ServiceState) -> None:
        if state not in _MOVES[self._state]:
            raise StateError(f"a service that is {self._state.value} cannot become {state.value}")
        self._state = state
        self._set_timer(None, None)

    # -- from the manager ---------------------------------------------------------------------------------------

    def take(self, job: ServiceJob) -> None:
        """Take a job: it is sent at once, or as soon as the service is there."""
        self._send_jobs(self.jobs.take(job))
        self._begin_if_needed()

    def drop(self, wanted: Callable[[ServiceJob], bool], reason: str) -> None:
        """Cancel jobs that no process has yet; those that one has are cancelled there."""
        for job in self.jobs.drop(wanted):
            self._owner.fail(job, f"Cancelled: {reason}")

    async def aclose(self, grace: float) -> None:
        """End the process unless it outlives its executor, and stop listening to it; may be called twice.

        Args:
            grace: seconds that the process gets.
        """
        if self._state is ServiceState.CLOSED:
            return
        self.drop(lambda job: True, "the executor is leaving")
        self._move(ServiceState.CLOSED)
        if self._outlives:
            self._send(self._topics.end_session, SessionEnd(self._owner.session_id))
        elif self._process is not None:
            self._send(self._topics.shutdown, Sighting())
            await self._process.aclose(grace)
            for job in self.jobs.fail_all():
                self._owner.fail(job, "Cancelled: the executor is leaving")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._subscription is not None:
            await self._subscription.aclose()

    @property
    def _outlives(self) -> bool:
        return self.plan.session_id is None and self._address is not None

    # -- find or start ------------------------------------------------------------------------------------------

    def _begin_if_needed(self) -> None:
        if self._state is ServiceState.IDLE and self.jobs.has_held:
            self._move(ServiceState.SEEKING)
            self._own(self._find_or_start(), "start")

    async def _find_or_start(self) -> None:
        try:
            await self._listen()
            if self._address is not None:
                await self._find()
            if self._state is ServiceState.SEEKING:
                self._move(ServiceState.STARTING)
                await self._start()
        except (OSError, TransportError) as error:
            if self._state in (ServiceState.SEEKING, ServiceState.STARTING):
                self._give_up(f"Service {self.plan.directory} cannot be started: {error}")

    async def _listen(self) -> None:
        if self._subscription is None:
            self._subscription = await self._transport.subscribe(*self._topics.reports)
            self._own(self._read(self._subscription), "reports")

    async def _find(self) -> None:
        self._sighted.clear()
        self._send(self._topics.ping, Sighting())
        with anyio.move_on_after(FIND_WINDOW):
            await self._sighted.wait()

    async def _start(self) -> None:
        self._own_instance = uuid.uuid4().hex[:12]
        process = await launch(self.plan, self._own_instance, address=self._address, transport=self._transport)
        self._process = process
        self._own(self._watch(process, self._own_instance), "process")
        if self._state is ServiceState.STARTING:
            self._set_timer(READY_TIMEOUT, self._on_late)

    def _on_late(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._give_up(f"Service {self.plan.directory} did not get ready within {READY_TIMEOUT:g} s")

    async def _watch(self, process: ChildProcess, instance: str) -> None:
        """Notice the end of the own process."""
        code = await process.wait()
        if self.jobs.instance == instance:  # the exit report takes another way and may come later
            with anyio.move_on_after(LAST_WORDS):
                await self._is_gone.wait()
        if self._process is process:
            self._process = None
        await process.aclose(0)
        error = f"Service {self.plan.directory} exited with code {show_code(code)}, its log is {self.plan.log_path}"
        if self.jobs.instance == instance:
            self._gone(error, orderly=False)
        elif self._state is ServiceState.STARTING and instance == self._own_instance:
            self._give_up(error)

    # -- what the service says ----------------------------------------------------------------------------------

    async def _read(self, subscription: Subscription) -> None:
        with contextlib.suppress(TransportError):  # whoever made the transport hears of it, too
            while batch := await subscription.receive_many():
                for message in batch:
                    self._take_report(message)

    def _take_report(self, message: Incoming) -> None:
        try:
            match message.topic:
                case self._topics.prepare | self._topics.pong:
                    self._on_sighted(decode_sighting(message.payload).instance)
                case self._topics.ended:
                    ended = decode_ended(message.payload)
                    self._heard_at = self._owner.clock.now()
                    self.jobs.ended(ended.job_ids)
                    self._owner.changed()
                case topics.SERVICE_STATUS:
                    if decode_status(message.payload).instance == self.jobs.instance:
                        self._heard_at = self._owner.clock.now()
                case topics.SERVICE_EXIT:
                    self._on_exit_report(decode_status(message.payload).instance)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.warning("skipped a message on %s that cannot be read: %s", message.topic, error)

    def _on_sighted(self, instance: str) -> None:
        """Use the first process that shows up, and no other; everybody sees them in the same order."""
        if not instance or self._state not in (ServiceState.SEEKING, ServiceState.STARTING):
            return
        self._move(ServiceState.READY)
        self._sighted.set()
        self._heard_at = self._owner.clock.now()
        if self._process is not None and instance != self._own_instance:
            # Two executors may both have found nobody and started one; two would each keep a state of their own.
            self._process.terminate()
        if self._address is not None and instance != self._own_instance:
            self._watch_silence()
        self._is_gone.clear()
        self._send_jobs(self.jobs.found(instance))

    def _on_exit_report(self, instance: str) -> None:
        if instance and instance == self.jobs.instance:
            self._gone(f"Service {self.plan.directory} has left without running the job", orderly=True)

    def _watch_silence(self) -> None:
        """Notice that a process which somebody else started is no more."""
        if self._owner.clock.now() - self._heard_at >= SILENCE:
            self._gone(f"Service {self.plan.directory} has been silent for {SILENCE:g} s", orderly=False)
        else:
            self._set_timer(SILENCE / 3, self._watch_silence)

    # -- ends ---------------------------------------------------------------------------------------------------

    def _gone(self, error: str, *, orderly: bool) -> None:
        """Note that the process is no more; the jobs that it had fail, or go to the next one."""
        self._is_gone.set()
        failed = self.jobs.gone(orderly=orderly)
        for job in failed:
            self._owner.fail(job, error)
        if self._state is not ServiceState.CLOSED:
            self._move(ServiceState.IDLE)
            self._begin_if_needed()

    def _give_up(self, error: str) -> None:
        """Fail all jobs; the next one tries again."""
        logger.error("%s", error)
        self._move(ServiceState.IDLE)
        for job in self.jobs.fail_all():
            self._owner.fail(job, error)

    # -- small things -------------------------------------------------------------------------------------------

    def _send_jobs(self, jobs: list[ServiceJob]) -> None:
        if jobs:
            assert self.jobs.instance is not None
            topic = self._topics.run(self.jobs.instance)
            for job in jobs:
                self._send(topic, job)

    def _send(self, topic: str, body: msgspec.Struct) -> None:
        self._owner.send(Outgoing(topic, encode_message(body), Delivery.CONTROL))

    def _set_timer(self, delay: float | None, call: Callable[[], object] | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if delay is None or call is None else self._owner.clock.call_later(delay, call)

    def _own(self, work: Coroutine[None, None, None], what: str) -> None:
        # No task group: one that fails would cancel its siblings and end with its host task, while these begin one by
        # one out of plain calls (a job, a report) and each may end by itself. `aclose` cancels and awaits them.
        task = asyncio.create_task(work, name=f"oocana-service-{what}-{self.plan.service_hash}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
