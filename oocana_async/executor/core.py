"""The executor of one session over any transport: takes jobs, runs them, reports ready, leaves in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from oocana_async.channel.bus import Bus
from oocana_async.channel.channel import Channel
from oocana_async.channel.clock import Clock, LoopClock
from oocana_async.channel.futures import resolve
from oocana_async.channel.loop_calls import LoopCalls
from oocana_async.channel.sender import Sender
from oocana_async.context.messenger import Surroundings
from oocana_async.errors import TransportError
from oocana_async.executor.child_events import SessionTopic
from oocana_async.executor.job_run import JobRun, RunState
from oocana_async.executor.loading.package_paths import on_sys_path
from oocana_async.executor.recent_jobs import RecentIds
from oocana_async.executor.router import Router
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.scope import ExecutorScope, ExecutorSession
from oocana_async.handles.bin_files import BinFiles
from oocana_async.handles.redaction import Redactor
from oocana_async.handles.secrets import SecretsFile
from oocana_async.handles.var_store import VarStore
from oocana_async.transport.base import Subscription, Transport
from oocana_async.wire import topics
from oocana_async.wire.envelope import Delivery, Incoming, Outgoing
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.dispatch import BlockInputs, BlockPayload, ServiceBlockPayload
from oocana_async.wire.messages.session import BlockReady, ExecutorReady

if TYPE_CHECKING:
    from oocana_async.executor.services.manager import ServiceManager

__all__ = ["Executor"]

logger = logging.getLogger(__name__)


class Executor:
    """Runs the python jobs of one session; use it as an async context manager.

    Entering subscribes; `add_scope` then announces a scope to the engine, which sends its jobs. Leaving cancels what
    still runs, waits for it under a deadline, delivers what is queued and ends.

    Args:
        transport: connected already; stays open.
        session: whose jobs to take.
        runtime: runs the code; stays open.
        clock: for throttles and deadlines; None for the loop's own.
        channel: a fresh one, which ends with the executor; None for an ordinary one.
        service_address: broker at which service processes reach the engine; None for a pipe to this process, with
            which they all end, global ones too.
        bus: for a transport that is no bus itself: what comes in on `report`, and on the session topic while children
            run, is published on it, so that whoever listens to a run listens to a bus. Belongs to the caller.
    """

    def __init__(
        self,
        transport: Transport,
        session: ExecutorSession,
        runtime: Runtime,
        *,
        clock: Clock | None = None,
        channel: Channel | None = None,
        service_address: str | None = None,
        bus: Bus | None = None,
    ) -> None:
        self.session = session
        self.runtime = runtime
        self.secrets = SecretsFile()
        self.redactor = Redactor()
        self.bins = BinFiles(session.session_dir, session.session_id)
        self.heal_children = session.heal_children
        self.session_over = asyncio.Event()
        self.loop_calls = LoopCalls.of_running_loop()
        self._transport = transport
        self.channel = channel or Channel()
        self.sender = Sender(self.channel, transport)
        self.clock: Clock = clock or LoopClock(asyncio.get_running_loop())
        self._bus = bus
        self.exchange = Router(session.session_id, self, self.channel, self.clock, bus=bus)
        self._scopes: dict[str | None, tuple[ExecutorScope, Surroundings, VarStore]] = {}
        self._seen = RecentIds()
        self._runs: dict[str, JobRun] = {}
        # One entry per `aclose` or `drain` that waits until no job is left; drained by the end of the last one.
        self._waiters: list[asyncio.Future[None]] = []
        self._by_flow: dict[str, dict[str, JobRun]] = {}
        self._stop_listening: Callable[[], object] | None = None
        self._subscription: Subscription | None = None
        self._reader: asyncio.Task[None] | None = None
        self._session_topic: SessionTopic | None = None
        self._service_address = service_address
        self._services: ServiceManager | None = None
        self._closing = False
        self._paths = contextlib.ExitStack()

    # -- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.sender.__aenter__()
        self._stop_listening = self._transport.listen(self._hear, *self.filters)
        if self._stop_listening is None:
            self._subscription = await self._transport.subscribe(*self.filters)
            self._reader = asyncio.create_task(self._read(self._subscription), name="oocana-executor-reader")
        if self.session.watch_session_topic:
            topic = topics.session(self.session.session_id)
            self._session_topic = SessionTopic(
                lambda: self._transport.subscribe(topic),
                self.exchange.children,
                asyncio.get_running_loop(),
                bus=self._bus,
            )
            self.exchange.children.session_topic = self._session_topic
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def filters(self) -> tuple[str, ...]:
        """Topics that the executor listens to."""
        return self.exchange.filters

    def add_scope(self, scope: ExecutorScope) -> None:
        """Announce a scope with ExecutorReady; its jobs come from then on."""
        surroundings = Surroundings(
            session_dir=str(self.session.session_dir),
            tmp_dir=str(scope.tmp_dir),
            package_name=scope.package_name,
            pkg_data_dir=scope.pkg_data_dir,
            variables=scope.variables,
        )
        self._scopes[scope.identifier] = (scope, surroundings, VarStore())
        package = None if scope.package_path is None else str(scope.package_path)
        if package is not None:
            self._paths.enter_context(on_sys_path(package))
        ready = ExecutorReady(self.session.session_id, "python", package, scope.identifier, scope.debug_port)
        self._send(encode_message(ready), Delivery.CONTROL, "")

    async def aclose(self, deadline: float = 5.0) -> None:
        """Cancel what runs, wait for it, deliver what is queued; may be called twice.

        Args:
            deadline: seconds that running blocks get to clean up.
        """
        if self._closing:
            return
        self._closing = True
        self.cancel_all("the executor is leaving")
        self.exchange.close("the executor is leaving")
        await self._leave_jobs(deadline)
        if self._session_topic is not None:
            await self._session_topic.aclose()
        if self._stop_listening is not None:
            self._stop_listening()
        if self._subscription is not None:
            await self._subscription.aclose()
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        await self.sender.aclose()
        self._paths.close()

    async def _leave_jobs(self, deadline: float) -> None:
        """Wait for jobs and services, all of them cancelled; after the deadline they are left to themselves."""
        waiting: list[asyncio.Future[None]] = [self._no_runs()] if self._runs else []
        if self._services is not None:
            closing = self._services.aclose(deadline * 0.8)
            waiting.append(asyncio.create_task(closing, name="oocana-services-closing"))
        if not waiting:
            return
        _, stuck = await asyncio.wait(waiting, timeout=deadline)
        for run in list(self._runs.values()):
            run.abandon()
        for one in stuck:
            one.cancel()
        if stuck:
            await asyncio.wait(stuck)

    def _no_runs(self) -> asyncio.Future[None]:
        """Return a future for the end of the last job that runs now or is started before that."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    async def drain(self) -> None:
        """Wait until no job is left and what they sent has been delivered; cancelling it changes nothing."""
        while self._runs:
            await self._no_runs()
        if self._services is not None:
            await self._services.drain()
        await self.sender.flush()

    @property
    def running(self) -> int:
        """Number of jobs that have not ended."""
        return len(self._runs) + (0 if self._services is None else self._services.running)

    def statistics(self) -> Mapping[str, Any]:
        """Return the state of channel, sender and transport, and the number of jobs."""
        return {
            "running": self.running,
            "jobs": self._seen.count,
            "skipped": self.exchange.skipped,
            "channel": self.channel.statistics()._asdict(),
            "sender": self.sender.statistics()._asdict(),
            "transport": dict(self._transport.statistics()),
        }

    def surroundings(self, identifier: str | None) -> tuple[Surroundings, VarStore]:
        """Return directories and objects of the scope of a job."""
        _, surroundings, store = self._scopes.get(identifier) or self._scopes[None]
        return surroundings, store

    def cancel_all(self, reason: str) -> None:
        """Cancel every job."""
        for run in list(self._runs.values()):
            run.cancel(reason)
        if self._services is not None:
            self._services.cancel_all(reason)

    # -- from the router, on the loop ---------------------------------------------------------------------------

    def take_block(self, payload: BlockPayload) -> None:
        """Start a job; when the message for one that waits is repeated, BlockReady was lost and is sent again."""
        if self._is_new(payload):
            self.start_run(JobRun(self, payload), Delivery.HANDSHAKE)
            return
        # BlockReady travels unacknowledged, which is much faster; without it the engine repeats run_block after 3 s.
        run = self._runs.get(payload.job_id)
        if run is not None and run.state is RunState.WAITING:
            self._send_ready(payload.job_id, Delivery.HANDSHAKE)

    def take_service_block(self, payload: ServiceBlockPayload) -> None:
        """Hand a job to its service; a repeated message for a job that is known is ignored."""
        if not self._is_new(payload):
            return
        if self._services is None:
            # Here, because most executors never meet a service, and their first block would wait for the import.
            from oocana_async.executor.services.manager import ServiceManager

            self._services = ServiceManager(self, self._transport, address=self._service_address)
        scope = self._scopes.get(payload.identifier) or self._scopes[None]
        self._services.take(payload, scope[0])

    def start_run(self, run: JobRun, ready: Delivery) -> None:
        """Begin a job and tell the engine, which sends its inputs.

        Args:
            run: the job.
            ready: how BlockReady travels: the engine repeats its message only for tasks.
        """
        self._runs[run.job_id] = run
        for frame in run.stacks:
            self._by_flow.setdefault(frame.flow_job_id, {})[run.job_id] = run
        run.start(self._forget)
        self._send_ready(run.job_id, ready)

    def _send_ready(self, job_id: str, delivery: Delivery) -> None:
        """Send the first message of a job: nothing has to be waited for, so where it can it goes past the channel."""
        session_id = self.session.session_id
        ready = encode_message(BlockReady(session_id, job_id))
        message = Outgoing(topics.session(session_id), ready, delivery, session_id, job_id)
        if not self._transport.publish_nowait(message):
            self.channel.append(message)

    def take_inputs(self, inputs: BlockInputs) -> None:
        """Hand inputs to the job that waits for them."""
        run = self._runs.get(inputs.job_id)
        if run is None:
            return
        if _were_handed_out(inputs):
            run.withdraw()
        else:
            run.take_inputs(inputs)

    def inputs_lost(self, job_id: str, text: str) -> None:
        """End a job whose inputs will not come."""
        run = self._runs.get(job_id)
        if run is not None:
            run.give_up_inputs(text)

    def warn(self, job_id: str, text: str) -> None:
        """Warn as a job; without one that runs, as any job, so that somebody sees it."""
        logger.warning("%s", text)
        run = self._runs.get(job_id) or next(iter(self._runs.values()), None)
        if run is not None:
            run.warn(text)

    def flow_ended(self, flow_job_id: str) -> None:
        """Cancel the jobs of a flow that ended."""
        for run in list(self._by_flow.get(flow_job_id, {}).values()):
            run.cancel("its flow has ended")
        if self._services is not None:
            self._services.flow_ended(flow_job_id)

    def job_timed_out(self, job_id: str) -> None:
        """Cancel a job that ran into its time-out."""
        run = self._runs.get(job_id)
        if run is not None:
            run.cancel("it ran into its time-out")

    def session_ended(self) -> None:
        """Cancel everything; whoever runs the executor waits for `session_over` and leaves."""
        self.cancel_all("the session is over")
        self.session_over.set()

    # -- inside -------------------------------------------------------------------------------------------------

    def _is_new(self, payload: BlockPayload | ServiceBlockPayload) -> bool:
        """Say whether a job is for a scope of this executor and has not been seen; it has from now on."""
        if self._closing or payload.job_id in self._seen or payload.job_id in self._runs:
            return False
        if payload.identifier not in self._scopes and None not in self._scopes:
            return False
        self._seen.add(payload.job_id)
        return True

    def _hear(self, message: Incoming) -> None:
        self.exchange.route(message.topic, message.payload)

    async def _read(self, subscription: Subscription) -> None:
        with contextlib.suppress(TransportError):  # whoever made the transport hears of it, too
            while batch := await subscription.receive_many():
                self.exchange.route_all(batch)

    def _forget(self, run: JobRun) -> None:
        self._runs.pop(run.job_id, None)
        for frame in run.stacks:
            jobs = self._by_flow.get(frame.flow_job_id)
            if jobs is not None:
                jobs.pop(run.job_id, None)
                if not jobs:
                    del self._by_flow[frame.flow_job_id]
        while self._waiters and not self._runs:
            resolve(self._waiters.pop())

    def _send(self, payload: bytes, delivery: Delivery, job_id: str) -> None:
        session_id = self.session.session_id
        self.channel.append(Outgoing(f"session/{session_id}", payload, delivery, session_id, job_id))


def _were_handed_out(inputs: BlockInputs) -> bool:
    """Whether another executor has got the inputs: they are handed out once (protocol.md 2.6).

    A task that is run directly may have none, though it declares some, if nothing fills them (flow-format.md 5.6).
    """
    if inputs.inputs is not None or not inputs.inputs_def:
        return False
    return bool(inputs.stacks) or any("value" in one or one.get("nullable") for one in inputs.inputs_def.values())
