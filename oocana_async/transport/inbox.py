"""What has arrived for one subscription and waits to be read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from oocana_async.errors import TransportError
from oocana_async.transport.base import Subscription
from oocana_async.wire import topics
from oocana_async.wire.envelope import Incoming

__all__ = ["Inbox"]


class Inbox(Subscription):
    """A queue of incoming messages; read it from one task of the loop that fills it.

    Reading raises TransportError once the connection is gone for good and everything that had arrived has been read.

    Args:
        filters: the topic filters that it takes.
        on_close: called once, when it is closed.
    """

    def __init__(self, filters: tuple[str, ...], on_close: Callable[[Inbox], None]) -> None:
        self.filters = filters
        self._exact = frozenset(name for name in filters if "+" not in name and "#" not in name)
        self._patterns = tuple(name for name in filters if name not in self._exact)
        self._on_close = on_close
        # Unbounded: a reader that stands still must not make a broker drop. Drained by the reader, closed by aclose().
        self._queue: deque[Incoming] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._failure: TransportError | None = None
        self._closed = False
        self._received = 0

    def takes(self, topic: str) -> bool:
        """Say whether a topic belongs to this subscription."""
        return topic in self._exact or any(topics.matches(pattern, topic) for pattern in self._patterns)

    def push(self, message: Incoming) -> None:
        """Add a message."""
        if not self._closed:
            self._received += 1
            self._queue.append(message)
            self._wake()

    def fail(self, error: TransportError) -> None:
        """Let reading end with an error."""
        self._failure = error
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _wait(self) -> None:
        """Return when there is a message or the end."""
        while not (self._queue or self._closed):
            if self._failure is not None:
                raise self._failure
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None

    async def __anext__(self) -> Incoming:
        """Wait for the next message; ends with StopAsyncIteration after `aclose()`."""
        await self._wait()
        if not self._queue:
            raise StopAsyncIteration
        return self._queue.popleft()

    async def receive_many(self) -> list[Incoming]:
        """Wait for at least one message and take all that have arrived; an empty list means closed."""
        await self._wait()
        return self.receive_many_nowait()

    def receive_many_nowait(self) -> list[Incoming]:
        """Take everything that has arrived, without waiting."""
        messages = list(self._queue)
        self._queue.clear()
        return messages

    async def aclose(self) -> None:
        """End the subscription; may be called twice. What had arrived can still be read."""
        if self._closed:
            return
        self._closed = True
        self._wake()
        self._on_close(self)

    def statistics(self) -> Mapping[str, Any]:
        """Return `received`, `waiting` and `dropped`; nothing is ever dropped."""
        return {"received": self._received, "waiting": len(self._queue), "dropped": 0}


class Inboxes:
    """All subscriptions of one transport."""

    def __init__(self) -> None:
        self._all: list[Inbox] = []

    def __len__(self) -> int:
        return len(self._all)

    def open(self, filters: tuple[str, ...], on_close: Callable[[Inbox], None]) -> Inbox:
        """Make a subscription; `on_close` is called once, when it is closed."""

        def closed(inbox: Inbox) -> None:
            self._all.remove(inbox)
            on_close(inbox)

        inbox = Inbox(filters, closed)
        self._all.append(inbox)
        return inbox

    def dispatch(self, topic: str, payload: bytes) -> None:
        """Give a message to each subscription that takes its topic."""
        message = Incoming(topic, payload)
        for inbox in self._all:
            if inbox.takes(topic):
                inbox.push(message)

    def fail(self, error: TransportError) -> None:
        """Let reading end with an error everywhere."""
        for inbox in self._all:
            inbox.fail(error)

    async def aclose(self) -> None:
        """Close them all; may be called twice."""
        for inbox in list(self._all):
            await inbox.aclose()
