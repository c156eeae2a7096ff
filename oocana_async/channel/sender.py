"""The sender: the one coroutine that drains a channel into a transport, in batches and in order."""

from __future__ import annotations

import asyncio
import concurrent.futures
import enum
import logging
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol, Self

from oocana_async.channel.channel import Channel
from oocana_async.channel.futures import resolve
from oocana_async.channel.loop_calls import LoopCalls
from oocana_async.errors import ClosedError, PacketTooLargeError, StateError, TransportError
from oocana_async.wire.envelope import Outgoing

__all__ = ["Outlet", "Sender", "SenderState", "SenderStatistics"]

logger = logging.getLogger(__name__)

BATCH_MESSAGES = 1024
"""Messages that the transport gets at once, at most."""

TURN_MESSAGES = 256
"""Messages after which everybody else on the loop has a turn."""


class SenderState(enum.Enum):
    """Life of a sender."""

    NEW = "new"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    BROKEN = "broken"


_MOVES = {
    SenderState.NEW: (SenderState.OPEN, SenderState.CLOSED),
    SenderState.OPEN: (SenderState.CLOSING, SenderState.BROKEN),
    SenderState.CLOSING: (SenderState.CLOSED, SenderState.BROKEN),
    SenderState.BROKEN: (SenderState.CLOSED,),
    SenderState.CLOSED: (),
}


class Outlet(Protocol):
    """What the sender drains the channel into; every transport is one."""

    async def publish(self, batch: Sequence[Outgoing]) -> None:
        """Take a batch in order; see `Transport.publish`."""

    def publish_many_nowait(self, batch: Sequence[Outgoing]) -> bool:
        """Take a batch at once, or nothing of it; see `Transport.publish_many_nowait`."""

    async def flush(self) -> None:
        """Wait until everything that was published so far has been acknowledged."""


class SenderStatistics(NamedTuple):
    """What a sender has done.

    Attributes:
        state: name of the state.
        sent: messages handed to the transport.
        lost: messages that were in the channel and could not be sent.
    """

    state: str
    sent: int
    lost: int


