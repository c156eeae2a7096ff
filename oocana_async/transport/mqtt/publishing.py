"""The publishing connection: many messages on their way at once, one write per batch, nothing lost over a reconnect."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import anyio

from oocana_async.channel.futures import resolve
from oocana_async.errors import ClosedError, OocanaError, PacketTooLargeError, ProtocolError, TransportError
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.connection import BrokerConnection, ClientConnection
from oocana_async.transport.mqtt.protocol.packets import Connect
from oocana_async.transport.mqtt.protocol.publisher import Publisher
from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts

__all__ = ["PublishingConnection"]

logger = logging.getLogger(__name__)


class PublishingConnection(ClientConnection):
    """A pipelined MQTT 3.1.1 publisher; use it as an async context manager.

    Args:
        broker: where to connect to.
        client_id: unique on the broker.
        max_messages: messages that may be on their way at once.
        max_bytes: bytes that may be on their way at once.
        keep_alive: seconds between signs of life.
        timeouts: how long to try to connect.
        on_reconnect: called with the number of messages that are sent a second time when the connection stands again
            after it broke; what the broker had taken of them arrives twice.
        on_lost: called once when the broker is gone for good.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        client_id: str,
        max_messages: int = 4096,
        max_bytes: int = 16 * 1024 * 1024,
        keep_alive: int = 60,
        timeouts: ConnectTimeouts | None = None,
        on_reconnect: Callable[[int], None] | None = None,
        on_lost: Callable[[TransportError], None] | None = None,
    ) -> None:
        login = Connect(client_id, keep_alive, True, broker.username, broker.password)
        self._publisher = Publisher(login, max_messages=max_messages, max_bytes=max_bytes)
        self._connection = BrokerConnection(
            self._publisher,
            broker,
            name="publishing connection",
            timeouts=timeouts or ConnectTimeouts(),
            on_event=self._progress,
            on_reconnect=self._reconnected,
            on_lost=self._lost,
        )
        self._on_reconnect = on_reconnect
        self._on_lost = on_lost
        self._resent = 0
        # Both unbounded, one entry per waiting call; drained by _progress() and _lost(), each call withdraws its own.
        self._for_room: deque[asyncio.Future[None]] = deque()
        self._for_cover: deque[tuple[int, asyncio.Future[None]]] = deque()

    # --- publishing ---------------------------------------------------------------------------------------------------

    def publish_nowait(self, batch: Iterable[tuple[str, bytes, int]]) -> None:
        """Take a batch of (topic, payload, QoS) in order and write what the window lets through, in one write.

        Raises:
            ClosedError: After `aclose()`.
            PacketTooLargeError: A message can never travel; all others of the batch are taken.
            ProtocolError: A topic cannot travel; all others of the batch are taken.
            ConnectionLostError: The broker is gone for good.
        """
        self._check("publish")
        fault: PacketTooLargeError | ProtocolError | None = None
        submit = self._publisher.submit
        for topic, payload, qos in batch:
            try:
                submit(topic, payload, qos)
            except (PacketTooLargeError, ProtocolError) as error:
                fault = fault or error
        self._write()
        if fault is not None:
            raise fault

    @property
    def has_room(self) -> bool:
        """Whether a message that is published now travels at once."""
        return not self._publisher.waiting

    async def wait_for_room(self) -> None:
        """Wait until the window has let everything travel that was published.

        Raises:
            ConnectionLostError: The broker is gone for good.
        """
        if self.has_room:
            return
        future = asyncio.get_running_loop().create_future()
        self._for_room.append(future)
        try:
            await future
        finally:
            if future in self._for_room:
                self._for_room.remove(future)

    async def flush(self) -> None:
        """Wait until the broker has acknowledged everything that was published so far; no bound of its own.

        Raises:
            ConnectionLostError: The broker is gone for good.
        """
        if self._connection.failure is not None:
            raise self._connection.failure
        mark = self._publisher.mark()
        self._write()
        if self._publisher.covered_to >= mark:
            return
        future = asyncio.get_running_loop().create_future()
        waiter = (mark, future)
        self._for_cover.append(waiter)
        try:
            await future
        finally:
            if waiter in self._for_cover:
                self._for_cover.remove(waiter)

    def _write(self) -> None:
        connection, publisher = self._connection, self._publisher
        if connection.is_backlogged():
            return
        now = asyncio.get_running_loop().time()
        while data := publisher.data_to_send(now):
            connection.write(data)
            if connection.is_backlogged():
                break
        connection.arm()

    # --- events of the connection -------------------------------------------------------------------------------------

    def _progress(self) -> None:
        """Write what has become possible and wake who waited for it."""
        self._write()
        if self._for_room and not self._publisher.waiting:
            while self._for_room:
                resolve(self._for_room.popleft())
        if self._for_cover:
            covered_to = self._publisher.covered_to
            while self._for_cover and self._for_cover[0][0] <= covered_to:
                resolve(self._for_cover.popleft()[1])

    def _reconnected(self) -> None:
        again, self._resent = self._publisher.resent - self._resent, self._publisher.resent
        if again and self._on_reconnect is not None:
            self._on_reconnect(again)

    def _fail(self, error: OocanaError) -> None:
        waiting = [*self._for_room, *(future for _, future in self._for_cover)]
        self._for_room.clear()
        self._for_cover.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(error)

    # --- closing ------------------------------------------------------------------------------------------------------

    async def aclose(self, timeout: float = 5.0) -> int:
        """Take no more, deliver what was taken, then close; may be called twice.

        Args:
            timeout: seconds to wait for the acknowledgements.

        Returns:
            Messages that the broker has not acknowledged.
        """
        if not self._closed:
            self._closed = True
            try:
                with anyio.fail_after(timeout):
                    await self.flush()
            except TimeoutError:
                logger.warning(
                    "publishing connection: closing with messages that were not acknowledged within %g s", timeout
                )
            except TransportError as error:
                logger.warning("publishing connection: closing with messages that were not acknowledged: %s", error)
            finally:
                self._fail(ClosedError("the connection was closed before the broker took everything"))
                await self._connection.aclose()
        numbers = self._publisher.statistics()
        return int(numbers["submitted"]) - int(numbers["covered_to"])

    def statistics(self) -> Mapping[str, Any]:
        """State and counters, for people."""
        return {**self._publisher.statistics(), **self._connection.statistics()}
