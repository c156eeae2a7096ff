"""Subscribers of the bus: one that is read by a task, with a bound and a rule, and one that is a function."""

from __future__ import annotations

import asyncio
import enum
import logging
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from oocana_async.channel.futures import resolve
from oocana_async.errors import StateError
from oocana_async.wire.envelope import Message

__all__ = ["BusListener", "BusStatistics", "BusSubscription", "Overflow"]

logger = logging.getLogger(__name__)


class Overflow(enum.Enum):
    """What happens to a message for a subscriber that already holds as many as its limit."""

    WAIT = "wait"
    """Publishers wait in `publish_many`; `publish_nowait` goes over the limit."""
    DROP_OLDEST = "drop oldest"
    """The oldest waiting message is dropped and counted: for people who look on."""
    GROW = "grow"
    """Nothing is dropped and nobody waits; the limit is not looked at."""


class BusStatistics(NamedTuple):
    """Counters of a subscription: messages taken in, waiting now, dropped."""

    received: int
    waiting: int
    dropped: int


class BusSubscription:
    """Messages of some topics in the order in which they were published; read it from one task of the bus's loop."""

    def __init__(
        self, filters: tuple[str, ...], on_close: Callable[[BusSubscription], None], *, limit: int, overflow: Overflow
    ) -> None:
        self._on_close = on_close
        self.filters = filters
        self.limit = limit
        self.overflow = overflow
        # Bound: `limit`, by the rule `overflow`; drained by the reader; closed by `close()`.
        self._messages: deque[Message] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._writers: list[asyncio.Future[None]] = []
        self._received = 0
        self._dropped = 0
        self._closed = False

    def __aiter__(self) -> BusSubscription:
        return self

    async def __anext__(self) -> Message:
        while not self._messages:
            if self._closed:
                raise StopAsyncIteration
            await self._wait_for_message()
        message = self._messages.popleft()
        self._release_writers()
        return message

    async def receive_many(self) -> list[Message]:
        """Wait for at least one message and take all that wait. Cancelling it takes none.

        Returns:
            The messages in order; an empty list means that the subscription was closed.

        Raises:
            StateError: Another task waits already.
        """
        while not self._messages and not self._closed:
            await self._wait_for_message()
        return self.receive_many_nowait()

    def receive_many_nowait(self) -> list[Message]:
        """Take all messages that wait now."""
        messages = list(self._messages)
        self._messages.clear()
        self._release_writers()
        return messages

    @property
    def is_bounded(self) -> bool:
        """Whether publishers ever have to wait for this subscriber."""
        return self.overflow is Overflow.WAIT

    @property
    def is_full(self) -> bool:
        """True while a publisher has to wait for this subscriber."""
        return self.overflow is Overflow.WAIT and len(self._messages) >= self.limit and not self._closed

    async def wait_for_room(self) -> None:
        """Wait until the reader has taken something or the subscription is closed; returns at once when not full."""
        while self.is_full:
            waiter = asyncio.get_running_loop().create_future()
            self._writers.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._writers:
                    self._writers.remove(waiter)

    def statistics(self) -> BusStatistics:
        """Return what was received, what waits and what was dropped."""
        return BusStatistics(self._received, len(self._messages), self._dropped)

    def close(self) -> None:
        """End the subscription; what waits can still be read. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._on_close(self)
        self._wake_reader()
        self._release_writers()

    def put_nowait(self, message: Message) -> None:
        """Take in a message, by the rule for when it is one too many."""
        self._received += 1
        self._messages.append(message)
        if self.overflow is Overflow.DROP_OLDEST:
            self._drop_oldest()
        self._wake_reader()

    def put_many_nowait(self, messages: Sequence[Message]) -> None:
        """Take in messages, by the rule for when they are too many."""
        self._received += len(messages)
        self._messages.extend(messages)
        if self.overflow is Overflow.DROP_OLDEST:
            self._drop_oldest()
        self._wake_reader()

    def _drop_oldest(self) -> None:
        while len(self._messages) > self.limit:
            self._messages.popleft()
            self._dropped += 1

    async def _wait_for_message(self) -> None:
        if self._reader is not None:
            raise StateError(f"a task reads the subscription of {', '.join(self.filters)} already; open another one")
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _release_writers(self) -> None:
        if self._writers:
            _release(self._writers)


class BusListener:
    """A function that is called with each message of some topics, in the order in which they were published.

    It is called in the turn of the loop in which the message is published: a conversation between two listeners wakes
    no task and costs no turn of the loop.
    """

    def __init__(
        self,
        filters: tuple[str, ...],
        call: Callable[[Message], object],
        owed: deque[tuple[BusListener, Message]],
        on_resume: Callable[[BusListener, deque[Message]], None],
        on_close: Callable[[BusListener], None],
        *,
        limit: int,
    ) -> None:
        self._owed = owed
        self._on_resume = on_resume
        self._on_close = on_close
        self.filters = filters
        self.limit = limit
        self._call = call
        # What came while paused. Bound: `limit` with what the bus still owes, then publishers that wait do wait; handed
        # over by `resume()`; dropped by `close()`.
        self._held: deque[Message] = deque()
        self._is_paused = False
        self._writers: list[asyncio.Future[None]] = []
        self._received = 0
        self._handled = 0
        self._closed = False

    @property
    def is_bounded(self) -> bool:
        """Whether publishers ever have to wait for this listener."""
        return self.limit < sys.maxsize

    @property
    def is_full(self) -> bool:
        """True while a publisher has to wait for this listener."""
        return self._received - self._handled >= self.limit and not self._closed

    async def wait_for_room(self) -> None:
        """Wait until the listener has caught up or is closed; returns at once when not full."""
        while self.is_full:
            waiter = asyncio.get_running_loop().create_future()
            self._writers.append(waiter)
            await waiter

    def pause(self) -> None:
        """Keep messages, in order, from the next one on."""
        self._is_paused = True

    def resume(self) -> None:
        """Hand over what was kept, and go on."""
        self._is_paused = False
        held, self._held = self._held, deque()
        self._on_resume(self, held)

    def statistics(self) -> BusStatistics:
        """Return what was received and what waits; nothing is ever dropped."""
        return BusStatistics(self._received, self._received - self._handled, 0)

    def close(self) -> None:
        """End it; what waits is dropped. May be called twice, also by the function itself."""
        if self._closed:
            return
        self._closed = True
        self._held.clear()
        self._on_close(self)
        _release(self._writers)

    def put_nowait(self, message: Message) -> None:
        """Owe the listener a message; the bus hands over what is owed, in order."""
        self._received += 1
        self._owed.append((self, message))

    def hand_over(self, message: Message) -> None:
        """Call the function with a message that was owed, or keep it while paused."""
        if self._is_paused:
            self._held.append(message)
            return
        self._handled += 1
        if self._closed:
            return
        try:
            self._call(message)
        except Exception:  # its failure is no failure of the one who published
            logger.exception("a listener to %s failed", ", ".join(self.filters))
        if self._writers:
            _release(self._writers)


def _release(waiters: list[asyncio.Future[None]]) -> None:
    """Wake everybody who waits."""
    while waiters:
        resolve(waiters.pop(0))
