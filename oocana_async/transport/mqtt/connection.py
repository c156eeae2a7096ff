"""One connection to a broker that is opened again when it breaks; all I/O of a client machine passes here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any, Self, cast

from oocana_async.errors import ClosedError, ConnectionLostError, TransportError
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.backoff import Backoff
from oocana_async.transport.mqtt.client import BrokerRefusedError, ClientMachine
from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts

__all__ = ["BrokerConnection"]

logger = logging.getLogger(__name__)

_HIGH_WATER = 256 * 1024
_STABLE_AFTER = 1.0  # seconds; a connection that breaks sooner counts as a failed attempt
_CLOSE_WITHIN = 1.0  # seconds for the last bytes to leave


class _ByteStream(asyncio.Protocol):
    """Hands the events of one byte stream to the connection, as long as it is the connection's current one."""

    def __init__(self, connection: BrokerConnection) -> None:
        self._connection = connection
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
        self._connection.stream_opened(self)

    def data_received(self, data: bytes) -> None:
        self._connection.stream_received(self, data)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._connection.stream_resumed(self)

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
        self._connection.stream_closed(self)


class BrokerConnection:
    """Keeps a client machine connected.

    Owns one task while it is open, which opens the connection again; `aclose()` ends it. Everything runs on the loop
    that called `open()`.

    Args:
        machine: the client machine to drive.
        broker: where to connect to.
        name: names the task and the log lines.
        timeouts: how long to try.
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
        timeouts: ConnectTimeouts,
        on_event: Callable[[], None],
        on_reconnect: Callable[[], None],
        on_lost: Callable[[TransportError], None],
    ) -> None:
        self.broker = broker
        self.name = name
        self.reconnects = 0
        self.failure: TransportError | None = None
        self._machine = machine
        self._timeouts = timeouts
        self._on_event = on_event
        self._on_reconnect = on_reconnect
        self._on_lost = on_lost
        self._stream: _ByteStream | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._broken = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._opened_at = 0.0
        self._closed = False

    # --- opening ------------------------------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Connect and log in; the connection keeps itself connected from then on.

        Waits at most `timeouts.first` seconds. Cancelling it leaves nothing open.

        Raises:
            BrokerRefusedError: The broker does not want this client, and trying again cannot help.
            ConnectionLostError: The broker could not be reached in time.
        """
        if self._closed:
            raise ClosedError(f"{self.name} was closed")
        loop = asyncio.get_running_loop()
        await self._connect(Backoff(loop.time(), give_up_after=self._timeouts.first), self._timeouts.first)
        self._keeper = loop.create_task(self._keep(), name=f"{self.name} keeper")
        return self

    async def _connect(self, backoff: Backoff, within: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                return await self._attempt(min(self._timeouts.attempt, within))
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
        stream = _ByteStream(self)
        try:
            async with asyncio.timeout(within):
                await loop.create_connection(lambda: stream, self.broker.host, self.broker.port, ssl=self.broker.tls)
                await stream.accepted
        except BaseException:
            if stream.transport is not None:
                stream.transport.abort()
                await stream.closed
            raise
        self._opened_at = loop.time()
        self._broken.clear()
        if stream.closed.done():  # accepted and closed in one go
            self._broken.set()

    async def _keep(self) -> None:
        """Open the connection again whenever it breaks, until that fails for too long."""
        loop = asyncio.get_running_loop()
        backoff = None
        while True:
            await self._broken.wait()
            if backoff is None or loop.time() - self._opened_at >= _STABLE_AFTER:
                backoff = Backoff(loop.time(), give_up_after=self._timeouts.again)
            elif (delay := backoff.delay(loop.time())) is not None:
                await asyncio.sleep(delay)
            try:
                await self._connect(backoff, self._timeouts.again)
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

    def stream_opened(self, stream: _ByteStream) -> None:
        """Introduce the client on a fresh stream."""
        self._stream = stream
        self.write(self._machine.connect(stream._loop.time()))  # noqa: SLF001 - two halves of one thing

    def stream_received(self, stream: _ByteStream, data: bytes) -> None:
        """Hand bytes to the machine and write its answer."""
        if stream is not self._stream:
            return
        try:
            answer = self._machine.receive(data, stream._loop.time())  # noqa: SLF001 - two halves of one thing
        except TransportError as error:
            stream.fail(error)
            return
        self.write(answer)
        if self._machine.connected and not stream.accepted.done():
            stream.accepted.set_result(None)
        self._on_event()
        self.arm()

    def stream_resumed(self, stream: _ByteStream) -> None:
        """Go on writing."""
        if stream is self._stream:
            self._on_event()

    def stream_closed(self, stream: _ByteStream) -> None:
        """Note the end of the current stream and wake the keeper."""
        if stream is not self._stream:
            return
        self._stream = None
        self._machine.connection_lost()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._closed and stream.accepted.exception() is None:
            logger.warning("%s: connection to %s broke: %s", self.name, self.broker, stream.fault)
        self._broken.set()

    def is_backlogged(self) -> bool:
        """Say whether bytes that are written now would pile up, or have nowhere to go."""
        return self._stream is None or self._stream.paused

    def write(self, data: bytes) -> None:
        """Write bytes to the current stream; the one place where bytes leave."""
        if data and self._stream is not None and self._stream.transport is not None:
            self._stream.transport.write(data)

    # --- time ---------------------------------------------------------------------------------------------------------

    def arm(self) -> None:
        """See to it that the machine is called at its deadline; a timer that is early re-arms itself."""
        deadline = self._machine.deadline()
        if deadline is None or self._stream is None:
            return
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._stream is None:
            return
        try:
            self.write(self._machine.on_time(asyncio.get_running_loop().time()))
        except TransportError as error:
            self._stream.fail(error)
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
        stream = self._stream
        self.write(self._machine.disconnect())
        if stream is None or stream.transport is None:
            return
        stream.transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_WITHIN):
                await asyncio.shield(stream.closed)
        if not stream.closed.done():
            stream.transport.abort()
            await stream.closed

    def statistics(self) -> dict[str, Any]:
        """Counters, for people."""
        return {"broker": str(self.broker), "connected": self._machine.connected, "reconnects": self.reconnects}
