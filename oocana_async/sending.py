"""What Context methods return: `Sent` for messages, `Reply` for answers; both acted at the call."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Reply", "Sent"]

T = TypeVar("T")


class Room(Protocol):
    """A channel that can be waited for."""

    @property
    def congested(self) -> bool:
        """True while producers are asked to wait."""

    def wait_for_room(self) -> Coroutine[Any, Any, None]:
        """Return a coroutine that ends when the channel is no longer congested."""


_NOTHING: Generator[Any, Any, None] = iter(())  # type: ignore[assignment]


class Sent(Coroutine[Any, Any, None]):
    """A message that is in the channel already; awaiting it is back pressure.

    `await` returns at once while the channel is below its high-water mark and otherwise waits until it has come down.
    It may be awaited never, twice, and on any loop, and given to `create_task`, `gather` and `start_soon`. Cancelling
    the await withdraws nothing.
    """

    __slots__ = ("_room", "_waiting")

    def __init__(self, room: Room | None) -> None:
        self._room = room
        self._waiting: Coroutine[Any, Any, None] | None = None

    def __await__(self) -> Generator[Any, Any, None]:
        if self._room is None or not self._room.congested:
            return _NOTHING
        return self._room.wait_for_room().__await__()

    def send(self, value: Any) -> Any:
        """Drive the wait, as a task does."""
        if self._waiting is None:
            if self._room is None or not self._room.congested:
                raise StopIteration
            self._waiting = self._room.wait_for_room()
        return self._waiting.send(value)

    def throw(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> Any:
        """Throw into the wait, as a cancelled task does."""
        if self._waiting is None:
            raise typ if isinstance(typ, BaseException) else typ()
        return self._waiting.throw(typ if isinstance(typ, BaseException) else typ())

    def close(self) -> None:
        """Give up the wait; the message stays sent."""
        if self._waiting is not None:
            self._waiting.close()


class Reply(Generic[T]):
    """An answer that is on its way: await it on any loop, or block a thread in `result()`.

    Awaiting never is legal. Cancelling an await leaves the reply itself alone, so it may be awaited again.
    """

    __slots__ = ("_blocking", "_future")

    def __init__(
        self,
        future: concurrent.futures.Future[T],
        blocking: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._future = future
        self._blocking = blocking

    @classmethod
    def of(cls, value: T) -> Reply[T]:
        """Return a reply that is there already."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        future.set_result(value)
        return cls(future)

    def __await__(self) -> Generator[Any, Any, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        if not self._future.done():
            await asyncio.shield(_follow(self._future))
        return self._future.result()

    def result(self, timeout: float | None = None) -> T:
        """Block the calling thread until the answer is there.

        Args:
            timeout: seconds, None for no limit beyond the request's own deadline.

        Returns:
            The answer.

        Raises:
            TimeoutError: The time was over first; the reply may be waited for again.
        """
        if self._future.done():
            return self._future.result()
        with self._blocking():
            return self._future.result(timeout)

    def done(self) -> bool:
        """Say whether the answer, or an error, is there."""
        return self._future.done()

    def exception(self) -> BaseException | None:
        """Return the error of an answer that is there, None when it went well.

        Raises:
            TimeoutError: The answer is not there yet.
        """
        return self._future.exception(timeout=0)

    def add_done_callback(self, callback: Callable[[Reply[T]], object]) -> None:
        """Call back when the answer is there: on the running loop of the caller, else in the thread that brings it."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._future.add_done_callback(lambda _: callback(self))
        else:
            self._future.add_done_callback(lambda _: loop.call_soon_threadsafe(callback, self))


def _follow(future: concurrent.futures.Future[T]) -> asyncio.Future[None]:
    """Return a future of the running loop that ends with another one, without taking its result or its error."""
    loop = asyncio.get_running_loop()
    mirror: asyncio.Future[None] = loop.create_future()

    def resolve() -> None:
        if not mirror.done():
            mirror.set_result(None)

    def ended(_: concurrent.futures.Future[T]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(resolve)

    future.add_done_callback(ended)
    return mirror
