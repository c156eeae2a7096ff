"""Messages that wait for the sender: a list behind a lock, with marks that tell producers when to wait."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Protocol

from oocana_async.errors import TransportError
from oocana_async.wire.envelope import Outgoing

__all__ = ["OVERHEAD", "Backlog", "Gate"]

OVERHEAD = 128
"""Bytes that one message costs beside its payload, counted so that the limits describe memory."""


class Gate(Protocol):
    """Says whether one producer may still put messages in."""

    is_running: bool


class _AlwaysRunning:
    is_running = True


_ALWAYS = _AlwaysRunning()


class Backlog:
    """Any number of threads put messages in, one takes them out, all at once.

    It is *congested* from the high-water mark until what was taken has been given back down to half of it.

    Args:
        high_messages: messages that make it congested.
        high_bytes: bytes that make it congested, with `OVERHEAD` for each message.
        hard_limit: bytes from which on producers are blocked by force.
        wake: called, in any thread, when the first message has come after `take()` found none.
    """

    def __init__(self, *, high_messages: int, high_bytes: int, hard_limit: int, wake: Callable[[], object]) -> None:
        self._high_messages = high_messages
        self._high_bytes = high_bytes
        self._hard_limit = hard_limit
        self._wake = wake
        self._lock = threading.Lock()
        self._acquire, self._unlock = self._lock.acquire, self._lock.release
        # Bound: the high-water mark by politeness, the hard limit by force; taken as a whole, a fresh list stays; ended
        # by close(). None stands where a newer message took the place of an older one.
        self._queue: list[Outgoing | None] = []
        self._latest: dict[str, int] = {}
        self._taken = 0
        self._bytes = 0
        self._is_taking = True
        self._asleep = True
        self.congested = False
        """Whether producers are asked to wait; stays true after a failure, so that they hear of it."""
        self._room = threading.Condition(self._lock)
        self._stalled = 0
        # One entry per waiting call; drained by _release(), each call withdraws its own.
        self._waiters: set[asyncio.Future[None]] = set()
        self.taker_thread = 0
        """The thread that takes messages out; it never blocks here, because it would wait for itself."""
        self.failure: TransportError | None = None
        """Why nothing can be sent any more, None while all is well."""
        self.coalesced = 0
        self.refused = 0
        self.blocked = 0

    @property
    def appended(self) -> int:
        """Messages that were ever put in."""
        with self._lock:
            return self._taken + len(self._queue)

    @property
    def size(self) -> int:
        """Bytes that were put in and not given back."""
        return self._bytes

    # -- producers, in any thread -------------------------------------------------------------------------------

    def put(self, message: Outgoing, gate: Gate = _ALWAYS) -> bool | None:
        """Put a message at the end, without ever blocking; one that comes after the end is refused and counted.

        Args:
            message: the message.
            gate: a producer whose last message has been put refuses this one.

        Returns:
            True above the hard limit: then the caller shall go through `wait_below_limit` before the next message.
            None when the message was refused.
        """
        size = len(message.payload) + OVERHEAD
        self._acquire()  # twice as fast as `with`, and every output passes here
        try:
            if not (self._is_taking and gate.is_running):
                self.refused += not self._is_taking
                return None
            self._queue.append(message)
            filled = self._bytes = self._bytes + size
            if filled > self._high_bytes or len(self._queue) > self._high_messages:
                self.congested = True
            wake, self._asleep = self._asleep, False
        finally:
            self._unlock()
        if wake:
            self._wake()
        return filled > self._hard_limit

    def put_last(self, message: Outgoing, gate: Gate) -> None:
        """Put the last message of a producer and stop it, so that nothing of it can come behind; never blocks."""
        with self._lock:
            if gate.is_running and self._is_taking:
                self._queue.append(message)
                self._bytes += len(message.payload) + OVERHEAD
            else:
                self.refused += 1
            gate.is_running = False
            wake, self._asleep = self._asleep, False
        if wake:
            self._wake()

    def put_latest(self, key: str, message: Outgoing) -> None:
        """Put a message at the end and drop the one with the same key that still waits."""
        with self._lock:
            if not self._is_taking:
                self.refused += 1
                return
            self._drop_older(key)
            self._latest[key] = len(self._queue)
            self._queue.append(message)
            self._bytes += len(message.payload) + OVERHEAD
            wake, self._asleep = self._asleep, False
        if wake:
            self._wake()

    def wait_below_limit(self) -> bool:
        """Block the calling thread while the limit is passed, until the filling has come down to half of it.

        Returns:
            True when it had to wait.
        """
        if threading.get_ident() == self.taker_thread:
            return False
        with self._room:
            if self._bytes <= self._hard_limit:
                return False
            self.blocked += 1
            self._stalled += 1
            self._room.wait_for(lambda: self._bytes <= self._hard_limit // 2)
            self._stalled -= 1
        return True

    async def wait_for_room(self) -> None:
        """Wait, on any loop, until it is no longer congested.

        Raises:
            TransportError: Nothing can be sent any more.
        """
        while (future := self._register_waiter()) is not None:
            try:
                await future
            finally:
                with self._lock:
                    self._waiters.discard(future)
        self.raise_failure()

    def wait_for_room_blocking(self, timeout: float | None, unless: Callable[[], bool] = bool) -> bool:
        """Block the calling thread until it is no longer congested.

        Args:
            timeout: seconds, None for no limit.
            unless: gives up the wait when it is true; looked at after `nudge()`.

        Returns:
            False when the time was over, or the wait given up.

        Raises:
            TransportError: Nothing can be sent any more.
        """
        if self.congested and threading.get_ident() != self.taker_thread:
            with self._room:
                self._room.wait_for(lambda: self._is_over() or unless(), timeout)
                if not self._is_over():
                    return False
        self.raise_failure()
        return True

    def nudge(self) -> None:
        """Let blocked threads look again whether they still want to wait."""
        with self._room:
            self._room.notify_all()

    def raise_failure(self) -> None:
        """Raise the failure if there is one."""
        if self.failure is not None:
            raise self.failure.with_traceback(None)

    # -- the sender ---------------------------------------------------------------------------------------------

    def take(self) -> tuple[list[Outgoing | None], int]:
        """Take all that waits, and how many bytes to give back for it; with nothing there the next message wakes."""
        with self._lock:
            queue, self._queue = self._queue, []
            self._latest.clear()
            self._taken += len(queue)
            self._asleep = not queue
            return queue, self._bytes

    def give_back(self, size: int) -> None:
        """Make room: what was taken has been sent."""
        with self._lock:
            self._bytes -= size
            resumed = self._stalled > 0 and self._bytes <= self._hard_limit // 2
            relaxed = self.congested and self._is_low()
            if relaxed:
                self.congested = False
        if relaxed or resumed:
            self._release()

    def close(self) -> None:
        """Refuse further messages; what waits can still be taken."""
        with self._lock:
            self._is_taking = False

    def end(self, failure: TransportError | None = None) -> None:
        """Forget what waits and let everybody go who waits for room."""
        with self._lock:
            self._is_taking = False
            self._taken += len(self._queue)
            self._queue = []
            self._latest.clear()
            self._bytes = 0
            self.taker_thread = 0
            self.failure = self.failure or failure
            self.congested = self.failure is not None
        self._release()

    # -- inside -------------------------------------------------------------------------------------------------

    def _drop_older(self, key: str) -> None:
        older = self._latest.get(key)
        replaced = None if older is None else self._queue[older]
        if older is not None and replaced is not None:
            self._bytes -= len(replaced.payload) + OVERHEAD
            self._queue[older] = None
            self.coalesced += 1

    def _is_over(self) -> bool:
        return not self.congested or self.failure is not None

    def _is_low(self) -> bool:
        return self._bytes <= self._high_bytes // 2 and len(self._queue) <= self._high_messages // 2

    def _register_waiter(self) -> asyncio.Future[None] | None:
        loop = asyncio.get_running_loop()
        with self._lock:
            if not self.congested or self.failure is not None:
                return None
            future: asyncio.Future[None] = loop.create_future()
            self._waiters.add(future)
            return future

    def _release(self) -> None:
        with self._room:
            self._room.notify_all()
            waiters, self._waiters = self._waiters, set()
        for future in waiters:
            with contextlib.suppress(RuntimeError):  # its loop is gone, and so is whoever waited
                future.get_loop().call_soon_threadsafe(_resolve, future)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
