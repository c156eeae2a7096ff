"""Keeps a connection to a broker standing: the first attempt, those after a break, and when to give up."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable

import anyio
import msgspec

from oocana_async.errors import ClosedError, ConnectionLostError, TransportError
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.backoff import Backoff
from oocana_async.transport.mqtt.protocol.client import BrokerRefusedError

__all__ = ["ConnectTimeouts", "Reconnector"]

logger = logging.getLogger(__name__)

_STABLE_AFTER = 1.0  # seconds; a connection that breaks sooner counts as a failed attempt


class ConnectTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long to try.

    Attributes:
        first: seconds to reach the broker for the first time.
        again: seconds to reach it again after the connection broke.
        attempt: seconds for one attempt, login included.
    """

    first: float = 5.0
    again: float = 30.0
    attempt: float = 10.0


class Reconnector:
    """Makes a connection again whenever it breaks, with growing delays, until that fails for too long.

    Owns one task from `open()` to `aclose()`.

    Args:
        serve: makes one connection, calls the function it is given once the connection stands, and raises
            TransportError or OSError when it is over; cancelled when an attempt takes too long, and by `aclose()`.
        broker: where the connection goes, for messages.
        name: names the task and the log lines.
        timeouts: how long to try.
        on_break: called each time when a connection that stood is over.
        on_reconnect: called when the connection stands again after it broke.
        on_lost: called once, when trying is given up after the connection has stood.
    """

    def __init__(
        self,
        serve: Callable[[Callable[[], None]], Awaitable[None]],
        broker: Broker,
        *,
        name: str,
        timeouts: ConnectTimeouts,
        on_break: Callable[[], None] | None = None,
        on_reconnect: Callable[[], None] | None = None,
        on_lost: Callable[[TransportError], None],
    ) -> None:
        self.reconnects = 0
        self.failure: TransportError | None = None
        self._serve = serve
        self._broker = broker
        self._name = name
        self._timeouts = timeouts
        self._on_break = on_break
        self._on_reconnect = on_reconnect
        self._on_lost = on_lost
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None]  # done with the first connection, or with the reason why there is none
        self._attempt: anyio.CancelScope  # of the attempt that is going on
        self._stood_at: float | None = None
        self._closed = False

    async def open(self) -> None:
        """Connect; from then on the connection is kept.

        Waits at most `timeouts.first` seconds. Cancelling it leaves nothing open; after a failure it may be called
        again.

        Raises:
            BrokerRefusedError: The broker does not want this client, and trying again cannot help.
            ConnectionLostError: The broker could not be reached in time.
            ClosedError: After `aclose()`.
        """
        if self._closed:
            raise ClosedError(f"the {self._name} was closed")
        loop = asyncio.get_running_loop()
        self._first = loop.create_future()
        # No task group: it would have to be left by the task that entered it, but who opens a connection need not be
        # who closes it.
        self._task = loop.create_task(self._keep(), name=self._name)
        try:
            await self._first
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._stop()
            raise

    async def aclose(self) -> None:
        """End trying, and cancel `serve`; may be called twice."""
        self._closed = True
        await self._stop()
        if self._task is not None and not self._first.done():
            self._first.set_exception(ClosedError(f"the {self._name} was closed"))

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep(self) -> None:
        try:
            await self._keep_connecting()
        except TransportError as error:
            self._give_up(error)
        except Exception as error:  # noqa: BLE001 - nobody awaits this task, so its error is the end of the connection
            failure = ConnectionLostError(f"the {self._name} failed: {error!r}")
            failure.__cause__ = error
            self._give_up(failure)

    async def _keep_connecting(self) -> None:
        """Connect again and again; raises when that fails for too long."""
        now = asyncio.get_running_loop().time
        within = self._timeouts.first
        backoff = Backoff(now(), give_up_after=within)
        was_first = True
        while True:
            fault = await self._connect_once(min(self._timeouts.attempt, within))
            if self._stood_at is not None:
                logger.warning("%s: connection to %s broke: %s", self._name, self._broker, fault)
                if self._on_break is not None:
                    self._on_break()
                is_stable = now() - self._stood_at >= _STABLE_AFTER
                if is_stable or was_first:
                    within = self._timeouts.again
                    backoff = Backoff(now(), give_up_after=within)
                was_first = False
                if is_stable:
                    continue
            if isinstance(fault, BrokerRefusedError) and fault.permanent:
                raise fault
            if (delay := backoff.delay(now())) is None:
                text = f"cannot reach the broker at {self._broker} within {within:g} s: {str(fault) or 'no answer'}"
                raise ConnectionLostError(text) from fault
            await anyio.sleep(delay)

    async def _connect_once(self, within: float) -> Exception:
        """Be connected as long as that lasts; returns why it ended."""
        self._stood_at = None
        try:
            with anyio.fail_after(within) as self._attempt:
                await self._serve(self._stands)
        except (OSError, TransportError) as error:
            return error
        return ConnectionLostError("the broker closed the connection")

    def _stands(self) -> None:
        """Note that the connection stands: it may last as long as it likes."""
        self._attempt.deadline = math.inf
        self._stood_at = asyncio.get_running_loop().time()
        if not self._first.done():
            self._first.set_result(None)
            return
        self.reconnects += 1
        logger.info("%s: connected again to %s", self._name, self._broker)
        if self._on_reconnect is not None:
            self._on_reconnect()

    def _give_up(self, error: TransportError) -> None:
        if not self._first.done():
            self._first.set_exception(error)
            return
        logger.error("%s: %s", self._name, error)
        self.failure = error
        self._on_lost(error)
