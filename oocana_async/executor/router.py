"""Hands what comes in to whoever waits for it: jobs, requests, child blocks; reads cancellations out of the report."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from oocana_async.channel.bus import Bus
from oocana_async.channel.channel import Channel
from oocana_async.channel.clock import Clock
from oocana_async.context.requests import EventListener, PendingRequests
from oocana_async.errors import ClosedError
from oocana_async.executor.child_events import ChildEvents
from oocana_async.wire import topics
from oocana_async.wire.envelope import Incoming, Outgoing
from oocana_async.wire.messages.dispatch import (
    BlockInputs,
    BlockPayload,
    ServiceBlockPayload,
    decode_block_inputs,
    decode_block_payload,
    decode_response,
    decode_service_payload,
)
from oocana_async.wire.messages.ends import EndKind, read_cancellation
from oocana_async.wire.messages.session import RunBlock

__all__ = ["JobTaker", "Router"]

logger = logging.getLogger(__name__)


class JobTaker(Protocol):
    """What the router tells about jobs; all calls come on the router's loop."""

    def take_block(self, payload: BlockPayload) -> None:
        """A task block is due."""

    def take_service_block(self, payload: ServiceBlockPayload) -> None:
        """A block of a service is due."""

    def take_inputs(self, inputs: BlockInputs) -> None:
        """The inputs of a job are there."""

    def flow_ended(self, flow_job_id: str) -> None:
        """A flow run ended: its jobs that still run are cancelled."""

    def job_timed_out(self, job_id: str) -> None:
        """The engine gave up a job."""

    def session_ended(self) -> None:
        """The session is over."""


class Router:
    """Reads messages of one session; a message that cannot be read is logged with its topic and skipped.

    Args:
        session_id: messages of other sessions are not looked at.
        taker: gets the jobs.
        channel: where the requests for child blocks go.
        clock: for the deadlines of requests.
        bus: where the report is published again for whoever listens to the run; None when it came over a bus.
    """

    def __init__(
        self, session_id: str, taker: JobTaker, channel: Channel, clock: Clock, *, bus: Bus | None = None
    ) -> None:
        self._session_id = session_id
        self._bus = bus
        self._taker = taker
        self._channel = channel
        self.pending = PendingRequests(clock)
        self._lock = threading.Lock()
        self.children = ChildEvents(session_id)
        self._inputs_prefix = topics.inputs(session_id, "")
        self._response_prefix = f"session/{session_id}/request/"
        self._skipped = 0
        self._loop = asyncio.get_running_loop()
        self._closed: str | None = None

    @property
    def filters(self) -> tuple[str, ...]:
        """Topic filters to subscribe to before ExecutorReady is sent."""
        return (
            topics.run_block(),
            topics.run_service_block(),
            topics.inputs(self._session_id, "+"),
            topics.responses(self._session_id),
            topics.REPORT,
        )

    @property
    def skipped(self) -> int:
        """Messages that could not be read."""
        return self._skipped

    def route_all(self, messages: Iterable[Incoming]) -> None:
        """Hand over messages in order."""
        for message in messages:
            self.route(message.topic, message.payload)

    def route(self, topic: str, payload: bytes) -> None:
        """Hand over one message; never raises because of what is in it."""
        try:
            if topic == topics.REPORT:
                self._report(payload)
            elif topic.startswith(self._inputs_prefix):
                self._taker.take_inputs(decode_block_inputs(payload))
            elif topic.startswith(self._response_prefix):
                self.pending.resolve(decode_response(payload))
            elif topic == topics.run_block():
                self._block(decode_block_payload(payload))
            elif topic == topics.run_service_block():
                self._service_block(decode_service_payload(payload))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._skipped += 1
            logger.warning("skipped a message on %s that cannot be read: %s", topic, error)

    def _block(self, payload: BlockPayload) -> None:
        if payload.session_id == self._session_id:
            self._taker.take_block(payload)

    def _service_block(self, payload: ServiceBlockPayload) -> None:
        if payload.session_id == self._session_id:
            self._taker.take_service_block(payload)

    # -- the report ---------------------------------------------------------------------------------------------

    def _report(self, payload: bytes) -> None:
        if self._bus is not None:
            self._bus.publish_nowait(topics.REPORT, payload)
        if self.children:
            self.children.feed_report(payload)
        end = read_cancellation(payload)
        if end is None or end.session_id != self._session_id:
            return
        match end.kind:
            case EndKind.FLOW:
                self._taker.flow_ended(end.job_id)
            case EndKind.SESSION:
                self._taker.session_ended()
            case EndKind.TIMED_OUT_JOB:
                self._taker.job_timed_out(end.job_id)

    # -- children -----------------------------------------------------------------------------------------------

    def start_child(self, message: Outgoing, request: RunBlock, listener: EventListener) -> Callable[[], object]:
        """Listen to the events of a child, then send the request for it; from any thread.

        Raises:
            ClosedError: The executor is leaving.
        """
        with self._lock:
            if self._closed is not None:
                raise ClosedError(self._closed)
        stop = self.children.add(request.block_job_id, listener)
        topic = self.children.session_topic
        if topic is None:
            self._channel.append(message)
            return stop

        def refuse(reason: str) -> None:
            self.pending.fail(request.request_id, ClosedError(reason))

        self._loop.call_soon_threadsafe(topic.start_nowait, lambda: self._channel.append(message), refuse)
        return stop

    def close(self, reason: str) -> None:
        """End all waits for answers with a reason; further requests fail with it."""
        with self._lock:
            self._closed = reason
        self.pending.close(reason)
