"""What a job sends into, as its way out sees it: the outbox, or the desk's printer."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from oocana_async.channel.channel import Gate
from oocana_async.wire.envelope import Outgoing

__all__ = ["Channel", "Put", "Room"]


class Room(Protocol):
    """A channel that can be waited for."""

    @property
    def congested(self) -> bool:
        """True while producers are asked to wait."""
        ...

    def wait_for_room(self) -> Coroutine[Any, Any, None]:
        """Return a coroutine that ends when the channel is no longer congested."""
        ...


class Put(Protocol):
    """Takes a message without blocking."""

    def __call__(self, message: Outgoing, gate: Gate = ...) -> bool | None:
        """Take a message unless its producer has put its last one."""
        ...


class Channel(Protocol):
    """What a job sends into; the outbox, or the desk's printer."""

    @property
    def room(self) -> Room:
        """What producers wait for when too much is under way."""
        ...

    @property
    def is_own_thread(self) -> bool:
        """Whether the calling thread empties the channel, so that it must never wait for it."""
        ...

    @property
    def put(self) -> Put:
        """A function that takes a message, from any thread, without blocking.

        It returns True to ask for `wait_below_limit()` before the next message, None when it refused the message.
        """
        ...

    @property
    def put_last(self) -> Callable[[Outgoing, Gate], None]:
        """A function that takes the last message of a producer and stops it, in one step."""
        ...

    def append_latest(self, key: str, message: Outgoing) -> None:
        """Take a message that makes a waiting one with the same key superfluous."""
        ...

    def wait_below_limit(self) -> bool:
        """Block the calling thread while far too much waits; True when it had to wait."""
        ...

    def wait_for_room_blocking(self, timeout: float | None = None, *, unless: Callable[[], bool] = ...) -> bool:
        """Block until the channel is no longer congested; False when the time was over or `unless` is true."""
        ...

    def nudge(self) -> None:
        """Let blocked threads look at their `unless` again."""
        ...

    def flush(self) -> Coroutine[Any, Any, None]:
        """Return a coroutine that ends when everything so far has been acknowledged."""
        ...

    def flush_blocking(self, timeout: float | None = None) -> bool:
        """Block until everything so far has been acknowledged; False when the time was over first."""
        ...
