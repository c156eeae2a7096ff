"""The in-process event bus: who gets which message, and when publishers wait."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, TypeVar

from oocana_async.channel.bus_subscribers import BusListener, BusStatistics, BusSubscription, Overflow
from oocana_async.errors import ClosedError
from oocana_async.wire import topics
from oocana_async.wire.envelope import Message

__all__ = ["Bus", "BusListener", "BusMessage", "BusStatistics", "BusSubscription", "Overflow"]

BusMessage = Message
"""One message on the bus; whoever publishes may hand over a richer kind of it."""

CHUNK = 256
"""Messages that `Bus.publish_many` hands over before it looks again for subscribers to wait for."""

_REMEMBERED_TOPICS = 1024
"""Topics whose subscribers are kept at hand; topics with job ids in them never come back."""

TURN = 256
"""Messages that listeners get before the loop has its turn."""

FEW = 8
"""Messages that are handed over one by one: to look for runs of one topic would cost more than it spares."""

_topic_of = attrgetter("topic")


T = TypeVar("T", BusSubscription, BusListener)


class _Takers(NamedTuple):
    """The subscribers of a topic, those of them that may ever be full, and all once more if all only queue messages."""

    all: tuple[BusSubscription | BusListener, ...]
    bounded: tuple[BusSubscription | BusListener, ...]
    queues: tuple[BusSubscription, ...]


class Bus:
    """Hands each message to all subscribers whose filter takes its topic.

    It belongs to one event loop and is not thread-safe: other threads go through a channel. Filters are those of MQTT
    (`+` for one level, `#` for the rest). After `close()` nobody takes what is published.
    """

    def __init__(self) -> None:
        self._subscriptions: list[tuple[Callable[[str], bool], BusSubscription | BusListener]] = []
        self._takers: dict[str, _Takers] = {}
        # Last levels that a filter names; all other topics of a folder have the same takers.
        self._last_levels: frozenset[str] = frozenset()
        # What listeners have to get yet, in the order of publishing: a queue and not nested calls, because what a
        # listener publishes would else reach others before what came earlier, and deep conversations the recursion
        # limit. Bound: the limits of the listeners; drained by `_drain`, a turn at a time; dropped with the bus.
        self._owed: deque[tuple[BusListener, Message]] = deque()
        self._is_draining = False
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
        return self._add(filters, BusSubscription(filters, self._remove, limit=limit, overflow=overflow))

    def listen(self, call: Callable[[Message], object], *filters: str, limit: int = sys.maxsize) -> BusListener:
        """Have a function called with each message, in the publisher's turn; see `BusListener`.

        Args:
            call: the function; it never waits. What it raises is logged.
            filters: topic filters, at least one.
            limit: messages that it may be behind; beyond that `publish_many` waits.

        Raises:
            ClosedError: The bus is closed.
            ValueError: No filter, or a limit below 1.
        """
        return self._add(filters, BusListener(filters, call, self._owed, self._redeliver, self._remove, limit=limit))

    def publish_nowait(self, topic: str, payload: bytes) -> None:
        """Hand a message to all its subscribers without waiting for slow ones."""
        self._publish(Message(topic, payload))

    async def publish_many(self, messages: Sequence[Message]) -> None:
        """Hand over messages in order, some 256 at a time.

        It waits first for subscribers that are full and want to be waited for. Cancelling it while it waits leaves the
        rest unpublished.
        """
        for start in range(0, len(messages), CHUNK):
            for topic, run in groupby(messages[start : start + CHUNK], _topic_of):
                if self._full_taker(topic) is not None:
                    await self.wait_for_room(topic)
                self._publish_run(list(run))

    def publish_many_nowait(self, messages: Sequence[Message]) -> bool:
        """Hand over messages in order if nobody has to be waited for; False, and nothing published, otherwise."""
        if self._owed:
            return False
        topic = ""
        for message in messages:
            if message.topic != topic:
                topic = message.topic
                if not self.has_room(topic):
                    return False
        if len(messages) < FEW:
            for message in messages:
                self._publish(message)
        else:
            for _, run in groupby(messages, _topic_of):
                self._publish_run(list(run))
        return True

    def has_room(self, topic: str) -> bool:
        """Say whether no subscriber of a topic has to be waited for."""
        return self._full_taker(topic) is None

    async def wait_for_room(self, topic: str) -> None:
        """Wait until no subscriber of a topic has to be waited for."""
        while (subscription := self._full_taker(topic)) is not None:
            await subscription.wait_for_room()

    def close(self) -> None:
        """End all subscriptions; may be called twice."""
        self._closed = True
        for _, subscription in list(self._subscriptions):
            subscription.close()

    def _publish(self, message: Message) -> None:
        takers = self._takers.get(message.topic) or self._takers_of(message.topic)
        for subscription in takers.all:
            subscription.put_nowait(message)
        if self._owed and not self._is_draining:
            self._drain()

    def _publish_run(self, run: list[Message]) -> None:
        """Hand over messages of one topic; whoever only queues them gets all in one call, for the sake of floods."""
        takers = self._takers.get(run[0].topic) or self._takers_of(run[0].topic)
        if takers.queues:
            for subscription in takers.queues:
                subscription.put_many_nowait(run)
        else:  # a listener gets its turn between two messages
            for message in run:
                self._publish(message)

    def _full_taker(self, topic: str) -> BusSubscription | BusListener | None:
        for subscription in (self._takers.get(topic) or self._takers_of(topic)).bounded:
            if subscription.is_full:
                return subscription
        return None

    def _takers_of(self, topic: str) -> _Takers:
        takers = self._takers.get(topic)
        if takers is None:
            start = topic.rfind("/") + 1
            key = topic if topic[start:] in self._last_levels else f"{topic[:start]}+"
            takers = self._takers.get(key)
            if takers is None:
                found = tuple(subscription for takes, subscription in self._subscriptions if takes(topic))
                queues = tuple(one for one in found if isinstance(one, BusSubscription))
                bounded = tuple(one for one in found if one.is_bounded)
                takers = _Takers(found, bounded, queues if len(queues) == len(found) else ())
                if len(self._takers) >= _REMEMBERED_TOPICS:
                    self._takers.clear()
                self._takers[key] = takers
        return takers

    def _drain(self) -> None:
        """Call listeners until they have all they are owed; after a while the loop has its turn first."""
        self._is_draining = True
        owed = self._owed
        try:
            for _ in range(TURN):
                if not owed:
                    return
                listener, message = owed.popleft()
                listener.hand_over(message)
        finally:
            self._is_draining = False
        if owed:
            self._is_draining = True
            asyncio.get_running_loop().call_soon(self._drain)

    def _redeliver(self, listener: BusListener, messages: deque[Message]) -> None:
        """Owe a listener messages that it has put off, before all others of it."""
        self._owed.extendleft((listener, message) for message in reversed(messages))
        if self._owed and not self._is_draining:
            self._drain()

    def _add(self, filters: tuple[str, ...], subscription: T) -> T:
        if self._closed:
            raise ClosedError("the bus is closed")
        if not filters or subscription.limit < 1:
            raise ValueError("a subscription needs at least one topic filter and a limit of at least 1")
        self._subscriptions.append((_matcher(filters), subscription))
        self._note_change()
        return subscription

    def _remove(self, subscription: BusSubscription | BusListener) -> None:
        self._subscriptions = [entry for entry in self._subscriptions if entry[1] is not subscription]
        self._note_change()

    def _note_change(self) -> None:
        self._takers.clear()
        filters = (one for _, subscription in self._subscriptions for one in subscription.filters)
        self._last_levels = frozenset(one.removesuffix("/#").rpartition("/")[2] for one in filters)


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
