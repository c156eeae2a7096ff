"""What a transport is: takes batches of outgoing messages, hands out incoming ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from oocana_async.wire.envelope import Incoming, Outgoing

__all__ = ["Subscription", "Transport"]


class Subscription(ABC):
    """Messages of some topics, in the order of their arrival; iterate over it from one task."""

    def __aiter__(self) -> AsyncIterator[Incoming]:
        return self

    @abstractmethod
    async def __anext__(self) -> Incoming:
        """Wait for the next message; ends with StopAsyncIteration after `aclose()`."""

    @abstractmethod
    def receive_many_nowait(self) -> list[Incoming]:
        """Take everything that has arrived, without waiting."""

    @abstractmethod
    async def receive_many(self) -> list[Incoming]:
        """Wait for at least one message and take all that have arrived; an empty list means closed."""

    @abstractmethod
    async def aclose(self) -> None:
        """End the subscription; may be called twice."""

    @abstractmethod
    def statistics(self) -> Mapping[str, Any]:
        """Counters such as `received`, `waiting` and `dropped`."""


class Transport(ABC):
    """The way between an executor and an engine.

    Use it as an async context manager: entering connects, leaving delivers what is queued and closes.
    """

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Connect."""

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @abstractmethod
    async def publish(self, batch: Sequence[Outgoing]) -> None:
        """Take a batch in order.

        Waits while the transport's own window is full. Messages of one job keep their order, except that PROGRESS may
        be reordered. Cancelling it may leave a part of the batch taken.

        Raises:
            PacketTooLargeError: One message is larger than the transport can carry; all others were taken.
            TransportError: The connection is gone for good.
        """

    def publish_nowait(self, message: Outgoing) -> bool:
        """Take one message at once, on the transport's loop, where that needs no waiting and no order to be kept.

        Returns:
            False when it was not taken; then it goes the ordinary way.
        """
        return False

    def publish_many_nowait(self, batch: Sequence[Outgoing]) -> bool:
        """Take a whole batch at once and in order, on the transport's loop, where that needs no waiting.

        Returns:
            False when nothing was taken; then it goes through `publish`.
        """
        return False

    def listen(self, call: Callable[[Incoming], object], *filters: str) -> Callable[[], object] | None:
        """Have a function called with each message, in the turn of the loop in which it is published.

        Returns:
            What ends it, may be called twice; None where messages come from outside and have to be read.
        """
        return None

    @abstractmethod
    async def subscribe(self, *filters: str) -> Subscription:
        """Subscribe to topic filters; returns when the subscription is in force at the broker."""

    @abstractmethod
    async def flush(self) -> None:
        """Wait until everything that was published so far has been acknowledged."""

    @abstractmethod
    async def aclose(self) -> None:
        """Deliver what is queued, then close; may be called twice."""

    @abstractmethod
    def statistics(self) -> Mapping[str, Any]:
        """State and counters, for people."""
