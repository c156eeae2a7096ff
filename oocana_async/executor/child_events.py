"""Events of child blocks: who listens to which job, and from which topic each event is taken (protocol.md 3.9)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
from collections.abc import Awaitable, Callable

import msgspec

from oocana_async.channel.bus import Bus
from oocana_async.context.requests import EventListener
from oocana_async.errors import ClosedError, TransportError
from oocana_async.transport.base import Subscription
from oocana_async.wire.messages.report import (
    BlockFinishedEvent,
    BlockOutputEvent,
    BlockOutputsEvent,
    BlockProgressEvent,
    ReportEvent,
    SubflowBlockStarted,
    decode_report,
)
from oocana_async.wire.messages.session import BlockFinished, BlockOutput, BlockOutputs, BlockProgress, decode_session

__all__ = ["ChildEvents", "SessionTopic"]

logger = logging.getLogger(__name__)

_JOB_ID = re.compile(rb'"job_id"\s*:\s*"([^"\\]+)"')
_LINGER = 1.0
"""Seconds that the session topic stays subscribed after the last child: another one often follows."""

_ON_SESSION_TOPIC = (BlockOutputEvent, BlockOutputsEvent, BlockProgressEvent, BlockFinishedEvent)


class ChildEvents:
    """Listeners by job id of the child.

    Without the session topic, everything is taken from the report. With it (real engine), outputs, progress and the
    end of task children come from there, because nothing is lost there and the engine may run without a reporter;
    what subflow children do is only on the report.
    """

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._lock = threading.Lock()
        self._listeners: dict[bytes, EventListener] = {}
        self._subflows: set[bytes] = set()
        self.session_topic: SessionTopic | None = None

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def add(self, job_id: str, listener: EventListener) -> Callable[[], object]:
        """Listen to a child; returns what ends it, to be called from any thread and any number of times."""
        key = job_id.encode()
        with self._lock:
            self._listeners[key] = listener

        def stop() -> None:
            with self._lock:
                self._listeners.pop(key, None)
                self._subflows.discard(key)
                last = not self._listeners
            if last and self.session_topic is not None:
                self.session_topic.release()

        return stop

    def feed_report(self, payload: bytes) -> None:
        """Take a message of the report topic.

        Raises:
            msgspec.DecodeError: It is about a child and cannot be read.
        """
        found = self._find(payload)
        if found is None:
            return
        key, listener = found
        event = decode_report(payload)
        if event is None or event.session_id != self._session_id:
            return
        if isinstance(event, SubflowBlockStarted):
            self._subflows.add(key)
        if self.session_topic is not None and key not in self._subflows and isinstance(event, _ON_SESSION_TOPIC):
            return
        listener(event)

    def feed_session(self, payload: bytes) -> None:
        """Take a message of the session topic.

        Raises:
            msgspec.DecodeError: It is about a child and cannot be read.
        """
        found = self._find(payload)
        if found is None:
            return
        event = _as_event(payload)
        if event is not None and event.session_id == self._session_id:
            found[1](event)

    def _find(self, payload: bytes) -> tuple[bytes, EventListener] | None:
        for match in _JOB_ID.finditer(payload):
            listener = self._listeners.get(match[1])
            if listener is not None:
                return match[1], listener
        return None


def _as_event(payload: bytes) -> ReportEvent | None:
    match decode_session(payload):
        case BlockOutput(session_id=session, job_id=job, handle=handle, output=output):
            return BlockOutputEvent(session_id=session, job_id=job, handle=handle, output=output)
        case BlockOutputs(session_id=session, job_id=job, outputs=outputs):
            return BlockOutputsEvent(session_id=session, job_id=job, outputs=outputs)
        case BlockProgress(session_id=session, job_id=job, progress=progress):
            return BlockProgressEvent(session_id=session, job_id=job, progress=progress)
        case BlockFinished(session_id=session, job_id=job, result=result, error=error):
            end = msgspec.UNSET if error is None else error
            return BlockFinishedEvent(session_id=session, job_id=job, result=result, error=end)
        case _:
            return None


class SessionTopic:
    """The session topic, subscribed while children run.

    All methods but `release` belong to the loop.

    Args:
        subscribe: returns the subscription once it is in force.
        events: gets the messages.
        loop: the loop.
        bus: where the messages are published again for whoever listens to the run; None when they came over a bus.
    """

    def __init__(
        self,
        subscribe: Callable[[], Awaitable[Subscription]],
        events: ChildEvents,
        loop: asyncio.AbstractEventLoop,
        *,
        bus: Bus | None = None,
    ) -> None:
        self._bus = bus
        self._subscribe = subscribe
        self._events = events
        self._loop = loop
        self._reader: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._in_force = asyncio.Event()
        self._linger: asyncio.TimerHandle | None = None
        self._starters: set[asyncio.Task[None]] = set()
        self._closed = False

    def start_nowait(self, start: Callable[[], object], refuse: Callable[[str], object]) -> None:
        """Call `start` as soon as the subscription is in force, `refuse` with a reason if that cannot be."""
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._in_force.is_set():
            start()
            return
        task = self._loop.create_task(self._start(start, refuse), name="oocana-child-start")
        self._starters.add(task)
        task.add_done_callback(self._starters.discard)

    async def _start(self, start: Callable[[], object], refuse: Callable[[str], object]) -> None:
        try:
            if self._closed:
                raise ClosedError("the executor is leaving")
            async with self._opening:
                if self._reader is None:
                    subscription = await self._subscribe()
                    self._reader = self._loop.create_task(self._read(subscription), name="oocana-session-topic")
                    self._in_force.set()
        except (TransportError, ClosedError) as error:
            refuse(str(error))
        else:
            start()

    def release(self) -> None:
        """Note that no child runs any more; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and so is the subscription
            self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        if self._linger is None and not self._closed:
            self._linger = self._loop.call_later(_LINGER, self._let_go)

    def _let_go(self) -> None:
        self._linger = None
        if not self._events and self._reader is not None:
            self._reader.cancel()
            self._reader = None
            self._in_force.clear()

    async def _read(self, subscription: Subscription) -> None:
        try:
            while batch := await subscription.receive_many():
                for message in batch:
                    self._feed(message.topic, message.payload)
        finally:
            await subscription.aclose()

    def _feed(self, topic: str, payload: bytes) -> None:
        if self._bus is not None:
            self._bus.publish_nowait(topic, payload)
        try:
            self._events.feed_session(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.warning("skipped a message on %s that cannot be read: %s", topic, error)

    async def aclose(self) -> None:
        """Unsubscribe; may be called twice."""
        self._closed = True
        if self._linger is not None:
            self._linger.cancel()
        tasks = [*self._starters] if self._reader is None else [*self._starters, self._reader]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
