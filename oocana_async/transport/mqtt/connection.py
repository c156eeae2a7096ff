"""One connection to a broker: drives a client machine over byte streams; all I/O of the machine passes here."""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast

import anyio

from oocana_async.channel.futures import resolve
from oocana_async.errors import ClosedError, ConnectionLostError, OocanaError, TransportError
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.protocol.client import ClientMachine
from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts, Reconnector

__all__ = ["BrokerConnection", "ClientConnection"]

_HIGH_WATER = 256 * 1024
_CLOSE_WITHIN = 1.0  # seconds for the last bytes to leave


class _ByteStream(asyncio.Protocol):
    """Hands the events of one byte stream to the connection, as long as it is the connection's current one.

    A protocol of asyncio, not a stream of anyio: every task and every wake-up between socket and machine would be paid
    once per message (a stream of anyio has two of them for each read).
    """

    def __init__(self, connection: BrokerConnection) -> None:
        self._connection = connection
        self.now = asyncio.get_running_loop().time
        self.transport: asyncio.Transport | None = None
        self.accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed = anyio.Event()
        self.paused = False
        self.fault: OSError | TransportError | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_HIGH_WATER)
        if (sock := transport.get_extra_info("socket")) is not None:
            # Nagle's algorithm would hold small packets back until the last one is acknowledged, 40 ms later.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.stream_opened(self)

    def data_received(self, data: bytes) -> None:
        self._connection.stream_received(self, data)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._connection.stream_resumed(self)

    def fail(self, fault: TransportError) -> None:
        """End the stream because of a fault of the peer or of the connection."""
        self.fault = self.fault or fault
        self.abort()

    def abort(self) -> None:
        """End the stream at once; what has not been written is lost."""
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.fault = self.fault or _as_fault(exc)
        if not self.accepted.done():
            self.accepted.set_exception(self.fault)
            self.accepted.exception()  # seen, whether somebody still waits for it or not
        self.closed.set()
        self._connection.stream_closed(self)


class BrokerConnection:
    """Keeps a client machine connected; everything runs on the loop that called `open()`.

    What it does: opens a byte stream whenever the machine has none, carries bytes both ways, calls the machine at its
    deadlines. What it will not do: look into the bytes, or hold any back; who writes asks `is_backlogged()` first.

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
        self._machine = machine
        self._on_event = on_event
        self._on_reconnect = on_reconnect
        self._reconnector = Reconnector(
            self._serve, broker, name=name, timeouts=timeouts, on_reconnect=self._connected_again, on_lost=on_lost
        )
        self._stream: _ByteStream | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def failure(self) -> TransportError | None:
        """Why trying was given up, None as long as it was not."""
        return self._reconnector.failure

    # --- opening ------------------------------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Connect and log in; the connection is kept from then on, see `Reconnector.open()` for waiting and errors."""
        await self._reconnector.open()
        return self

    async def _serve(self, stands: Callable[[], None]) -> None:
        """Open a stream and log in; ends with the fault that ends the stream.

        Cancelled after the login, it leaves the stream to `aclose()`, which says goodbye on it.
        """
        stream = _ByteStream(self)
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: stream, self.broker.host, self.broker.port, ssl=self.broker.tls
            )
            await stream.accepted
        except BaseException:
            await self._abandon(stream)
            raise
        stands()
        await stream.closed.wait()
        raise stream.fault or _as_fault(None)

    @staticmethod
    async def _abandon(stream: _ByteStream) -> None:
        if stream.transport is not None and not stream.closed.is_set():
            stream.abort()
            with anyio.CancelScope(shield=True):  # the next attempt must not meet the end of this one
                await stream.closed.wait()

    def _connected_again(self) -> None:
        self._on_reconnect()
        self._on_event()

    # --- the stream ---------------------------------------------------------------------------------------------------

    def stream_opened(self, stream: _ByteStream) -> None:
        """Introduce the client on a fresh stream."""
        self._stream = stream
        self.write(self._machine.connect(stream.now()))

    def stream_received(self, stream: _ByteStream, data: bytes) -> None:
        """Hand bytes to the machine and write its answer."""
        if stream is not self._stream:
            return
        try:
            answer = self._machine.receive(data, stream.now())
        except TransportError as error:
            stream.fail(error)
            return
        self.write(answer)
        if self._machine.connected:
            resolve(stream.accepted)
        self._on_event()
        self.arm()

    def stream_resumed(self, stream: _ByteStream) -> None:
        """Go on writing."""
        if stream is self._stream:
            self._on_event()

    def stream_closed(self, stream: _ByteStream) -> None:
        """Note the end of the current stream."""
        if stream is not self._stream:
            return
        self._stream = None
        self._machine.connection_lost()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def is_backlogged(self) -> bool:
        """Say whether bytes that are written now would pile up, or have nowhere to go."""
        return self._stream is None or self._stream.paused

    def write(self, data: bytes) -> None:
        """Write bytes to the current stream; the one place where bytes leave."""
        if data and self._stream is not None and self._stream.transport is not None:
            self._stream.transport.write(data)

    # --- time ---------------------------------------------------------------------------------------------------------

    def arm(self) -> None:
        """See to it that the machine is called at its deadline.

        A deadline moves on with each message; a timer that is early re-arms itself, which costs less than a new timer
        for each message.
        """
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
            self.write(self._machine.on_time(self._stream.now()))
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
        await self._reconnector.aclose()
        stream = self._stream
        self.write(self._machine.disconnect())
        if stream is None or stream.transport is None:
            return
        stream.transport.close()
        try:
            with anyio.move_on_after(_CLOSE_WITHIN):
                await stream.closed.wait()
        finally:
            await self._abandon(stream)

    def statistics(self) -> dict[str, Any]:
        """Counters, for people."""
        reconnects = self._reconnector.reconnects
        return {"broker": str(self.broker), "connected": self._machine.connected, "reconnects": reconnects}


class ClientConnection(ABC):
    """What publishing and subscribing connection share: being opened and left, and what they say after the end."""

    _connection: BrokerConnection
    _on_lost: Callable[[TransportError], None] | None
    _closed = False

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def open(self) -> Self:
        """Connect and log in.

        Raises:
            ConnectionLostError: The broker refused the login or could not be reached in time.
        """
        await self._connection.open()
        return self

    @abstractmethod
    async def aclose(self) -> object:
        """Close the connection; may be called twice."""

    @abstractmethod
    def _fail(self, error: OocanaError) -> None:
        """Let everybody who waits for the broker have an error."""

    def _check(self, use: str) -> None:
        if self._connection.failure is not None:
            raise self._connection.failure
        if self._closed:
            raise ClosedError(f"{use} after the connection was closed")

    def _lost(self, error: TransportError) -> None:
        self._fail(error)
        if self._on_lost is not None:
            self._on_lost(error)


def _as_fault(error: Exception | None) -> OSError | TransportError:
    """Return why a stream has ended as an error after which it is worth to connect again."""
    if isinstance(error, (OSError, TransportError)):
        return error
    fault = ConnectionLostError(
        "the broker closed the connection" if error is None else f"the connection failed: {error!r}"
    )
    fault.__cause__ = error
    return fault
