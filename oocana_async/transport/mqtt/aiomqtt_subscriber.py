"""The subscribing connection for what must not be missed: aiomqtt, QoS 1, subscribed anew on each connection.

This is the only module that imports aiomqtt; code that only publishes starts without it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import aiomqtt
import anyio

from oocana_async.errors import ClosedError, ConnectionLostError, ProtocolError, TransportError
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.filters import without_covered
from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts, Reconnector

__all__ = ["AiomqttSubscriber"]

logger = logging.getLogger(__name__)

_NODELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


class AiomqttSubscriber:
    """Keeps topic filters subscribed and hands over what arrives, on the loop that called `open()`.

    Args:
        broker: where to connect to.
        client_id: unique on the broker.
        keep_alive: seconds between signs of life.
        timeouts: how long to try to connect.
        deliver: called with topic and payload of each message, in their order; must not raise.
        on_break: called each time when the connection broke; messages may be missing from then on.
        on_reconnect: called when it stands again after it broke, and all filters are in force.
        on_lost: called once when the broker is gone for good.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        client_id: str,
        keep_alive: int,
        timeouts: ConnectTimeouts,
        deliver: Callable[[str, bytes], None],
        on_break: Callable[[], None],
        on_reconnect: Callable[[], None],
        on_lost: Callable[[TransportError], None],
    ) -> None:
        self._broker = broker
        self._client_id = client_id
        self._keep_alive = keep_alive
        self._timeouts = timeouts
        self._deliver = deliver
        self._on_lost = on_lost
        self._reconnector = Reconnector(
            self._serve,
            broker,
            name="mqtt subscriptions",
            timeouts=timeouts,
            on_break=on_break,
            on_reconnect=on_reconnect,
            on_lost=self._lost,
        )
        self._wanted: Counter[str] = Counter()
        self._asked_for: set[str] = set()
        self._asking = anyio.Lock()
        self._client: aiomqtt.Client | None = None
        self._closed = False
        self._settled = asyncio.Event()  # set while there is a client, and after the end
        self._requests: set[anyio.CancelScope] = set()  # what waits for an answer on the current client

    @property
    def reconnects(self) -> int:
        """How often the connection stood again after it broke."""
        return self._reconnector.reconnects

    async def open(self) -> None:
        """Connect; see `Reconnector.open()` for waiting and errors."""
        await self._reconnector.open()

    async def aclose(self) -> None:
        """Close the connection; may be called twice. Subscribing that has not been answered ends with ClosedError."""
        self._closed = True
        await self._reconnector.aclose()
        self._settled.set()

    # --- one connection -----------------------------------------------------------------------------------------------

    async def _serve(self, stands: Callable[[], None]) -> None:
        """Be connected and subscribed as long as that lasts."""
        try:
            # A client of aiomqtt cannot be entered a second time, so each attempt makes a fresh one.
            async with self._new_client() as client:
                self._asked_for = set()
                await self._ask(client)
                self._client = client
                self._settled.set()
                stands()
                await anext(client.messages)  # the queue hands everything over, so this ends with the connection
        except aiomqtt.MqttError as error:
            raise ConnectionLostError(str(error)) from error
        finally:
            self._forget_client()

    def _new_client(self) -> aiomqtt.Client:
        deliver = self._deliver

        class DirectDelivery(asyncio.Queue[aiomqtt.Message]):
            """Delivers each message at once; aiomqtt's own iterator makes a task for each."""

            def put_nowait(self, item: aiomqtt.Message) -> None:
                deliver(item.topic.value, item.payload)

        return aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.username,
            password=self._broker.password,
            identifier=self._client_id,
            queue_type=DirectDelivery,
            # A session that the broker keeps would outlive us as a queue that nobody reads.
            clean_session=True,
            keepalive=self._keep_alive,
            tls_context=self._broker.tls,
            socket_options=_NODELAY,
            timeout=self._timeouts.attempt,
        )

    def _forget_client(self) -> None:
        if self._client is not None:
            self._client = None
            self._settled.clear()
        for request in self._requests:
            request.cancel()

    def _lost(self, error: TransportError) -> None:
        self._settled.set()
        self._on_lost(error)

    async def _current(self) -> aiomqtt.Client:
        """Wait for a connected client."""
        while True:
            await self._settled.wait()
            if self._reconnector.failure is not None:
                raise self._reconnector.failure
            if self._closed:
                raise ClosedError("the transport was closed while subscribing")
            if self._client is not None:
                return self._client

    # --- subscribing --------------------------------------------------------------------------------------------------

    async def subscribe(self, filters: tuple[str, ...]) -> None:
        """Subscribe to topic filters at QoS 1; returns after SUBACK, on whatever connection it comes.

        Raises:
            ProtocolError: The broker refused a filter.
            ConnectionLostError: The broker is gone for good, or did not answer.
        """
        self._wanted.update(filters)
        while not await self._asked_on(await self._current()):
            logger.debug("mqtt subscriptions: asking again on the next connection")

    async def _asked_on(self, client: aiomqtt.Client) -> bool:
        """Subscribe on one connection; returns False when that breaks meanwhile.

        aiomqtt itself would wait for the answer until its time-out, though the connection is gone.
        """
        with anyio.CancelScope() as request:
            self._requests.add(request)
            try:
                await self._ask(client)
            except aiomqtt.MqttError as error:
                if self._client is client:
                    raise ConnectionLostError(f"the broker did not answer a SUBSCRIBE: {error}") from error
            finally:
                self._requests.discard(request)
        return self._client is client

    async def _ask(self, client: aiomqtt.Client) -> None:
        """Make the broker's view of our filters what is wanted; overlapping filters would bring messages twice."""
        async with self._asking:
            needed = without_covered(self._wanted)
            if new := sorted(needed - self._asked_for):
                codes = await client.subscribe([(name, 1) for name in new])
                self._asked_for.update(new)
                self._check_granted({name: _level(code) for name, code in zip(new, codes, strict=True)})
            if gone := sorted(self._asked_for - needed):
                self._asked_for.difference_update(gone)
                await client.unsubscribe(gone)

    def _check_granted(self, levels: Mapping[str, int]) -> None:
        refused = [name for name, level in levels.items() if level >= 0x80]
        for name in refused:
            del self._wanted[name]
        if refused:
            raise ProtocolError(f"the broker refused the subscription to {', '.join(refused)}")

    def forget(self, filters: tuple[str, ...]) -> None:
        """Want topic filters no more; the broker hears of it with the next subscription."""
        self._wanted.subtract(filters)
        self._wanted = +self._wanted


def _level(code: Any) -> int:
    """Return the number of a granted QoS, which paho wraps."""
    return int(getattr(code, "value", code))
