"""The channel: outgoing messages wait here, in order and bounded, for the one sender that drains it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol

from oocana_async.channel.futures import resolve_from_anywhere
from oocana_async.errors import TransportError
from oocana_async.wire.envelope import Outgoing

__all__ = ["HARD_LIMIT_BYTES", "OVERHEAD", "Channel", "ChannelStatistics", "Gate"]

HIGH_WATER_MESSAGES = 8192
HIGH_WATER_BYTES = 4 * 1024 * 1024
HARD_LIMIT_BYTES = 64 * 1024 * 1024

OVERHEAD = 128
"""Bytes that one message costs beside its payload, counted so that the limits describe memory."""


class Gate(Protocol):
    """Says whether one producer may still put messages in."""

    is_running: bool


class _AlwaysRunning:
    is_running = True


_ALWAYS = _AlwaysRunning()


class ChannelStatistics(NamedTuple):
    """What a channel has taken in and holds.

    Attributes:
        appended: messages taken in since the start.
        coalesced: messages of these that were replaced by a newer one while they waited.
        refused: messages that came after the end.
        waiting: messages that were taken in and have not been sent.
        waiting_bytes: their accounted size in bytes.
        congested: whether producers are asked to wait.
        blocked: how often a producer that does not wait ran into the hard limit.
    """

    appended: int
    coalesced: int
    refused: int
    waiting: int
    waiting_bytes: int
    congested: bool
    blocked: int


class Channel:
    """Bounded, ordered queue between any number of producers, in any thread, and one sender.

    `append` never waits below the hard limit. Whoever wants to be polite looks at `congested` and waits in
    `wait_for_room` (tasks) or `wait_for_room_blocking` (threads). After a failure of the sender it stays congested, and
    those who wait get the error; what is put in then is refused and counted.

    Args:
        high_water_messages: messages that make the channel congested.
        high_water_bytes: bytes that make the channel congested, each message counted with `OVERHEAD` on top.
        hard_limit_bytes: bytes beyond which `append` blocks its own thread (never the sender's).
    """

    def __init__(
        self,
        *,
        high_water_messages: int = HIGH_WATER_MESSAGES,
        high_water_bytes: int = HIGH_WATER_BYTES,
        hard_limit_bytes: int = HARD_LIMIT_BYTES,
    ) -> None:
        self._high_messages = high_water_messages
        self._high_bytes = high_water_bytes
        self._hard_limit = hard_limit_bytes
        self._lock = threading.Lock()
        # Looked up once: acquire and release by hand cost half of what `with` costs, and every output passes `put`.
        self._acquire, self._unlock = self._lock.acquire, self._lock.release
        # Bound: the high-water mark by politeness, the hard limit by force; drained by the sender, which takes the
        # whole list and leaves a fresh one; ended by close() or end(). None stands where a message was replaced: to
        # take it out of the middle would move all that came after it, and with them the places in `_latest`.
        self._queue: list[Outgoing | None] = []
        self._latest: dict[str, int] = {}
        self._replaced = 0  # how many None stand in the list
        self._bytes = 0  # of the list, and of what the sender has in hand
        self._in_hand = self._bytes_in_hand = 0
        self._taken = 0
        self._is_open = True
        self._sender_sleeps = True
        self._sender_thread = 0
        self._wake: Callable[[], object] = _nobody_sleeps
        self.congested = False
        """True from the high-water mark until the sender has come down to half of it, and after a failure."""
        self._room = threading.Condition(self._lock)
        self._held_back = 0  # threads that wait below the hard limit
        # One entry per waiting call; resolved by _release(), each call withdraws its own.
        self._waiters: set[asyncio.Future[None]] = set()
        self.failure: TransportError | None = None
        """Why nothing can be sent any more, None while all is well."""
        self._coalesced = self._refused = self._blocked = 0

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
        self._acquire()
        try:
            if not (self._is_open and gate.is_running):
                if not self._is_open:
                    self._refused += 1
                return None
            self._queue.append(message)
            filled = self._bytes = self._bytes + size
            if filled > self._high_bytes or len(self._queue) > self._high_messages:
                self.congested = True
            wake, self._sender_sleeps = self._sender_sleeps, False
        finally:
            self._unlock()
        if wake:  # outside of the lock: waking runs code of an event loop
            self._wake()
        return filled > self._hard_limit

    def put_last(self, message: Outgoing, gate: Gate) -> None:
        """Put the last message of a producer and stop it, so that nothing of it can come behind; never blocks.

        The two are one step under the lock: another thread of the producer either put its message before, or finds the
        gate shut.
        """
        with self._lock:
            if gate.is_running and self._is_open:
                self._queue.append(message)
                self._bytes += len(message.payload) + OVERHEAD
            else:
                self._refused += 1
            gate.is_running = False
            wake, self._sender_sleeps = self._sender_sleeps, False
        if wake:
            self._wake()

    def append(self, message: Outgoing) -> None:
        """Put a message at the end; above the hard limit block the calling thread, unless it is the sender's own."""
        if self.put(message):
            self.wait_below_limit()

    def append_latest(self, key: str, message: Outgoing) -> None:
        """Put a message at the end and drop the one with the same key that still waits: only the last one counts."""
        with self._lock:
            if not self._is_open:
                self._refused += 1
                return
            self._drop_older(key)
            self._latest[key] = len(self._queue)
            self._queue.append(message)
            self._bytes += len(message.payload) + OVERHEAD
            wake, self._sender_sleeps = self._sender_sleeps, False
        if wake:
            self._wake()

    @property
    def is_sender_thread(self) -> bool:
        """Whether the calling thread is the one that drains the channel: it must never wait for itself."""
        return threading.get_ident() == self._sender_thread

    def wait_below_limit(self) -> bool:
        """Block the calling thread while the hard limit is passed, until the filling has come down to half of it.

        Returns:
            True when it had to wait. The sender's own thread never does, and nobody does while there is no sender.
        """
        if self._sender_thread in (0, threading.get_ident()):
            return False
        with self._room:
            if self._bytes <= self._hard_limit:
                return False
            self._blocked += 1
            self._held_back += 1
            self._room.wait_for(lambda: self._bytes <= self._hard_limit // 2)
            self._held_back -= 1
        return True

    async def wait_for_room(self) -> None:
        """Wait, on any loop, until the channel is no longer congested. Cancelling it withdraws no message.

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

    def wait_for_room_blocking(self, timeout: float | None = None, *, unless: Callable[[], bool] | None = None) -> bool:
        """Block the calling thread until the channel is no longer congested; the sender's own thread never waits.

        Args:
            timeout: seconds, None for no limit.
            unless: gives up the wait when it is true; looked at again after `nudge()`.

        Returns:
            False when the time was over first, or the wait was given up.

        Raises:
            TransportError: Nothing can be sent any more.
        """
        if self.congested and not self.is_sender_thread:
            with self._room:
                self._room.wait_for(lambda: self._has_room_or_failed() or (unless is not None and unless()), timeout)
                if not self._has_room_or_failed():
                    return False
        self.raise_failure()
        return True

    def nudge(self) -> None:
        """Let blocked threads look again whether they still want to wait; from any thread."""
        with self._room:
            self._room.notify_all()

    def raise_failure(self) -> None:
        """Raise the failure if there is one."""
        if self.failure is not None:
            raise self.failure.with_traceback(None)  # it is raised many times: each has the traceback of its own call

    def statistics(self) -> ChannelStatistics:
        """Return counters and the present filling."""
        with self._lock:
            return ChannelStatistics(
                self._taken + len(self._queue),
                self._coalesced,
                self._refused,
                self._in_hand + len(self._queue) - self._replaced,
                self._bytes,
                self.congested,
                self._blocked,
            )

    # -- the sender ---------------------------------------------------------------------------------------------

    def start(self, wake: Callable[[], object]) -> None:
        """Make the calling thread the one that drains the channel.

        Args:
            wake: called, in any thread, when a message has come after `take()` found none.
        """
        with self._lock:
            self._wake = wake
            self._sender_thread = threading.get_ident()

    def position(self) -> int:
        """Return how many places were ever filled; `take()` empties them in order, replaced ones too."""
        with self._lock:
            return self._taken + len(self._queue)

    def take(self) -> list[Outgoing | None]:
        """Take all that waits, None for what was replaced. With nothing there, the next message calls `wake`.

        What was taken fills the channel until `give_back()`: the next call comes after that.
        """
        with self._lock:
            queue, self._queue = self._queue, []
            self._taken += len(queue)
            self._in_hand, self._bytes_in_hand = len(queue) - self._replaced, self._bytes
            self._replaced = 0
            self._latest.clear()
            self._sender_sleeps = not queue
            return queue

    def give_back(self) -> None:
        """Make room: what was taken has been sent."""
        with self._lock:
            self._bytes -= self._bytes_in_hand
            self._in_hand = self._bytes_in_hand = 0
            resumed = self._held_back > 0 and self._bytes <= self._hard_limit // 2
            # Half of the mark, not the mark: else each message that is sent would wake all producers for one place.
            relaxed = self.congested and self._is_half_empty()
            if relaxed:
                self.congested = False
        if relaxed or resumed:
            self._release()

    def close(self) -> None:
        """Refuse further messages; what waits can still be taken."""
        with self._lock:
            self._is_open = False

    def end(self, failure: TransportError | None = None) -> None:
        """Forget what waits and let everybody go who waits for room; they find the failure by themselves."""
        with self._lock:
            self._is_open = False
            self._taken += len(self._queue)
            self._queue = []
            self._latest.clear()
            self._bytes = self._in_hand = self._bytes_in_hand = self._replaced = 0
            self._sender_thread = 0
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
            self._replaced += 1
            self._coalesced += 1

    def _has_room_or_failed(self) -> bool:
        return not self.congested or self.failure is not None

    def _is_half_empty(self) -> bool:
        return self._bytes <= self._high_bytes // 2 and len(self._queue) <= self._high_messages // 2

    def _register_waiter(self) -> asyncio.Future[None] | None:
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._has_room_or_failed():
                return None
            future: asyncio.Future[None] = loop.create_future()
            self._waiters.add(future)
            return future

    def _release(self) -> None:
        with self._room:
            self._room.notify_all()
            waiters, self._waiters = self._waiters, set()
        for future in waiters:
            resolve_from_anywhere(future)


def _nobody_sleeps() -> None:
    """Wake nobody: there is no sender yet, and its first look finds what waits."""
