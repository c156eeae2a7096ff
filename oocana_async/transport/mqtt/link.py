"""One connection to a broker that is opened again when it breaks; all I/O of a client machine passes here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any, Self, cast

import msgspec

from oocana_async.errors import ClosedError, ConnectionLostError, TransportError
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.backoff import Backoff
from oocana_async.transport.mqtt.client import BrokerRefusedError, ClientMachine

__all__ = ["Link", "Patience"]

logger = logging.getLogger(__name__)

_HIGH_WATER = 256 * 1024
_STABLE_AFTER = 1.0  # seconds; a connection that breaks sooner counts as a failed attempt
_CLOSE_WITHIN = 1.0  # seconds for the last bytes to leave


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long to try.

    Attributes:
        first: seconds to reach the broker for the first time.
        again: seconds to reach it again after the connection broke.
        attempt: seconds for one attempt, login included.
    """

    first: float = 5.0
    again: float = 30.0
    attempt: float = 10.0


class _Wire(asyncio.Protocol):
    """Hands the events of one byte stream to the link, as long as it is the link's current one."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.accepted: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.paused = False
        self.fault: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_HIGH_WATER)
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._link.stream_opened(self)

    def data_received(self, data: bytes) -> None:
        self._link.stream_received(self, data)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._link.stream_resumed(self)

    def fail(self, fault: Exception) -> None:
        """End the stream because of a fault of the peer or of the connection."""
        self.fault = self.fault or fault
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.fault = self.fault or exc or ConnectionLostError("the broker closed the connection")
        if not self.accepted.done():
            self.accepted.set_exception(self.fault)
            self.accepted.exception()  # seen, whether somebody still waits for it or not
        self.closed.set_result(None)
        self._link.stream_closed(self)


class Link:
    """Keeps a client machine connected.

    Owns one task while it is open, which opens the connection again; `aclose()` ends it. Everything runs on the loop
    that called `open()`.

    Args:
        machine: the client machine to drive.
        broker: where to connect to.
        name: names the task and the log lines.
        patience: how long to try.
        on_event: called after each event that may have changed the machine or made room for writing; must not raise.
        on_reconnect: called when the connection stands again after it broke.
        on_lost: called once, when trying is given up.
    """

    def __init__(
        self,
        machine: ClientMachine,
        broker: Broker,
        *,
        name: str,
        patience: Patience,
        on_event: Callable[[], None],
        on_reconnect: Callable[[], None],
        on_lost: Callable[[TransportError], None],
    ) -> None:
        self.broker = broker
        self.name = name
        self.reconnects = 0
        self.failure: TransportError | None = None
        self._machine = machine
        self._patience = patience
        self._on_event = on_event
        self._on_reconnect = on_reconnect
        self._on_lost = on_lost
        self._wire: _Wire | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._broken = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._opened_at = 0.0
        self._closed = False

    # --- opening ------------------------------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Connect and log in; the link keeps itself connected from then on.

        Waits at most `patience.first` seconds. Cancelling it leaves nothing open.

        Raises:
            BrokerRefusedError: The broker does not want this client, and trying again cannot help.
            ConnectionLostError: The broker could not be reached in time.
        """
        if self._closed:
            raise ClosedError(f"{self.name} was closed")
        loop = asyncio.get_running_loop()
        await self._connect(Backoff(loop.time(), give_up_after=self._patience.first), self._patience.first)
        self._keeper = loop.create_task(self._keep(), name=f"{self.name} keeper")
        return self

    async def _connect(self, backoff: Backoff, within: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                return await self._attempt(min(self._patience.attempt, within))
            except BrokerRefusedError as error:
                if error.permanent:
                    raise
                fault: Exception = error
            except (OSError, TransportError, asyncio.IncompleteReadError) as error:
                fault = error
            delay = backoff.delay(loop.time())
            if delay is None:
                what = str(fault) or "no answer"
                raise ConnectionLostError(
                    f"cannot reach the broker at {self.broker} within {within:g} s: {what}"
                ) from fault
            await asyncio.sleep(delay)

    async def _attempt(self, within: float) -> None:
        loop = asyncio.get_running_loop()
        wire = _Wire(self)
        try:
            async with asyncio.timeout(within):
                await loop.create_connection(lambda: wire, self.broker.host, self.broker.port, ssl=self.broker.tls)
                await wire.accepted
        except BaseException:
            if wire.transport is not None:
                wire.transport.abort()
                await wire.closed
            raise
        self._opened_at = loop.time()
        self._broken.clear()
        if wire.closed.done():  # accepted and closed in one go
            self._broken.set()

    async def _keep(self) -> None:
        """Open the connection again whenever it breaks, until that fails for too long."""
        loop = asyncio.get_running_loop()
        backoff = None
        while True:
            await self._broken.wait()
            if backoff is None or loop.time() - self._opened_at >= _STABLE_AFTER:
                backoff = Backoff(loop.time(), give_up_after=self._patience.again)
            elif (delay := backoff.delay(loop.time())) is not None:
                await asyncio.sleep(delay)
            try:
                await self._connect(backoff, self._patience.again)
            except TransportError as error:
                self._give_up(error)
                return
            self.reconnects += 1
            logger.info("%s: connected again to %s", self.name, self.broker)
            self._on_reconnect()
            self._on_event()

    def _give_up(self, error: TransportError) -> None:
        logger.error("%s: %s", self.name, error)
        self.failure = error
        self._on_lost(error)

    # --- the stream ---------------------------------------------------------------------------------------------------

    def stream_opened(self, wire: _Wire) -> None:
        """Introduce the client on a fresh stream."""
        self._wire = wire
        self.write(self._machine.connect(wire._loop.time()))  # noqa: SLF001 - two halves of one thing

    def stream_received(self, wire: _Wire, data: bytes) -> None:
        """Hand bytes to the machine and write its answer."""
        if wire is not self._wire:
            return
        try:
            answer = self._machine.receive(data, wire._loop.time())  # noqa: SLF001 - two halves of one thing
        except TransportError as error:
            wire.fail(error)
            return
        self.write(answer)
        if self._machine.connected and not wire.accepted.done():
            wire.accepted.set_result(None)
        self._on_event()
        self.arm()

    def stream_resumed(self, wire: _Wire) -> None:
        """Go on writing."""
        if wire is self._wire:
            self._on_event()

    def stream_closed(self, wire: _Wire) -> None:
        """Note the end of the current stream and wake the keeper."""
        if wire is not self._wire:
            return
        self._wire = None
        self._machine.connection_lost()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._closed and wire.accepted.exception() is None:
            logger.warning("%s: connection to %s broke: %s", self.name, self.broker, wire.fault)
        self._broken.set()

    def is_backlogged(self) -> bool:
        """Say whether bytes that are written now would pile up, or have nowhere to go."""
        return self._wire is None or self._wire.paused

    def write(self, data: bytes) -> None:
        """Write bytes to the current stream; the one place where bytes leave."""
        if data and self._wire is not None and self._wire.transport is not None:
            self._wire.transport.write(data)

    # --- time ---------------------------------------------------------------------------------------------------------

    def arm(self) -> None:
        """See to it that the machine is called at its deadline; a timer that is early re-arms itself."""
        deadline = self._machine.deadline()
        if deadline is None or self._wire is None:
            return
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._wire is None:
            return
        try:
            self.write(self._machine.on_time(asyncio.get_running_loop().time()))
        except TransportError as error:
            self._wire.fail(error)
            return
        self.arm()

    # --- closing ------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Say goodbye and close; may be called twice. Waits at most a second for the last bytes to leave."""
        if self._closed:
            return
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        wire = self._wire
        self.write(self._machine.disconnect())
        if wire is None or wire.transport is None:
            return
        wire.transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_WITHIN):
                await asyncio.shield(wire.closed)
        if not wire.closed.done():
            wire.transport.abort()
            await wire.closed

    def statistics(self) -> dict[str, Any]:
        """Counters, for people."""
        return {"broker": str(self.broker), "connected": self._machine.connected, "reconnects": self.reconnects}
