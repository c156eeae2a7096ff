"""The transport within one process: messages travel over the event bus, as encoded as on a real wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from oocana_async.channel.bus import Bus, BusListener, BusSubscription, Overflow
from oocana_async.errors import ClosedError
from oocana_async.transport.base import Subscription, Transport
from oocana_async.wire.envelope import Incoming, Outgoing

__all__ = ["MemoryTransport"]


class MemorySubscription(Subscription):
    """Messages from the bus; nothing is ever dropped."""

    def __init__(self, subscription: BusSubscription) -> None:
        self._subscription = subscription

    async def __anext__(self) -> Incoming:
        return await self._subscription.__anext__()

    async def receive_many(self) -> list[Incoming]:
        """Wait for at least one message and take all that have arrived; an empty list means closed."""
        return await self._subscription.receive_many()

    def receive_many_nowait(self) -> list[Incoming]:
        """Take everything that has arrived, without waiting."""
        return self._subscription.receive_many_nowait()

    async def aclose(self) -> None:
        """End the subscription; may be called twice."""
        self._subscription.close()

    def statistics(self) -> Mapping[str, Any]:
        """Return `received`, `waiting` and `dropped`."""
        return self._subscription.statistics()._asdict()


class MemoryTransport(Transport):
    """Publishes on an event bus of the same process and loop.

    A message counts as acknowledged as soon as it is on the bus.

    Args:
        bus: the bus; whoever made it closes it.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._subscriptions: list[MemorySubscription] = []
        self._listeners: list[BusListener] = []
        self._published = 0
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def publish(self, batch: Sequence[Outgoing]) -> None:
        """Put a batch on the bus; waits for subscribers that want to be waited for.

        Raises:
            ClosedError: The transport is closed.
        """
        if self._closed:
            raise ClosedError("the memory transport is closed")
        await self._bus.publish_many(batch)
        self._published += len(batch)

    def publish_nowait(self, message: Outgoing) -> bool:
        """Put one message on the bus at once; also before those that still wait in a channel, and over any limit."""
        if self._closed:
            return False
        self._bus.publish_nowait(message.topic, message.payload)
        self._published += 1
        return True

    def publish_many_nowait(self, batch: Sequence[Outgoing]) -> bool:
        """Put a batch on the bus at once, unless somebody wants to be waited for."""
        if self._closed or not self._bus.publish_many_nowait(batch):
            return False
        self._published += len(batch)
        return True

    def listen(self, call: Callable[[Incoming], object], *filters: str) -> Callable[[], object]:
        """Have a function called with each message in the turn in which it is put on the bus.

        Raises:
            ClosedError: The transport is closed.
        """
        if self._closed:
            raise ClosedError("the memory transport is closed")
        listener = self._bus.listen(call, *filters)
        self._listeners.append(listener)
        return listener.close

    async def subscribe(self, *filters: str) -> Subscription:
        """Subscribe to topic filters; in force at once.

        Raises:
            ClosedError: The transport is closed.
        """
        if self._closed:
            raise ClosedError("the memory transport is closed")
        subscription = MemorySubscription(self._bus.subscribe(*filters, overflow=Overflow.GROW))
        self._subscriptions.append(subscription)
        return subscription

    async def flush(self) -> None:
        """Return at once: what was published is on the bus."""

    async def aclose(self) -> None:
        """End the own subscriptions; may be called twice."""
        self._closed = True
        for subscription in self._subscriptions:
            await subscription.aclose()
        for listener in self._listeners:
            listener.close()

    def statistics(self) -> Mapping[str, Any]:
        """Return `published`, the number of messages put on the bus."""
        return {"transport": "memory", "published": self._published}
