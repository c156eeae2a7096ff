"""What Context methods return: `Sent` for messages, `Reply` for answers; both acted at the call."""

from __future__ import annotations

import asyncio
import concurrent.futures
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, TypeVar

from oocana_async.channel.futures import call_on, resolve_from_anywhere, running_loop
from oocana_async.channel.port import Room
from oocana_async.errors import StateError

__all__ = ["Reply", "Sent"]

T = TypeVar("T")


class _Eager(Coroutine[Any, Any, T]):
    """Something that has happened already and can still be waited for: never, twice, by several tasks, on any loop.

    It is a Coroutine so that `create_task`, `gather`, `start_soon` and `asyncio.run` take it. Each task that drives it
    gets a wait of its own.
    """

    __slots__ = ("_waits",)

    _waits: dict[object, Coroutine[Any, Any, T]] | None

    @abstractmethod
    def _wait(self) -> Coroutine[Any, Any, T]:
        """Return a coroutine that waits once."""

    def __await__(self) -> Generator[Any, Any, T]:
        return self._wait().__await__()

    # Who gets it as a coroutine drives it through the three methods below. One coroutine inside would not do: a task
    # drives its coroutine from one wake-up to the next, and a second task that took a turn in between would be handed
    # the future for which the first one waits. So there is a wait for each task that drives.

    def send(self, value: Any) -> Any:
        """Drive the wait of the running task."""
        return self._drive(lambda wait: wait.send(value))

    def throw(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> Any:
        """Throw into the wait of the running task, as its cancellation does."""
        error = typ if isinstance(typ, BaseException) else val if isinstance(val, BaseException) else typ()
        return self._drive(lambda wait: wait.throw(error))

    def close(self) -> None:
        """Give up all waits; what was sent stays sent."""
        waits, self._waits = self._waits or {}, None
        for wait in waits.values():
            wait.close()

    def _drive(self, step: Callable[[Coroutine[Any, Any, T]], Any]) -> Any:
        waits = self._waits
        if waits is None:
            waits = self._waits = {}
        driver = _running_task()  # None for somebody who drives by hand
        wait = waits.get(driver)
        if wait is None:
            wait = waits[driver] = self._wait()
        try:
            return step(wait)
        except BaseException:  # also StopIteration: it has ended, and the next one who waits starts anew
            waits.pop(driver, None)
            raise


class Sent(_Eager[None]):
    """A message that is in the channel already; awaiting it is back pressure.

    `await` returns at once while the channel is below its high-water mark and otherwise waits until it has come down.
    It may be awaited never, twice, and on any loop, and given to `create_task`, `gather` and `start_soon`. Cancelling
    the await withdraws nothing.
    """

    __slots__ = ("_room",)

    def __init__(self, room: Room | None) -> None:
        self._room = room
        self._waits = None

    def __await__(self) -> Generator[Any, Any, None]:
        if self._room is None or not self._room.congested:
            return _NOTHING
        return self._room.wait_for_room().__await__()

    async def _wait(self) -> None:
        if self._room is not None and self._room.congested:
            await self._room.wait_for_room()


# What `await` iterates over when there is nothing to wait for: an iterator that is exhausted, shared by all, costs no
# coroutine, and nearly every output that is awaited comes by here.
_NOTHING: Generator[Any, Any, None] = iter(())  # type: ignore[assignment]


class Reply(_Eager[T]):
    """An answer that is on its way: await it on any loop, or block a thread in `result()`.

    Awaiting never is legal. Cancelling an await leaves the reply itself alone, so it may be awaited again.
    """

    __slots__ = ("_blocking", "_future", "_loop")

    def __init__(
        self,
        future: concurrent.futures.Future[T],
        blocking: Callable[[], AbstractContextManager[None]] = nullcontext,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._future = future
        self._blocking = blocking
        self._loop = loop
        self._waits = None

    @classmethod
    def of(cls, value: T) -> Reply[T]:
        """Return a reply that is there already."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        future.set_result(value)
        return cls(future)

    async def _wait(self) -> T:
        if not self._future.done():
            await _end_of(self._future)
        return self._future.result()

    def result(self, timeout: float | None = None) -> T:
        """Block the calling thread until the answer is there.

        Args:
            timeout: seconds, None for no limit beyond the request's own deadline.

        Returns:
            The answer.

        Raises:
            StateError: The calling thread is the one that has to bring the answer.
            TimeoutError: The time was over first; the reply may be waited for again.
        """
        if self._future.done():
            return self._future.result()
        if self._loop is not None and running_loop() is self._loop:
            raise StateError("result() would block the event loop that brings the answer; use await")
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
        loop = running_loop()
        if loop is None:
            self._future.add_done_callback(lambda _: callback(self))
        else:
            self._future.add_done_callback(lambda _: call_on(loop, lambda: callback(self)))


def _end_of(future: concurrent.futures.Future[T]) -> asyncio.Future[None]:
    """Return a future of the running loop that ends with another one, without taking its result or its error."""
    loop = asyncio.get_running_loop()
    mirror: asyncio.Future[None] = loop.create_future()
    future.add_done_callback(lambda _: resolve_from_anywhere(mirror))
    return mirror


def _running_task() -> asyncio.Task[Any] | None:
    return None if running_loop() is None else asyncio.current_task()