class Sender:
    """Drains a channel from entering to `aclose()`; whoever sends needs the channel alone.

    Args:
        channel: it is drained from the loop that enters the sender, and ends with the sender.
        outlet: what the batches are handed to.
    """

    def __init__(self, channel: Channel, outlet: Outlet) -> None:
        self._channel = channel
        self._outlet = outlet
        self._state = SenderState.NEW
        self._sent = self._lost = 0
        self._since_turn = 0  # messages since the others on the loop had their turn
        self._passed = 0  # places of the channel that are done with, those of replaced messages too
        # One entry per waiting flush(), in the order of their places; resolved by the sender.
        self._flushes: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_calls: LoopCalls | None = None
        self._wake = asyncio.Event()
        self._is_idle = False
        # What was taken for an outlet that could not take it at once; goes out before all else.
        self._refused: list[Outgoing | None] = []
        self._task: asyncio.Task[None] | None = None

    # -- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start to drain, on the running loop."""
        self._move(SenderState.OPEN)
        self._loop = asyncio.get_running_loop()
        self._loop_calls = LoopCalls.of_running_loop()
        self._channel.start(self._wake_up)
        # Not a task group: that would have to be left by the task that entered it, and in its scope of cancellation,
        # while aclose() is called by whoever ends the executor, and has to deliver what is queued first.
        self._task = asyncio.create_task(self._run(), name="oocana-sender")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let the channel take nothing more, send what is in it, then stop; may be called twice.

        Cancelling it stops the sender at once and drops what is still queued.
        """
        self._channel.close()
        if self._state in (SenderState.NEW, SenderState.BROKEN):
            self._move(SenderState.CLOSED)
            self._let_go()
        elif self._state is SenderState.OPEN:
            self._move(SenderState.CLOSING)
            self._wake.set()
        if self._task is not None:
            try:
                await asyncio.wait([self._task])
            except asyncio.CancelledError:
                self._task.cancel()
                raise

    def _move(self, state: SenderState) -> None:
        permitted = _MOVES[self._state]
        if state not in permitted:
            names = " or ".join(one.value for one in permitted) or "nothing else"
            raise StateError(f"a sender that is {self._state.value} cannot become {state.value}, only {names}")
        self._state = state

    # -- waiting for what was sent ------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Wait, on any loop, until everything that is in the channel now has been acknowledged.

        Cancelling it withdraws no message.

        Raises:
            ClosedError: The sender was never opened.
            TransportError: The connection is gone for good.
        """
        if self._loop is asyncio.get_running_loop():
            await self._flush()
        elif (future := self._flush_from_elsewhere()) is not None:
            await asyncio.wrap_future(future)

    def flush_blocking(self, timeout: float | None = None) -> bool:
        """Block the calling thread until everything that is in the channel now has been acknowledged.

        Args:
            timeout: seconds, None for no limit.

        Returns:
            False when the time was over first.

        Raises:
            ClosedError: The sender was never opened.
            StateError: The calling thread is the sender's own and cannot wait for itself.
            TransportError: The connection is gone for good.
        """
        if self._channel.is_sender_thread:
            raise StateError("the sender's own thread cannot block until the sender is done; await flush() instead")
        future = self._flush_from_elsewhere()
        if future is None:
            return True
        try:
            future.result(timeout)
        except TimeoutError:
            if future.done():  # the flush itself failed so
                raise
            future.cancel()
            return False
        return True

    def statistics(self) -> SenderStatistics:
        """Return the state and the counters."""
        return SenderStatistics(self._state.value, self._sent, self._lost)

    async def _flush(self) -> None:
        goal = self._channel.position()
        if self._passed < goal and self._task is not None and not self._task.done():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._flushes.append((goal, future))
            await future
        self._channel.raise_failure()
        if self._state in (SenderState.OPEN, SenderState.CLOSING):
            await self._outlet.flush()

    def _flush_from_elsewhere(self) -> concurrent.futures.Future[None] | None:
        """Start to flush on the sender's loop; None when there is nothing to wait for."""
        if self._loop is None:
            raise ClosedError("the sender has not been opened")
        if self._state not in (SenderState.CLOSED, SenderState.BROKEN):
            flushing = self._flush()
            try:
                return asyncio.run_coroutine_threadsafe(flushing, self._loop)
            except RuntimeError:  # the loop was closed
                flushing.close()
        self._channel.raise_failure()
        return None

    # -- draining, on the sender's loop -------------------------------------------------------------------------

    def _wake_up(self) -> None:
        """Let the sender look into the channel; from any thread."""
        if self._loop_calls is not None:
            self._loop_calls.post_nowait(self._send_at_once)

    def _send_at_once(self) -> None:
        """Hand over what waits in this turn of the loop, if the outlet takes it so; the rest is the task's.

        Within one process this saves the task its turn, which is most of what a message costs there.
        """
        passed = 0 if self._is_idle and self._state is SenderState.OPEN else TURN_MESSAGES
        while not self._refused and passed < TURN_MESSAGES:
            queue = self._channel.take()
            if not queue:
                return
            batch = [message for message in queue if message is not None]
            if len(queue) > TURN_MESSAGES or not self._outlet.publish_many_nowait(batch):
                self._refused = queue
                break
            passed += len(queue)
            self._sent += len(batch)
            self._note_passed(len(queue))
            self._channel.give_back()
        self._wake.set()

    async def _run(self) -> None:
        try:
            while await self._work():
                pass
        except TransportError as error:
            self._fail(error)
        except Exception as error:  # whatever a transport raises, those who wait must hear of it
            logger.exception("the sender stopped")
            self._fail(_as_failure(error))
        except BaseException as error:
            self._fail(_as_failure(error))
            raise

    async def _work(self) -> bool:
        """Send what waits, or wait for something; False when the sender has closed."""
        queue, self._refused = self._refused or self._channel.take(), []
        if queue:
            await self._send(queue)
            self._channel.give_back()
        elif self._state is SenderState.CLOSING:
            await self._outlet.flush()
            self._move(SenderState.CLOSED)
            self._let_go()
            return False
        else:
            self._is_idle = True
            await self._wake.wait()
            self._is_idle = False
            self._wake.clear()
        return True

    async def _send(self, queue: list[Outgoing | None]) -> None:
        """Hand over all messages of a list, some at a time; those that were sent leave the list."""
        for start in range(0, len(queue), BATCH_MESSAGES):
            part = queue[start : start + BATCH_MESSAGES]
            queue[start : start + BATCH_MESSAGES] = [None] * len(part)  # what was sent need not stay in memory
            batch = [message for message in part if message is not None]
            if batch:
                await self._publish(batch)
            self._note_passed(len(part))
            self._since_turn += len(part)
            del part, batch
            if self._since_turn >= TURN_MESSAGES:
                # The memory transport never waits: without this the readers on this loop would get no turn to take
                # what was published, and all of it would pile up in their subscriptions.
                self._since_turn = 0
                await asyncio.sleep(0)

    def _note_passed(self, count: int) -> None:
        self._passed += count
        while self._flushes and self._flushes[0][0] <= self._passed:
            resolve(self._flushes.popleft()[1])

    async def _publish(self, batch: list[Outgoing]) -> None:
        try:
            await self._outlet.publish(batch)
        except PacketTooLargeError as error:  # all others were taken
            logger.error("a message was dropped: %s", error)
            self._lost += 1
            self._sent -= 1
        self._sent += len(batch)

    # -- the end ------------------------------------------------------------------------------------------------

    def _fail(self, error: TransportError) -> None:
        self._move(SenderState.BROKEN)
        self._let_go(error)

    def _let_go(self, failure: TransportError | None = None) -> None:
        """Drop what could not be sent and wake everybody who waits; they find the failure by themselves."""
        self._channel.end(failure)
        found = self._channel.statistics()
        self._lost = found.appended - found.coalesced - self._sent
        while self._flushes:
            resolve(self._flushes.popleft()[1])


def _as_failure(error: BaseException) -> TransportError:
    failure = TransportError(f"the sender stopped: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
