"""The channel: outgoing messages wait here, in order and bounded, for the one sender coroutine that drains it."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Self

from oocana_async.errors import ClosedError, StateError, TransportError
from oocana_async.transport.base import Outgoing, Transport

__all__ = ["Outbox", "OutboxState", "OutboxStatistics"]

HIGH_WATER_MESSAGES = 8192
HIGH_WATER_BYTES = 4 * 1024 * 1024
HARD_LIMIT_BYTES = 64 * 1024 * 1024
BATCH_MESSAGES = 1024
OVERHEAD = 224
"""Bytes that one message costs beside its payload, counted so that the limits describe memory."""


class OutboxState(enum.Enum):
    """Life of an outbox."""

    NEW = "new"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    BROKEN = "broken"


_MOVES = {
    OutboxState.NEW: {OutboxState.OPEN, OutboxState.CLOSED},
    OutboxState.OPEN: {OutboxState.CLOSING, OutboxState.BROKEN},
    OutboxState.CLOSING: {OutboxState.CLOSED, OutboxState.BROKEN},
    OutboxState.BROKEN: {OutboxState.CLOSED, OutboxState.BROKEN},
    OutboxState.CLOSED: set[OutboxState](),
}


class OutboxStatistics(NamedTuple):
    """What an outbox has done and holds.

    Attributes:
        state: name of the state.
        appended: messages taken in since the start.
        sent: messages handed to the transport.
        coalesced: messages that were replaced by a newer one before they were sent.
        dropped: messages that came after the end or could not be sent.
        waiting: messages in the channel now.
        waiting_bytes: their accounted size in bytes.
        congested: whether producers are asked to wait.
        blocked: how often a producer that does not wait ran into the hard limit.
    """

    state: str
    appended: int
    sent: int
    coalesced: int
    dropped: int
    waiting: int
    waiting_bytes: int
    congested: bool
    blocked: int


class _Entry:
    """A coalescing message; `message` becomes None when a newer one took its place."""

    __slots__ = ("key", "message")

    def __init__(self, key: str, message: Outgoing) -> None:
        self.key = key
        self.message: Outgoing | None = message


class Outbox:
    """Bounded, ordered channel between any number of producers, in any thread, and one transport.

    `append` never waits below the hard limit. Whoever wants to be polite looks at `congested` and waits in
    `wait_for_room` (tasks) or `wait_for_room_blocking` (threads): that is true from the high-water mark until the
    sender has come down to half of it.

    Args:
        transport: what the sender hands batches to.
        high_water_messages: messages that make the channel congested.
        high_water_bytes: bytes that make the channel congested, each message counted with 224 bytes on top.
        hard_limit_bytes: bytes beyond which `append` blocks its own thread (never the sender's loop).
        on_hard_limit: called once, when `append` first blocks.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        high_water_messages: int = HIGH_WATER_MESSAGES,
        high_water_bytes: int = HIGH_WATER_BYTES,
        hard_limit_bytes: int = HARD_LIMIT_BYTES,
        on_hard_limit: Callable[[], None] | None = None,
    ) -> None:
        self._transport = transport
        self._high = (high_water_messages, high_water_bytes)
        self._hard_limit = hard_limit_bytes
        self._on_hard_limit = on_hard_limit
        self._lock = threading.Lock()
        # Bound: high water by politeness, `hard_limit_bytes` by force; drained by the sender; closed by aclose().
        self._queue: deque[Outgoing | _Entry] = deque()
        self._pending: dict[str, _Entry] = {}
        self._bytes = 0
        self._awake = False
        self._congested = False
        self._room = threading.Condition(self._lock)
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._state = OutboxState.NEW
        self._failure: BaseException | None = None
        self._appended = self._sent = self._coalesced = self._dropped = self._blocked = 0
        self._flushers: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._loop_thread = 0
        self._sender: asyncio.Task[None] | None = None

    # -- life ---------------------------------------------------------------------------------------------------

    def _move(self, state: OutboxState) -> None:
        if state not in _MOVES[self._state]:
            raise StateError(f"an outbox that is {self._state.value} cannot become {state.value}")
        self._state = state

    async def __aenter__(self) -> Self:
        """Start the sender on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._wake = asyncio.Event()
        self._move(OutboxState.OPEN)
        self._sender = asyncio.create_task(self._run(), name="oocana-outbox-sender")
        if self._queue:
            self._wake.set()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Send what is queued, then stop the sender; may be called twice.

        Cancelling it stops the sender at once and drops what is still queued.
        """
        if self._state in (OutboxState.NEW, OutboxState.BROKEN):
            self._move(OutboxState.CLOSED)
        elif self._state is OutboxState.OPEN:
            self._move(OutboxState.CLOSING)
        if self._sender is None:
            return
        self._wake_sender()
        try:
            await asyncio.shield(self._sender)
        except asyncio.CancelledError:
            self._sender.cancel()
            raise
        finally:
            with self._lock:
                self._dropped += len(self._queue)
                self._queue.clear()
                self._congested = False
            self._release()

    # -- producers ----------------------------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """True from the high-water mark until the sender has come down to half of it."""
        return self._congested

    def append(self, message: Outgoing) -> None:
        """Put a message at the end of the channel, from any thread; acts at once.

        Blocks the calling thread above the hard limit, unless it is the sender's own. A message that comes after the
        end is dropped and counted.
        """
        with self._lock:
            if self._state.value in ("closed", "broken"):
                self._dropped += 1
                return
            self._queue.append(message)
            self._appended += 1
            self._bytes += len(message.payload) + OVERHEAD
            if self._bytes > self._high[1] or len(self._queue) > self._high[0]:
                self._congested = True
            wake = not self._awake
            self._awake = True
        if wake:
            self._wake_sender()
        if self._bytes > self._hard_limit:
            self._block()

    def append_latest(self, key: str, message: Outgoing) -> None:
        """Put a message at the end and drop the one with the same key that still waits: only the last one counts."""
        entry = _Entry(key, message)
        with self._lock:
            if self._state.value in ("closed", "broken"):
                self._dropped += 1
                return
            older = self._pending.get(key)
            if older is not None and older.message is not None:
                self._bytes -= len(older.message.payload) + OVERHEAD
                older.message = None
                self._coalesced += 1
            self._pending[key] = entry
            self._queue.append(entry)
            self._appended += 1
            self._bytes += len(message.payload) + OVERHEAD
            wake = not self._awake
            self._awake = True
        if wake:
            self._wake_sender()

    async def wait_for_room(self) -> None:
        """Wait, on any loop, until the channel is no longer congested. Cancelling it withdraws no message.

        Raises:
            TransportError: The connection is gone for good.
        """
        while (future := self._register_waiter()) is not None:
            await future
        self._raise_failure()

    def wait_for_room_blocking(self, timeout: float | None = None) -> bool:
        """Block the calling thread until the channel is no longer congested.

        Args:
            timeout: seconds, None for no limit.

        Returns:
            False when the time was over first.

        Raises:
            TransportError: The connection is gone for good.
        """
        if self._congested and threading.get_ident() != self._loop_thread:
            with self._room:
                if not self._room.wait_for(lambda: not self._congested, timeout):
                    return False
        self._raise_failure()
        return True

    async def flush(self) -> None:
        """Wait, on any loop, until everything appended so far has been acknowledged by the transport.

        Raises:
            ClosedError: The outbox was never opened.
            TransportError: The connection is gone for good.
        """
        if self._loop is None:
            raise ClosedError("the outbox has not been opened")
        if asyncio.get_running_loop() is self._loop:
            await self._flush()
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._flush(), self._loop))

    def flush_blocking(self, timeout: float | None = None) -> bool:
        """Block the calling thread until everything appended so far has been acknowledged by the transport.

        Args:
            timeout: seconds, None for no limit.

        Returns:
            False when the time was over first.

        Raises:
            ClosedError: The outbox was never opened.
            StateError: The calling thread is the sender's own and cannot wait for itself.
            TransportError: The connection is gone for good.
        """
        if self._loop is None:
            raise ClosedError("the outbox has not been opened")
        if threading.get_ident() == self._loop_thread:
            raise StateError("the sender's own thread cannot block until the sender is done; await flush() instead")
        future = asyncio.run_coroutine_threadsafe(self._flush(), self._loop)
        try:
            future.result(timeout)
        except TimeoutError:
            future.cancel()
            return False
        return True

    def statistics(self) -> OutboxStatistics:
        """Return counters and the present filling."""
        with self._lock:
            return OutboxStatistics(
                self._state.value,
                self._appended,
                self._sent,
                self._coalesced,
                self._dropped,
                self._appended - self._sent - self._coalesced - self._dropped,
                self._bytes,
                self._congested,
                self._blocked,
            )

    # -- inside -------------------------------------------------------------------------------------------------

    def _register_waiter(self) -> asyncio.Future[None] | None:
        loop = asyncio.get_running_loop()
        with self._lock:
            if not self._congested:
                return None
            future: asyncio.Future[None] = loop.create_future()
            self._waiters.append((loop, future))
            return future

    def _block(self) -> None:
        if threading.get_ident() == self._loop_thread:
            return
        self._blocked += 1
        if self._blocked == 1 and self._on_hard_limit is not None:
            self._on_hard_limit()
        with self._room:
            self._room.wait_for(lambda: self._bytes <= self._hard_limit or self._state is not OutboxState.OPEN)

    def _wake_sender(self) -> None:
        loop, wake = self._loop, self._wake
        if loop is None or wake is None:
            return
        if threading.get_ident() == self._loop_thread:
            wake.set()
        else:
            with contextlib.suppress(RuntimeError):  # the loop was closed without closing the outbox
                loop.call_soon_threadsafe(wake.set)

    async def _run(self) -> None:
        try:
            while await self._send_batch():
                pass
        except TransportError as error:
            self._fail(error)
        except BaseException as error:
            self._fail(error)
            raise
        else:
            self._move(OutboxState.CLOSED)
        finally:
            self._finish_flushers()

    async def _send_batch(self) -> bool:
        """Hand one batch to the transport; False when the outbox is closing and empty."""
        assert self._wake is not None
        batch, taken = self._take()
        if not taken:
            if self._state is OutboxState.CLOSING:
                await self._transport.flush()
                return False
            await self._wake.wait()
            self._wake.clear()
            return True
        if batch:
            await self._transport.publish(batch)
        self._account(batch)
        if self._flushers:
            await self._serve_flushers()
        await asyncio.sleep(0)  # let the readers on this loop take what was just published
        return True

    def _take(self) -> tuple[list[Outgoing], int]:
        batch: list[Outgoing] = []
        with self._lock:
            queue = self._queue
            taken = min(len(queue), BATCH_MESSAGES)
            for _ in range(taken):
                item = queue.popleft()
                if type(item) is Outgoing:
                    batch.append(item)
                    continue
                assert isinstance(item, _Entry)
                if item.message is not None:
                    batch.append(item.message)
                    del self._pending[item.key]
            if not taken:
                self._awake = False
        return batch, taken

    def _account(self, batch: list[Outgoing]) -> None:
        size = sum([len(message.payload) for message in batch]) + OVERHEAD * len(batch)
        with self._lock:
            self._sent += len(batch)
            self._bytes -= size
            blocked = self._blocked > 0 and self._bytes <= self._hard_limit
            relaxed = self._congested and self._bytes <= self._high[1] // 2 and len(self._queue) <= self._high[0] // 2
            if relaxed:
                self._congested = False
        if relaxed or blocked:
            self._release()

    def _release(self) -> None:
        with self._room:
            self._room.notify_all()
            waiters, self._waiters = self._waiters, []
        for loop, future in waiters:
            with contextlib.suppress(RuntimeError):  # its loop is gone, and so is whoever waited
                loop.call_soon_threadsafe(_resolve, future)

    async def _flush(self) -> None:
        with self._lock:
            goal = self._appended - self._dropped
            idle = not self._queue and self._sent + self._coalesced >= goal
        if self._state in (OutboxState.CLOSED, OutboxState.BROKEN):
            self._raise_failure()
            return
        if idle:
            await self._transport.flush()
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushers.append((goal, future))
        await future

    async def _serve_flushers(self) -> None:
        """Resolve those who wait for messages that have been handed over, one acknowledgement for all of them."""
        done = self._sent + self._coalesced
        if self._flushers[0][0] > done:
            return
        await self._transport.flush()
        while self._flushers and self._flushers[0][0] <= done:
            _resolve(self._flushers.popleft()[1])

    def _finish_flushers(self) -> None:
        while self._flushers:
            future = self._flushers.popleft()[1]
            if self._failure is not None and not future.done():
                future.set_exception(TransportError(f"not everything could be sent: {self._failure}"))
            else:
                _resolve(future)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._failure = error
            self._dropped += len(self._queue)
            self._queue.clear()
            self._pending.clear()
            self._bytes = 0
            self._congested = False
        self._move(OutboxState.BROKEN)
        self._release()

    def _raise_failure(self) -> None:
        if self._failure is not None and isinstance(self._failure, TransportError):
            raise self._failure


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
