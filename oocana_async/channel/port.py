"""What a job sends into, as its messenger sees it: the channel and its sender, or the desk's printer for both."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from oocana_async.channel.channel import Gate
from oocana_async.wire.envelope import Outgoing

__all__ = ["Flusher", "JobPort", "Room"]


class Room(Protocol):
    """Something bounded that can be waited for."""

    @property
    def congested(self) -> bool:
        """True while producers are asked to wait."""
        ...

    def wait_for_room(self) -> Coroutine[Any, Any, None]:
        """Return a coroutine that ends when it is no longer congested."""
        ...


class JobPort(Room, Protocol):
    """Where a job puts its messages; see `Channel`."""

    @property
    def is_sender_thread(self) -> bool:
        """Whether the calling thread carries the messages away, so that it must never wait for that."""
        ...

    def put(self, message: Outgoing, gate: Gate = ..., /) -> bool | None:
        """Take a message, from any thread, without blocking, unless its producer has put its last one.

        Returns True to ask for `wait_below_limit()` before the next message, None when it refused the message.
        """
        ...

    def put_last(self, message: Outgoing, gate: Gate, /) -> None:
        """Take the last message of a producer and stop it, in one step."""
        ...

    def append_latest(self, key: str, message: Outgoing) -> None:
        """Take a message that makes a waiting one with the same key superfluous."""
        ...

    def wait_below_limit(self) -> bool:
        """Block the calling thread while far too much waits; True when it had to wait."""
        ...

    def wait_for_room_blocking(self, timeout: float | None = None, *, unless: Callable[[], bool] | None = None) -> bool:
        """Block until it is no longer congested; False when the time was over or `unless` is true."""
        ...

    def nudge(self) -> None:
        """Let blocked threads look at their `unless` again."""
        ...


class Flusher(Protocol):
    """What tells a job that its messages have been delivered; see `Sender`."""

    def flush(self) -> Coroutine[Any, Any, None]:
        """Return a coroutine that ends when everything so far has been acknowledged."""
        ...

    def flush_blocking(self, timeout: float | None = None) -> bool:
        """Block until everything so far has been acknowledged; False when the time was over first."""
        ...
