"""The publishing connection behind the pacing: asks it what may go, sends that, keeps its time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

import anyio

from oocana_async.channel.futures import resolve
from oocana_async.errors import TransportError
from oocana_async.transport.mqtt.publishing import PublishingConnection
from oocana_async.transport.pacing.decisions import Pacing
from oocana_async.transport.pacing.notices import Notice
from oocana_async.wire.envelope import Outgoing, Publication

__all__ = ["PacedPublisher"]

logger = logging.getLogger(__name__)


class PacedPublisher:
    """Publishes through a connection at the pace that a pacing allows.

    Args:
        publishing: an open connection; whoever made it closes it.
        pacing: what decides.
        on_notice: called with what the user should hear of.
    """

    def __init__(
        self, publishing: PublishingConnection, pacing: Pacing, *, on_notice: Callable[[Notice], None]
    ) -> None:
        self._publishing = publishing
        self._pacing = pacing
        self._on_notice = on_notice
        self._failure: TransportError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None
        self._stopped = False
        # Unbounded, one entry per waiting call; drained by _pump() and fail(), each call withdraws its own.
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def publish(self, batch: Sequence[Outgoing]) -> None:
        """Take a batch in order; waits while messages are held by the pacing or by the window of the connection.

        Cancelling it withdraws nothing: the whole batch has been taken.
        """
        self._pacing.submit(batch, self._now())
        self._pump()
        while self._pacing.held:
            await self._wait()
        await self._publishing.wait_for_room()

    async def flush(self) -> None:
        """Wait until nothing is held and the broker has acknowledged everything."""
        while self._pacing.held:
            await self._wait()
        await self._publishing.flush()

    async def drain(self, within: float) -> None:
        """Give the engine some seconds to take what is held, then send the rest as it is."""
        try:
            with anyio.fail_after(within):
                while self._pacing.held:
                    await self._wait()
        except TimeoutError:
            logger.warning("closing with %d messages that the engine had no room for", self._pacing.held)
        except TransportError:
            return
        if self._failure is None:
            self._send(self._pacing.release(self._now()))
            self._wake()

    async def _wait(self) -> None:
        """Return when nothing is held any more."""
        if self._failure is not None:
            raise self._failure
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        finally:
            if future in self._waiting:
                self._waiting.remove(future)

    def pump_later(self) -> None:
        """Ask the pacing once after all that arrived together has been looked at."""
        if self._soon is None and not self._stopped:
            self._soon = asyncio.get_running_loop().call_soon(self._pump_from_event)

    def _pump(self) -> None:
        """Send what may go, pass on notices, wake who waited, set the clock for the next deadline."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        publications = self._pacing.take(self._now())
        for notice in self._pacing.notices():
            self._on_notice(notice)
        self._arm()
        if not self._pacing.held:
            self._wake()
        if publications:
            self._publishing.publish_nowait(publications)

    def _wake(self) -> None:
        while self._waiting:
            resolve(self._waiting.popleft())

    def _pump_from_event(self) -> None:
        """Pump when nobody is there to take an error."""
        try:
            self._pump()
        except TransportError as error:
            self._complain(error)

    def _send(self, publications: list[Publication]) -> None:
        try:
            self._publishing.publish_nowait(publications)
        except TransportError as error:
            self._complain(error)

    def _complain(self, error: TransportError) -> None:
        if self._failure is None:
            logger.error("a message was lost: %s", error)

    def _arm(self) -> None:
        deadline = self._pacing.next_deadline()
        if deadline is None or self._stopped:
            return
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return  # it will fire early and arm itself again
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._pacing.on_time(self._now())
        self._pump_from_event()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def fail(self, error: TransportError) -> None:
        """Let everything that waits end with an error, now and later."""
        self._failure = error
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)

    def stop(self) -> None:
        """Look at the clock and at events no more; may be called twice."""
        self._stopped = True
        for handle in (self._timer, self._soon):
            if handle is not None:
                handle.cancel()
        self._timer = self._soon = None
