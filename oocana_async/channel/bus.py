"""The in-process event bus: topics, and subscribers with a bound and a rule for when they are slow."""

from __future__ import annotations

import asyncio
import enum
import logging
import sys
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, TypeVar

from oocana_async.errors import ClosedError, StateError
from oocana_async.wire import topics
from oocana_async.wire.envelope import Message

__all__ = ["Bus", "BusListener", "BusMessage", "BusStatistics", "BusSubscription", "Overflow"]

log = logging.getLogger(__name__)

BusMessage = Message
"""One message on the bus; whoever publishes may hand over a richer kind of it."""

CHUNK = 256
"""Messages that `Bus.publish_many` hands over before it looks again for subscribers to wait for."""

_REMEMBERED_TOPICS = 1024
"""Topics whose subscribers are kept at hand; topics with job ids in them never come back."""

TURN = 256
"""Messages that listeners get before the loop has its turn."""

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
        self._bus._remove(self)  # noqa: SLF001 - the two are one mechanism
        self._wake_reader()
        self._release_writers()

    def _put(self, message: Message) -> None:
        self._received += 1
        self._messages.append(message)
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
            _release(self._writers)


class BusListener:
    """A function that is called with each message of some topics, in the order in which they were published.

    It is called in the turn of the loop in which the message is published: a conversation between two listeners wakes
    no task and costs no turn of the loop.
    """

    def __init__(self, bus: Bus, filters: tuple[str, ...], call: Callable[[Message], object], *, limit: int) -> None:
        self._bus = bus
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
        self._bus._redeliver(self, held)  # noqa: SLF001 - the two are one mechanism

    def statistics(self) -> BusStatistics:
        """Return what was received and what waits; nothing is ever dropped."""
        return BusStatistics(self._received, self._received - self._handled, 0)

    def close(self) -> None:
        """End it; what waits is dropped. May be called twice, also by the function itself."""
        if self._closed:
            return
        self._closed = True
        self._held.clear()
        self._bus._remove(self)  # noqa: SLF001 - the two are one mechanism
        _release(self._writers)

    def _put(self, message: Message) -> None:
        self._received += 1
        self._bus._owed.append((self, message))  # noqa: SLF001 - the two are one mechanism

    def _hand_over(self, message: Message) -> None:
        if self._is_paused:
            self._held.append(message)
            return
        self._handled += 1
        if self._closed:
            return
        try:
            self._call(message)
        except Exception:  # its failure is no failure of the one who published
            log.exception("a listener to %s failed", ", ".join(self.filters))
        if self._writers:
            _release(self._writers)


T = TypeVar("T", BusSubscription, BusListener)


class _Takers(NamedTuple):
    """The subscribers of a topic, and those of them that may ever be full."""

    all: tuple[BusSubscription | BusListener, ...]
    bounded: tuple[BusSubscription | BusListener, ...]


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
        return self._add(filters, BusSubscription(self, filters, limit=limit, overflow=overflow))

    def listen(self, call: Callable[[Message], object], *filters: str, limit: int = sys.maxsize) -> BusListener:
        """Have a function called with each message, in the publisher's turn; see `BusListener`.

        Args:
            call: the function; it never waits. What it raises is logged.
            filters: topic filters, at least one.
            limit: messages that it may be behind; beyond that `publish` and `publish_many` wait.

        Raises:
            ClosedError: The bus is closed.
            ValueError: No filter, or a limit below 1.
        """
        return self._add(filters, BusListener(self, filters, call, limit=limit))

    @property
    def is_behind(self) -> bool:
        """True while listeners have to get messages that were published before."""
        return bool(self._owed)

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
                for message in run:
                    self._publish(message)

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
        for message in messages:
            self._publish(message)
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
            subscription._put(message)  # noqa: SLF001 - the two are one mechanism
        if self._owed and not self._is_draining:
            self._drain()

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
                takers = _Takers(found, tuple(one for one in found if one.is_bounded))
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
                listener._hand_over(message)  # noqa: SLF001 - the two are one mechanism
        finally:
            self._is_draining = False
        if owed:
            self._is_draining = True
            asyncio.get_running_loop().call_soon(self._drain)

    def _redeliver(self, listener: BusListener, messages: Sequence[Message]) -> None:
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


def _release(waiters: list[asyncio.Future[None]]) -> None:
    """Wake everybody who waits."""
    while waiters:
        waiter = waiters.pop(0)
        if not waiter.done():
            waiter.set_result(None)


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
