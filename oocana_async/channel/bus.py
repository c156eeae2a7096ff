"""The in-process event bus: topics, and subscribers with a bound and a rule for when they are slow."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from oocana_async.errors import ClosedError, StateError
from oocana_async.wire import topics
from oocana_async.wire.envelope import Message

__all__ = ["Bus", "BusMessage", "BusStatistics", "BusSubscription", "Overflow"]

BusMessage = Message
"""One message on the bus; whoever publishes may hand over a richer kind of it."""

CHUNK = 256
"""Messages that `Bus.publish_many` hands over before it looks again for subscribers to wait for."""

_REMEMBERED_TOPICS = 1024
"""Topics whose subscribers are kept at hand; topics with job ids in them never come back."""

_topic_of = attrgetter("topic")


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

    def __init__(self, bus: Bus, filters: tuple[str, ...], *, limit: int, overflow: Overflow) -> None:
        self._bus = bus
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
        self._bus._remove(self)  # noqa: SLF001 - the two are one mechanism
        self._wake_reader()
        self._release_writers()

    def _put(self, messages: Sequence[Message]) -> None:
        self._received += len(messages)
        self._messages.extend(messages)
        if self.overflow is Overflow.DROP_OLDEST:
            while len(self._messages) > self.limit:
                self._messages.popleft()
                self._dropped += 1
        self._wake_reader()

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
            writers, self._writers = self._writers, []
            for writer in writers:
                if not writer.done():
                    writer.set_result(None)


class Bus:
    """Hands each message to all subscribers whose filter takes its topic.

    It belongs to one event loop and is not thread-safe: other threads go through a channel. Filters are those of MQTT
    (`+` for one level, `#` for the rest). After `close()` nobody takes what is published.
    """

    def __init__(self) -> None:
        self._subscriptions: list[tuple[Callable[[str], bool], BusSubscription]] = []
        self._takers: dict[str, tuple[BusSubscription, ...]] = {}
        self._closed = False

    def subscribe(
        self, *filters: str, limit: int = 10_000, overflow: Overflow = Overflow.DROP_OLDEST
    ) -> BusSubscription:
        """Start to collect messages; a message that several filters take comes once.

        Args:
            filters: topic filters, at least one.
            limit: messages that may wait for the reader.
            overflow: what happens beyond that.

        Raises:
            ClosedError: The bus is closed.
            ValueError: No filter, or a limit below 1.
        """
        if self._closed:
            raise ClosedError("the bus is closed")
        if not filters or limit < 1:
            raise ValueError("a subscription needs at least one topic filter and a limit of at least 1")
        subscription = BusSubscription(self, filters, limit=limit, overflow=overflow)
        self._subscriptions.append((_matcher(filters), subscription))
        self._takers.clear()
        return subscription

    def publish_nowait(self, topic: str, payload: bytes) -> None:
        """Hand a message to all its subscribers without waiting for slow ones."""
        takers = self._takers_of(topic)
        if takers:
            messages = (Message(topic, payload),)
            for subscription in takers:
                subscription._put(messages)  # noqa: SLF001 - the two are one mechanism

    async def publish_many(self, messages: Sequence[Message]) -> None:
        """Hand over messages in order, some 256 at a time.

        It waits first for subscribers that are full and want to be waited for. Cancelling it while it waits leaves the
        rest unpublished.
        """
        for start in range(0, len(messages), CHUNK):
            for topic, run in groupby(messages[start : start + CHUNK], _topic_of):
                if self._full_taker(topic) is not None:
                    await self.wait_for_room(topic)
                taken = list(run)
                for subscription in self._takers_of(topic):
                    subscription._put(taken)  # noqa: SLF001 - the two are one mechanism

    async def wait_for_room(self, topic: str) -> None:
        """Wait until no subscriber of a topic has to be waited for."""
        while (subscription := self._full_taker(topic)) is not None:
            await subscription.wait_for_room()

    def close(self) -> None:
        """End all subscriptions; may be called twice."""
        self._closed = True
        for _, subscription in list(self._subscriptions):
            subscription.close()

    def _full_taker(self, topic: str) -> BusSubscription | None:
        for subscription in self._takers_of(topic):
            if subscription.is_full:
                return subscription
        return None

    def _takers_of(self, topic: str) -> tuple[BusSubscription, ...]:
        takers = self._takers.get(topic)
        if takers is None:
            takers = tuple(subscription for takes, subscription in self._subscriptions if takes(topic))
            if len(self._takers) >= _REMEMBERED_TOPICS:
                self._takers.clear()
            self._takers[topic] = takers
        return takers

    def _remove(self, subscription: BusSubscription) -> None:
        self._subscriptions = [entry for entry in self._subscriptions if entry[1] is not subscription]
        self._takers.clear()


def _matcher(filters: tuple[str, ...]) -> Callable[[str], bool]:
    """Return what tells whether a topic is taken; names and `.../+`, which are by far the most, at the price of a hash.

    Topics with a job id in them are never seen again, so their takers cannot be remembered.
    """
    names = frozenset(one for one in filters if not _is_pattern(one))
    folders = frozenset(one[:-1] for one in filters if one.endswith("/+") and not _is_pattern(one[:-1]))
    patterns = tuple(one for one in filters if one not in names and not (one.endswith("/+") and one[:-1] in folders))

    def takes(topic: str) -> bool:
        if topic in names or topic[: topic.rfind("/") + 1] in folders:
            return True
        return any(topics.matches(one, topic) for one in patterns)

    return takes


def _is_pattern(text: str) -> bool:
    return "+" in text or "#" in text
