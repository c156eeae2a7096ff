"""A subscribing connection for busy topics: what is not wanted is thrown away before anything is decoded.

`report` carries the echo of all that every session does, so it gets a connection of its own at QoS 0. The jobs of all
sessions come this way at QoS 1, and the session topic while a child block runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from oocana_async.errors import ClosedError, OocanaError, TransportError
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.connection import BrokerConnection, ClientConnection
from oocana_async.transport.mqtt.protocol.packets import Connect
from oocana_async.transport.mqtt.protocol.subscriber import Subscriber
from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts

__all__ = ["SubscribingConnection"]


class SubscribingConnection(ClientConnection):
    """Subscribes, and hands over what passes its filter; use it as an async context manager.

    Args:
        broker: where to connect to.
        client_id: unique on the broker.
        deliver: called with topic and payload of each wanted message, in their order, on the loop; must not raise.
        wanted: looks at the bytes of a payload and says whether to deliver it, None to deliver all.
        keep_alive: seconds between signs of life.
        timeouts: how long to try to connect.
        on_reconnect: called when the connection stands again after it broke; messages in between are missing.
        on_lost: called once when the broker is gone for good.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        client_id: str,
        deliver: Callable[[str, bytes], None],
        wanted: Callable[[bytes], bool] | None = None,
        keep_alive: int = 60,
        timeouts: ConnectTimeouts | None = None,
        on_reconnect: Callable[[], None] | None = None,
        on_lost: Callable[[TransportError], None] | None = None,
    ) -> None:
        self._subscriber = Subscriber(Connect(client_id, keep_alive, True, broker.username, broker.password))
        self._connection = BrokerConnection(
            self._subscriber,
            broker,
            name="subscribing connection",
            timeouts=timeouts or ConnectTimeouts(),
            on_event=self._progress,
            on_reconnect=on_reconnect or _nothing,
            on_lost=self._lost,
        )
        self._deliver = deliver
        self._wanted = wanted
        self._on_lost = on_lost
        self._delivered = 0
        # Unbounded, one entry per waiting subscribe(); drained by _progress() and _lost(), each call withdraws its own.
        self._waiting: dict[asyncio.Future[None], Mapping[str, int]] = {}

    async def subscribe(self, filters: Mapping[str, int]) -> None:
        """Subscribe to topic filters, each with its QoS; returns when the broker has granted them.

        Waits as long as the connection is kept up. When cancelled the subscription may come into force nevertheless.

        Raises:
            ClosedError: After `aclose()`.
            ProtocolError: The broker refused a filter.
            ConnectionLostError: The broker is gone for good.
        """
        self._check("subscribe")
        loop = asyncio.get_running_loop()
        self._connection.write(self._subscriber.subscribe(filters, loop.time()))
        self._connection.arm()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting[future] = filters
        try:
            await future
        finally:
            self._waiting.pop(future, None)

    def unsubscribe(self, *filters: str) -> None:
        """Want topic filters no more; what is on its way still arrives. Does nothing after the end."""
        if not self._closed:
            now = asyncio.get_running_loop().time()
            self._connection.write(self._subscriber.unsubscribe(filters, now))

    def _progress(self) -> None:
        for message in self._subscriber.take():
            if self._wanted is None or self._wanted(message.payload):
                self._delivered += 1
                self._deliver(message.topic, message.payload)
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        for future, filters in self._waiting.items():
            if future.done():
                continue
            try:
                if self._subscriber.in_force(filters):
                    future.set_result(None)
            except TransportError as error:
                future.set_exception(error)

    def _fail(self, error: OocanaError) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_exception(error)

    async def aclose(self) -> None:
        """Close the connection; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._fail(ClosedError("the connection was closed while subscribing"))
        await self._connection.aclose()

    def statistics(self) -> Mapping[str, Any]:
        """State and counters, for people."""
        return {**self._subscriber.statistics(), **self._connection.statistics(), "delivered": self._delivered}


def _nothing() -> None:
    pass
