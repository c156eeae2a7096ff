"""The channel: outgoing messages wait here, in order and bounded, for the one sender coroutine that drains it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import enum
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, Self

from oocana_async.channel.channel import Backlog
from oocana_async.channel.loop_calls import LoopCalls
from oocana_async.errors import ClosedError, PacketTooLargeError, StateError, TransportError
from oocana_async.wire.envelope import Outgoing

__all__ = ["Outbox", "Outlet", "OutboxState", "OutboxStatistics"]

log = logging.getLogger(__name__)

HIGH_WATER_MESSAGES = 8192
HIGH_WATER_BYTES = 4 * 1024 * 1024
HARD_LIMIT_BYTES = 64 * 1024 * 1024
BATCH_MESSAGES = 1024
TURN_MESSAGES = 256


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
    OutboxState.BROKEN: {OutboxState.CLOSED},
    OutboxState.CLOSED: set[OutboxState](),
}


class Outlet(Protocol):
    """What the sender drains the channel into; every transport is one."""

    async def publish(self, batch: Sequence[Outgoing]) -> None:
        """Take a batch in order; see `Transport.publish`."""

    def publish_many_nowait(self, batch: Sequence[Outgoing]) -> bool:
        """Take a batch at once, or nothing of it; see `Transport.publish_many_nowait`."""

    async def flush(self) -> None:
        """Wait until everything that was published so far has been acknowledged."""


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


class Outbox:
    """Bounded, ordered channel between any number of producers, in any thread, and one transport.

    `append` never waits below the hard limit. Whoever wants to be polite looks at `congested` and waits in
    `wait_for_room` (tasks) or `wait_for_room_blocking` (threads): that is true from the high-water mark until the
    sender has come down to half of it. After a failure of the transport it stays true, and those who wait get the
    error; what is appended then is dropped and counted.

    Args:
        transport: what the sender hands batches to.
        high_water_messages: messages that make the channel congested.
        high_water_bytes: bytes that make the channel congested, each message counted with 128 bytes on top.
        hard_limit_bytes: bytes beyond which `append` blocks its own thread (never the sender's loop).
    """

    def __init__(
        self,
        transport: Outlet,
        *,
        high_water_messages: int = HIGH_WATER_MESSAGES,
        high_water_bytes: int = HIGH_WATER_BYTES,
        hard_limit_bytes: int = HARD_LIMIT_BYTES,
    ) -> None:
        self._transport = transport
        # Bound: see there; drained by the sender; closed by aclose() or by a failure.
        self._backlog = Backlog(
            high_messages=high_water_messages,
            high_bytes=high_water_bytes,
            hard_limit=hard_limit_bytes,
            wake=self._wake_sender,
        )
        self.put = self._backlog.put
        """Like `append`, but never blocks: True asks for `wait_below_limit()` before the next message."""
        self.put_last = self._backlog.put_last
        """Puts the last message of a producer and stops it; never blocks."""
        self._state = OutboxState.NEW
        self._sent = self._lost = 0
        self._unbroken = 0  # messages since the loop had its turn
        self._passed = 0  # messages that were sent or replaced, counted from the first one
        # One entry per waiting flush(); drained by the sender.
        self._flushers: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: LoopCalls | None = None
        self._wake: asyncio.Event | None = None
        # What was taken for a transport that could not take it at once; goes out before all else.
        self._refused: tuple[list[Outgoing | None], int] | None = None
        self._sender: asyncio.Task[None] | None = None

    # -- life ---------------------------------------------------------------------------------------------------

    def _move(self, state: OutboxState) -> None:
        if state not in _MOVES[self._state]:
            raise StateError(f"an outbox that is {self._state.value} cannot become {state.value}")
        self._state = state

    @property
    def state(self) -> OutboxState:
        """Where in its life the outbox is."""
        return self._state

    @property
    def failure(self) -> TransportError | None:
        """Why nothing can be sent any more, None while all is well."""
        return self._backlog.failure

    async def __aenter__(self) -> Self:
        """Start the sender on the running loop."""
        self._move(OutboxState.OPEN)
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._calls = LoopCalls.of_running_loop()
        self._backlog.taker_thread = threading.get_ident()
        self._sender = asyncio.create_task(self._run(), name="oocana-outbox-sender")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Take nothing more, send what is queued, then stop the sender; may be called twice.

        Cancelling it stops the sender at once and drops what is still queued.
        """
        self._backlog.close()
        if self._state in (OutboxState.NEW, OutboxState.BROKEN):
            self._move(OutboxState.CLOSED)
            self._let_go()
        elif self._state is OutboxState.OPEN:
            self._move(OutboxState.CLOSING)
            self._wake_sender()
        if self._sender is not None:
            try:
                await asyncio.wait([self._sender])
            except asyncio.CancelledError:
                self._sender.cancel()
                raise

    # -- producers, in any thread -------------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """True from the high-water mark until the sender has come down to half of it, and after a failure."""
        return self._backlog.congested

    @property
    def room(self) -> Backlog:
        """What producers wait for."""
        return self._backlog

    @property
    def is_own_thread(self) -> bool:
        """Whether the calling thread is the sender's: it must never wait for the sender."""
        return threading.get_ident() == self._backlog.taker_thread

    def append(self, message: Outgoing) -> None:
        """Put a message at the end of the channel; acts at once.

        Blocks the calling thread above the hard limit, unless it is the sender's own. A message that comes after the
        end is dropped and counted.
        """
        if self.put(message):
            self.wait_below_limit()

    def append_latest(self, key: str, message: Outgoing) -> None:
        """Put a message at the end and drop the one with the same key that still waits: only the last one counts."""
        self._backlog.put_latest(key, message)

    def wait_below_limit(self) -> bool:
        """Block the calling thread while the channel is above its hard limit, until it has come down to half of it.

        Returns:
            True when it had to wait. The sender's own thread never does: it would wait for itself.
        """
        return self._state is not OutboxState.NEW and self._backlog.wait_below_limit()

    async def wait_for_room(self) -> None:
        """Wait, on any loop, until the channel is no longer congested. Cancelling it withdraws no message.

        Raises:
            TransportError: The connection is gone for good.
        """
        await self._backlog.wait_for_room()

    def wait_for_room_blocking(self, timeout: float | None = None, *, unless: Callable[[], bool] = bool) -> bool:
        """Block the calling thread until the channel is no longer congested; the sender's own thread never waits.

        Args:
            timeout: seconds, None for no limit.
            unless: gives up the wait when it is true; looked at after `nudge()`.

        Returns:
            False when the time was over first, or the wait was given up.

        Raises:
            TransportError: The connection is gone for good.
        """
        return self._backlog.wait_for_room_blocking(timeout, unless)

    def nudge(self) -> None:
        """Let threads that wait for room look again whether they still want to; from any thread."""
        self._backlog.nudge()

    async def flush(self) -> None:
        """Wait, on any loop, until everything appended so far has been acknowledged by the transport.

        Raises:
            ClosedError: The outbox was never opened.
            TransportError: The connection is gone for good.
        """
        if self._loop is asyncio.get_running_loop():
            await self._flush()
        elif (future := self._flush_from_elsewhere()) is not None:
            await asyncio.wrap_future(future)

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
        if self.is_own_thread:
            raise StateError("the sender's own thread cannot block until the sender is done; await flush() instead")
        future = self._flush_from_elsewhere()
        if future is None:
            return True
        try:
            future.result(timeout)
        except TimeoutError:
            if future.done():
                raise
            future.cancel()
            return False
        return True

    def statistics(self) -> OutboxStatistics:
        """Return counters and the present filling."""
        backlog = self._backlog
        appended = backlog.appended
        return OutboxStatistics(
            self._state.value,
            appended,
            self._sent,
            backlog.coalesced,
            self._lost + backlog.refused,
            appended - self._sent - backlog.coalesced - self._lost,
            backlog.size,
            backlog.congested,
            backlog.blocked,
        )

    # -- the sender, on its loop --------------------------------------------------------------------------------

    def _wake_sender(self) -> None:
        calls = self._calls
        if calls is None:
            return
        calls.post_nowait(self._send_at_once)

    def _send_at_once(self) -> None:
        """Hand over what waits in this turn of the loop if the transport takes it so; the rest is the sender's.

        Within one process this saves the sender's task its turn, which is what a message costs most there.
        """
        assert self._wake is not None
        passed = 0
        while self._state is OutboxState.OPEN and self._refused is None and passed < TURN_MESSAGES:
            queue, size = self._backlog.take()
            if not queue:
                return
            batch = [message for message in queue if message is not None]
            if len(queue) > TURN_MESSAGES or not self._transport.publish_many_nowait(batch):
                self._refused = queue, size
                break
            passed += len(queue)
            self._sent += len(batch)
            self._note_passed(len(queue))
            self._backlog.give_back(size)
        self._wake.set()

    async def _run(self) -> None:
        try:
            while await self._work():
                pass
        except TransportError as error:
            self._fail(error)
        except Exception as error:  # whatever a transport raises, those who wait must hear of it
            log.exception("the sender stopped")
            self._fail(_as_failure(error))
        except BaseException as error:
            self._fail(_as_failure(error))
            raise

    async def _work(self) -> bool:
        """Send what waits, or wait for something; False when the outbox has closed."""
        assert self._wake is not None
        queue, size = self._refused or self._backlog.take()
        self._refused = None
        if queue:
            await self._send(queue)
            self._backlog.give_back(size)
        elif self._state is OutboxState.CLOSING:
            await self._transport.flush()
            self._move(OutboxState.CLOSED)
            self._let_go()
            return False
        else:
            await self._wake.wait()
            self._wake.clear()
        return True

    async def _send(self, queue: list[Outgoing | None]) -> None:
        """Hand over all messages of a list, some at a time; those that were sent leave the list."""
        for start in range(0, len(queue), BATCH_MESSAGES):
            part = queue[start : start + BATCH_MESSAGES]
            queue[start : start + BATCH_MESSAGES] = [None] * len(part)
            batch = [message for message in part if message is not None]
            if batch:
                await self._publish(batch)
            self._note_passed(len(part))
            self._unbroken += len(part)
            del part, batch
            if self._unbroken >= TURN_MESSAGES:
                self._unbroken = 0
                await asyncio.sleep(0)  # let the readers on this loop take what was just published

    def _note_passed(self, count: int) -> None:
        self._passed += count
        while self._flushers and self._flushers[0][0] <= self._passed:
            _resolve(self._flushers.popleft()[1])

    async def _publish(self, batch: list[Outgoing]) -> None:
        try:
            await self._transport.publish(batch)
        except PacketTooLargeError as error:  # all others were taken
            log.error("a message was dropped: %s", error)
            self._lost += 1
            self._sent -= 1
        self._sent += len(batch)

    # -- flushing and the end -----------------------------------------------------------------------------------

    async def _flush(self) -> None:
        goal = self._backlog.appended
        if self._passed < goal and self._sender is not None and not self._sender.done():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._flushers.append((goal, future))
            await future
        self._backlog.raise_failure()
        if self._state in (OutboxState.OPEN, OutboxState.CLOSING):
            await self._transport.flush()

    def _flush_from_elsewhere(self) -> concurrent.futures.Future[None] | None:
        """Start to flush on the sender's loop; None when there is nothing to wait for."""
        if self._loop is None:
            raise ClosedError("the outbox has not been opened")
        if self._state not in (OutboxState.CLOSED, OutboxState.BROKEN):
            flushing = self._flush()
            try:
                return asyncio.run_coroutine_threadsafe(flushing, self._loop)
            except RuntimeError:  # the loop was closed
                flushing.close()
        self._backlog.raise_failure()
        return None

    def _fail(self, error: TransportError) -> None:
        self._move(OutboxState.BROKEN)
        self._let_go(error)

    def _let_go(self, failure: TransportError | None = None) -> None:
        """Drop what could not be sent and wake everybody who waits; they find the failure by themselves."""
        self._backlog.end(failure)
        self._lost = self._backlog.appended - self._sent - self._backlog.coalesced
        while self._flushers:
            _resolve(self._flushers.popleft()[1])


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _as_failure(error: BaseException) -> TransportError:
    failure = TransportError(f"the sender stopped: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
