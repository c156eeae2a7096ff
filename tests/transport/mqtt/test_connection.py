"""One connection to a broker that the test plays, so that it can stop to read, to answer, or to be there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Self

import pytest

from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.protocol.decoder import Decoder
from oocana_async.transport.mqtt.protocol.encoder import encode
from oocana_async.transport.mqtt.protocol.packets import ConnAck, Connect, Disconnect, Packet, PingReq, Publish
from oocana_async.transport.mqtt.publishing import PublishingConnection
from oocana_async.transport.mqtt.subscribing import SubscribingConnection

if TYPE_CHECKING:
    from tests.transport.conftest import MovableTime

pytestmark = pytest.mark.anyio


class PlayedBroker(asyncio.Protocol):
    """Accepts every login and answers nothing else; remembers what it was sent.

    Attributes:
        packets: what has arrived, over all connections.
        connections: the connections that were made, the last one is the current one.
    """

    def __init__(self) -> None:
        self.packets: list[Packet] = []
        self.connections: list[asyncio.Transport] = []
        self._decoder = Decoder()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(lambda: self, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        for connection in self.connections:
            connection.abort()
        self._server.close()

    @property
    def address(self) -> Broker:
        assert self._server is not None
        return Broker("127.0.0.1", self._server.sockets[0].getsockname()[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.connections.append(transport)
        self._decoder = Decoder()

    def data_received(self, data: bytes) -> None:
        for packet in self._decoder.feed(data):
            self.packets.append(packet)
            if isinstance(packet, Connect):
                self.connections[-1].write(encode(ConnAck(False, 0)))
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def count(self, kind: type[Packet]) -> int:
        return sum(isinstance(packet, kind) for packet in self.packets)


@pytest.fixture
async def broker() -> AsyncIterator[PlayedBroker]:
    async with PlayedBroker() as broker:
        yield broker


def connect(broker: PlayedBroker, **options: Any) -> PublishingConnection:
    return PublishingConnection(broker.address, client_id="client", **options)


def messages(count: int, size: int = 1, qos: int = 1) -> list[tuple[str, bytes, int]]:
    return [("t", bytes(size), qos)] * count


async def test_leaving_says_goodbye(broker: PlayedBroker) -> None:
    async with connect(broker):
        pass
    await broker.until(lambda: broker.packets[-1:] == [Disconnect()])


async def test_last_bytes_leave_before_the_connection_does(broker: PlayedBroker) -> None:
    """What the socket does not take at once is still written when nothing is waited for any more."""
    connection = await connect(broker).open()
    connection.publish_nowait(messages(1, 8_000_000, qos=0))
    await connection.aclose(0)
    await broker.until(lambda: broker.packets[-1:] == [Disconnect()])
    assert broker.count(Publish) == 1


async def test_writes_wait_while_the_broker_does_not_read(broker: PlayedBroker) -> None:
    async with connect(broker, max_messages=1_000, max_bytes=200_000_000) as connection:
        broker.connections[-1].pause_reading()
        connection.publish_nowait(messages(500, 100_000))
        for _ in range(500):
            connection.publish_nowait(messages(1, 100_000))
        assert connection.statistics()["in_flight_bytes"] < 30_000_000
        assert connection.statistics()["waiting"] > 0
        broker.connections[-1].resume_reading()
        await broker.until(lambda: broker.count(Publish) == 1_000)
        broker.connections[-1].abort()  # nothing will be acknowledged, so leaving need not wait for it
        await connection.aclose(0)


def subscribe(broker: PlayedBroker, **options: Any) -> SubscribingConnection:
    return SubscribingConnection(broker.address, client_id="client", deliver=lambda *_: None, **options)


@pytest.mark.parametrize("kind", [connect, subscribe])
async def test_idle_connection_is_pinged(
    broker: PlayedBroker, clock: MovableTime, kind: Callable[..., PublishingConnection | SubscribingConnection]
) -> None:
    async with kind(broker, keep_alive=60):
        await clock.advance(59)
        assert broker.count(PingReq) == 0
        await clock.advance(2)
        await broker.until(lambda: broker.count(PingReq) == 1)


async def test_ping_that_is_not_answered_is_the_end_of_the_connection(broker: PlayedBroker, clock: MovableTime) -> None:
    async with connect(broker, keep_alive=60):
        await clock.advance(61)
        await broker.until(lambda: broker.count(PingReq) == 1)
        await clock.advance(31)
        await broker.until(lambda: broker.count(Connect) == 2)


async def test_flush_that_is_not_answered_is_the_end_of_the_connection(
    broker: PlayedBroker, clock: MovableTime
) -> None:
    """The ping that a flush sends has its own deadline, which is nearer than the keep-alive."""
    connection = await connect(broker, keep_alive=600).open()
    connection.publish_nowait(messages(1, qos=0))
    flushing = asyncio.ensure_future(connection.flush())
    await broker.until(lambda: broker.count(PingReq) == 1)
    await clock.advance(31)
    await broker.until(lambda: broker.count(Connect) == 2)
    await connection.aclose(0)
    await asyncio.wait([flushing])
    flushing.exception()


async def test_each_break_counts_what_it_doubles(broker: PlayedBroker) -> None:
    doubled: list[int] = []
    connection = await connect(broker, on_reconnect=doubled.append).open()
    connection.publish_nowait(messages(3))
    for number in (1, 2):
        await broker.until(lambda number=number: broker.count(Publish) == 3 * number)  # type: ignore[misc]
        broker.connections[-1].abort()
    await broker.until(lambda: broker.count(Publish) == 9)
    await connection.aclose(0)
    assert doubled == [3, 3]
