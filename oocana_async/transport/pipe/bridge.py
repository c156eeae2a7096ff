"""The transport between a child process and the one that started it: length-prefixed frames over a socket pair.

The child publishes and subscribes through a `PipeTransport`; a `PipeBridge` in the parent does the same for it on a
transport of the parent's, whatever kind that is. Nothing is pickled: frames are MessagePack of known shapes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Self

import msgspec

from oocana_async.errors import ClosedError, ConnectionLostError, PacketTooLargeError, TransportError
from oocana_async.transport.base import Subscription, Transport
from oocana_async.transport.inbox import Inbox
from oocana_async.transport.pipe.frames import (
    MAX_MESSAGE,
    ArrivedFrame,
    DoneFrame,
    FlushFrame,
    FrameStream,
    PublishFrame,
    SubscribeFrame,
    ToChild,
    ToParent,
    UnsubscribeFrame,
    chunks,
)
from oocana_async.wire.envelope import Incoming, Outgoing

__all__ = ["PipeBridge", "PipeTransport"]

logger = logging.getLogger(__name__)


class PipeTransport(Transport):
    """The child's end: everything it publishes and subscribes to goes through the parent.

    Args:
        connection: the child's end of a socket pair, or its file descriptor; closed with the transport, and not
            inherited by processes that the child starts.
        on_lost: called once when the parent is gone.
    """

    def __init__(
        self, connection: socket.socket | int, *, on_lost: Callable[[TransportError], object] | None = None
    ) -> None:
        if isinstance(connection, int):
            os.set_inheritable(connection, False)
            connection = socket.socket(fileno=connection)
        self.failure: TransportError | None = None
        self._on_lost = on_lost
        self._frames = FrameStream(connection, msgspec.msgpack.Decoder(ToChild), "the process that started this one")
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._inboxes: dict[int, Inbox] = {}
        self._reader: asyncio.Task[None] | None = None
        self._published = 0
        self._closed = False

    async def __aenter__(self) -> Self:
        await self._frames.open()
        # No task group: who opens a transport need not be the task that closes it.
        self._reader = asyncio.create_task(self._read(), name="oocana-pipe-reader")
        return self

    async def publish(self, batch: Sequence[Outgoing]) -> None:
        """Take a batch in order; waits while the parent does not read, which it does at the pace of its transport.

        Raises:
            ClosedError: The transport is closed.
            PacketTooLargeError: A message is larger than any transport could carry; all others were taken.
            ConnectionLostError: The parent is gone.
        """
        self._check()
        fitting = [message for message in batch if len(message.payload) <= MAX_MESSAGE]
        for chunk in chunks(fitting):
            await self._frames.send(PublishFrame(chunk))
        self._published += len(fitting)
        if len(fitting) < len(batch):
            size = max(len(message.payload) for message in batch)
            text = f"a message of {size} bytes is too large, at most {MAX_MESSAGE} can travel"
            raise PacketTooLargeError(text, size=size, limit=MAX_MESSAGE)

    async def subscribe(self, *filters: str) -> Subscription:
        """Subscribe to topic filters; returns when the parent's own subscription is in force.

        Raises:
            ClosedError: The transport is closed.
            TransportError: The parent could not subscribe, or is gone.
        """
        self._check()
        number = next(self._numbers)
        inbox = Inbox(filters, lambda _: self._unsubscribe(number))
        self._inboxes[number] = inbox
        try:
            await self._ask(number, SubscribeFrame(number, list(filters)))
        except BaseException:
            await inbox.aclose()
            raise
        return inbox

    async def flush(self) -> None:
        """Wait until the parent's transport has acknowledged everything published so far; no bound of its own.

        Raises:
            TransportError: The parent could not deliver, or is gone.
        """
        self._check()
        number = next(self._numbers)
        await self._ask(number, FlushFrame(number))

    async def aclose(self) -> None:
        """Deliver what is queued, then close; may be called twice."""
        if self._closed:
            return
        if self._reader is not None:
            with contextlib.suppress(TransportError):
                await self.flush()
            self._closed = True
            self._reader.cancel()
            await asyncio.wait([self._reader])
        self._closed = True
        for inbox in list(self._inboxes.values()):
            await inbox.aclose()
        self._settle(ClosedError("the pipe is closed"))
        await self._frames.aclose()

    def statistics(self) -> Mapping[str, Any]:
        """State and counters, for people."""
        return {"transport": "pipe", "published": self._published, "subscriptions": len(self._inboxes)}

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self._closed:
            raise ClosedError("the pipe transport is closed")

    async def _ask(self, number: int, frame: SubscribeFrame | FlushFrame) -> None:
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._frames.send(frame)
            await future
        finally:
            del self._waiting[number]
            if future.done() and not future.cancelled():
                future.exception()  # seen, also when sending has failed first

    def _unsubscribe(self, number: int) -> None:
        if self._inboxes.pop(number, None) is not None and not self._closed and self.failure is None:
            self._frames.send_nowait(UnsubscribeFrame(number))

    async def _read(self) -> None:
        try:
            while (frame := await self._frames.receive()) is not None:
                self._take(frame)
            self._lose(ConnectionLostError("the process that started this one is gone"))
        except TransportError as error:
            self._lose(error)

    def _take(self, frame: ToChild) -> None:
        if isinstance(frame, DoneFrame):
            future = self._waiting.get(frame.number)
            if future is not None and not future.done():
                if frame.error is None:
                    future.set_result(None)
                else:
                    future.set_exception(TransportError(frame.error))
            return
        inbox = self._inboxes.get(frame.number)
        if inbox is not None:
            for message in frame.messages:
                inbox.push(message)

    def _lose(self, error: TransportError) -> None:
        self.failure = error
        self._settle(error)
        for inbox in self._inboxes.values():
            inbox.fail(error)
        if self._on_lost is not None:
            self._on_lost(error)

    def _settle(self, error: Exception) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)


class PipeBridge:
    """The parent's end: serves one child on a transport of the parent's.

    What the child publishes is published here, in order and at the pace of the transport: while that is full, nothing
    is read, and the child waits. Messages for the child wait in the subscriptions of the transport while it does not
    read.

    Args:
        transport: what the child publishes on and subscribes to; stays open.
        connection: the parent's end of a socket pair; closed by `run()`.
    """

    def __init__(self, transport: Transport, connection: socket.socket) -> None:
        self._transport = transport
        self._frames = FrameStream(connection, msgspec.msgpack.Decoder(ToParent), "the child process")
        self._pumps: dict[int, tuple[Subscription, asyncio.Task[None]]] = {}
        self._failure: TransportError | None = None

    async def run(self) -> None:
        """Serve the child until it closes its end, or its last process is gone; cancelling it breaks the connection.

        Raises:
            ConnectionLostError: The child was gone in the middle of a frame.
            ProtocolError: The child sent what is no frame.
            TransportError: The parent's own transport is broken; the child sees the end of the stream.
        """
        try:
            await self._frames.open()
            while (frame := await self._frames.receive()) is not None:
                await self._take(frame)
        except ConnectionLostError:
            if self._failure is None:
                raise
        finally:
            self._frames.abort()
            for number in list(self._pumps):
                await self._stop(number)
            await self._frames.aclose()
        if self._failure is not None:
            raise self._failure

    async def _take(self, frame: ToParent) -> None:
        match frame:
            case PublishFrame(messages=messages):
                await self._publish(messages)
            case SubscribeFrame(number=number, filters=filters):
                await self._answer(number, self._subscribe(number, filters))
            case FlushFrame(number=number):
                await self._answer(number, self._transport.flush())
            case UnsubscribeFrame(number=number):
                await self._stop(number)

    async def _publish(self, messages: list[Outgoing]) -> None:
        try:
            await self._transport.publish(messages)
        except PacketTooLargeError as error:
            logger.warning("a message of a child process was lost: %s", error)

    async def _answer(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        error = None
        try:
            await work
        except (TransportError, ClosedError) as failure:
            error = str(failure)
        await self._frames.send(DoneFrame(number, error))

    async def _subscribe(self, number: int, filters: list[str]) -> None:
        subscription = await self._transport.subscribe(*filters)
        # A task of its own, because one subscription ends while the others go on; `run()` ends those that are left.
        task = asyncio.create_task(self._pump(number, subscription), name=f"oocana-pipe-pump-{number}")
        self._pumps[number] = (subscription, task)

    async def _pump(self, number: int, subscription: Subscription) -> None:
        while batch := await self._next(subscription):
            for chunk in chunks(batch):
                try:
                    await self._frames.send(ArrivedFrame(number, chunk))
                except ConnectionLostError:
                    return  # `run()` sees that, too

    async def _next(self, subscription: Subscription) -> Sequence[Incoming]:
        try:
            return await subscription.receive_many()
        except TransportError as error:
            self._failure = error
            self._frames.abort()
            return ()

    async def _stop(self, number: int) -> None:
        entry = self._pumps.pop(number, None)
        if entry is None:
            return
        subscription, task = entry
        task.cancel()
        await asyncio.wait([task])
        await subscription.aclose()
