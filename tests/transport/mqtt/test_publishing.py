"""The publishing connection against a real broker, whole and broken."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import anyio
import paho.mqtt.client as paho
import paho.mqtt.enums as paho_enums
import pytest

from oocana_async.errors import ClosedError, ConnectionLostError, PacketTooLargeError, ProtocolError, TransportError
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.protocol.client import BrokerRefusedError
from oocana_async.transport.mqtt.publishing import PublishingConnection
from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker, StartBroker
    from tests.transport.conftest import MovableTime, Proxy

pytestmark = [pytest.mark.anyio, pytest.mark.broker]

SHORT = ConnectTimeouts(first=0.3, again=0.5, attempt=2)


def foreign_client() -> Any:
    return paho.Client(paho_enums.CallbackAPIVersion.VERSION2)


class Reader:
    """Everything that a foreign client (paho) sees on a topic, with its QoS."""

    def __init__(self, broker: MosquittoBroker, topic: str = "t") -> None:
        self.loop = asyncio.get_running_loop()
        self.bodies: list[bytes] = []
        self.qos: list[int] = []
        self.changed = asyncio.Event()
        self.ready = asyncio.Event()
        self.client = foreign_client()
        self.client.on_connect = lambda *_: self.client.subscribe(topic, 1)
        self.client.on_subscribe = lambda *_: self.loop.call_soon_threadsafe(self.ready.set)
        self.client.on_message = lambda _c, _u, m: self.loop.call_soon_threadsafe(self.take, m.payload, m.qos)
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()

    def take(self, body: bytes, qos: int) -> None:
        self.bodies.append(body)
        self.qos.append(qos)
        self.changed.set()

    async def until(self, condition: Callable[[list[bytes]], bool]) -> list[bytes]:
        async with asyncio.timeout(10):
            while not condition(self.bodies):
                self.changed.clear()
                await self.changed.wait()
        return self.bodies

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
async def reader(broker: MosquittoBroker) -> AsyncIterator[Reader]:
    reader = Reader(broker)
    await reader.ready.wait()
    yield reader
    reader.close()


def publishing_to(broker: MosquittoBroker | Proxy, **options: Any) -> PublishingConnection:
    return PublishingConnection(Broker("127.0.0.1", broker.port), client_id="client", **options)


def numbered(count: int, start: int = 0, qos: int = 1) -> list[tuple[str, bytes, int]]:
    return [("t", b"%d" % number, qos) for number in range(start, start + count)]


def in_order(bodies: list[bytes]) -> list[bytes]:
    """Return the first occurrence of each body."""
    return list(dict.fromkeys(bodies))


async def test_messages_arrive_in_order(broker: MosquittoBroker, reader: Reader) -> None:
    async with publishing_to(broker) as publishing:
        publishing.publish_nowait(numbered(900))
        await publishing.flush()
        assert publishing.statistics()["covered_to"] == 900
        assert await reader.until(lambda bodies: len(bodies) == 900) == [b"%d" % number for number in range(900)]
        assert set(reader.qos) == {1}


async def test_flush_covers_qos0(broker: MosquittoBroker, reader: Reader) -> None:
    async with publishing_to(broker) as publishing:
        publishing.publish_nowait(numbered(3, qos=0))
        await publishing.flush()
        assert publishing.statistics()["covered_to"] == 3
        assert publishing.statistics()["pings"] == 1
        await reader.until(lambda bodies: len(bodies) == 3)
        assert set(reader.qos) == {0}


async def test_flush_of_nothing_returns(broker: MosquittoBroker) -> None:
    async with publishing_to(broker) as publishing:
        await publishing.flush()


async def test_window_is_never_exceeded(broker: MosquittoBroker) -> None:
    async with publishing_to(broker, max_messages=5) as publishing:
        publishing.publish_nowait(numbered(50))
        assert publishing.statistics()["in_flight"] == 5
        assert not publishing.has_room
        await publishing.wait_for_room()
        assert publishing.statistics()["waiting"] == 0


async def test_cancelled_wait_for_room_withdraws_nothing(broker: MosquittoBroker, reader: Reader) -> None:
    async with publishing_to(broker, max_messages=5) as publishing:
        publishing.publish_nowait(numbered(50))
        with anyio.move_on_after(0) as waiting:
            await publishing.wait_for_room()
        assert waiting.cancelled_caught
        await publishing.flush()
        assert len(await reader.until(lambda bodies: len(bodies) >= 50)) == 50


async def test_close_delivers_what_was_taken(broker: MosquittoBroker, reader: Reader) -> None:
    publishing = await publishing_to(broker, max_messages=5).open()
    publishing.publish_nowait(numbered(200))
    assert await publishing.aclose() == 0
    assert await publishing.aclose() == 0
    assert len(await reader.until(lambda bodies: len(bodies) == 200)) == 200
    with pytest.raises(ClosedError):
        publishing.publish_nowait(numbered(1))


async def test_oversize_message_leaves_the_rest_of_its_batch(broker: MosquittoBroker, reader: Reader) -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 300_000_000

    async with publishing_to(broker) as publishing:
        with pytest.raises(PacketTooLargeError, match="300000000 bytes to t"):
            publishing.publish_nowait([("t", b"before", 1), ("t", Huge(), 1), ("t", b"after", 1)])
        assert await reader.until(lambda bodies: len(bodies) == 2) == [b"before", b"after"]


async def test_topic_with_wildcard_is_refused(broker: MosquittoBroker) -> None:
    async with publishing_to(broker) as publishing:
        with pytest.raises(ProtocolError, match=r"session/\+"):
            publishing.publish_nowait([("session/+", b"", 1)])


async def test_ten_megabytes_in_one_message(broker: MosquittoBroker, reader: Reader) -> None:
    async with publishing_to(broker) as publishing:
        publishing.publish_nowait([("t", bytes(10_000_000), 1), ("t", b"next", 1)])
        await publishing.flush()
        bodies = await reader.until(lambda bodies: len(bodies) == 2)
        assert [len(body) for body in bodies] == [10_000_000, 4]


async def test_broker_restart_loses_nothing(broker: MosquittoBroker) -> None:
    doubled: list[int] = []
    async with publishing_to(broker, on_reconnect=doubled.append) as publishing:
        publishing.publish_nowait(numbered(10))
        await publishing.flush()
        broker.stop()
        publishing.publish_nowait(numbered(20, start=10))
        broker.start()
        reader = Reader(broker)
        await reader.ready.wait()
        publishing.publish_nowait(numbered(20, start=30))
        await publishing.flush()
        expected = [b"%d" % number for number in range(49, 29, -1)][::-1]
        bodies = await reader.until(lambda bodies: set(bodies) >= set(expected))
        reader.close()
        assert in_order(bodies)[-20:] == expected
        assert publishing.statistics()["reconnects"] == 1
        assert publishing.statistics()["covered_to"] == 50


@pytest.mark.parametrize("position", [1, 2, 5, 900, 2_222, 4_000])
async def test_cut_in_the_middle_of_a_packet(proxy: Proxy, reader: Reader, position: int) -> None:
    doubled: list[int] = []
    async with publishing_to(proxy, max_messages=100, on_reconnect=doubled.append) as publishing:
        proxy.cut_after = position
        publishing.publish_nowait(numbered(500))
        await publishing.flush()
        bodies = await reader.until(lambda bodies: len(set(bodies)) == 500)
        assert in_order(bodies) == [b"%d" % number for number in range(500)]
        assert len(doubled) == 1
        assert 1 <= doubled[0] <= 100
        assert len(bodies) - 500 <= doubled[0]


async def test_qos0_is_sent_again_after_a_cut(proxy: Proxy, reader: Reader) -> None:
    async with publishing_to(proxy) as publishing:
        proxy.cut_after = 3
        publishing.publish_nowait(numbered(5, qos=0))
        await publishing.flush()
        await reader.until(lambda bodies: len(bodies) >= 5)
        assert reader.qos == [1] * 5


async def test_many_cuts(proxy: Proxy, reader: Reader) -> None:
    async with publishing_to(proxy, max_messages=50) as publishing:
        for round_ in range(5):
            proxy.cut_after = 1_000 + round_
            publishing.publish_nowait(numbered(200, start=200 * round_))
            await publishing.flush()
        bodies = await reader.until(lambda bodies: len(set(bodies)) == 1_000)
        assert in_order(bodies) == [b"%d" % number for number in range(1_000)]


async def test_gives_up_when_the_broker_is_gone_for_good(broker: MosquittoBroker) -> None:
    lost: list[TransportError] = []
    async with publishing_to(broker, timeouts=SHORT, on_lost=lost.append) as publishing:
        broker.stop()
        publishing.publish_nowait(numbered(3))
        with pytest.raises(ConnectionLostError, match=rf"cannot reach the broker at {broker.address} within 0.5 s"):
            await publishing.flush()
        with pytest.raises(ConnectionLostError):
            publishing.publish_nowait(numbered(1))
        assert len(lost) == 1
        assert await publishing.aclose() == 3


async def test_broker_down_at_start(broker: MosquittoBroker) -> None:
    broker.stop()
    with pytest.raises(ConnectionLostError, match=rf"{broker.address} within 0.3 s: .*Connect call failed"):
        await publishing_to(broker, timeouts=SHORT).open()


async def test_broker_that_comes_up_late(broker: MosquittoBroker) -> None:
    broker.stop()
    opening = asyncio.create_task(publishing_to(broker).open())
    await asyncio.sleep(0)
    await asyncio.to_thread(broker.start)
    publishing = await opening
    publishing.publish_nowait(numbered(1))
    assert await publishing.aclose() == 0


async def test_broker_that_accepts_and_hangs_up(proxy: Proxy) -> None:
    proxy.refusing = True
    with pytest.raises(ConnectionLostError, match="cannot reach the broker"):
        await publishing_to(proxy, timeouts=SHORT).open()
    assert 2 <= proxy.connections <= 10


async def test_peer_that_never_answers(broker: MosquittoBroker) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silence, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionLostError, match=r"within 0.3 s: no answer"):
            await PublishingConnection(Broker("127.0.0.1", port), client_id="client", timeouts=SHORT).open()


async def test_idle_connection_is_pinged(broker: MosquittoBroker, clock: MovableTime) -> None:
    async with publishing_to(broker, keep_alive=60) as publishing:
        await clock.advance(61)
        assert publishing.statistics()["pings"] == 1
        publishing.publish_nowait(numbered(1))
        await publishing.flush()  # its answer comes behind that to the ping
        await clock.advance(31)
        assert publishing.statistics()["reconnects"] == 0


async def test_tls(start_broker: StartBroker, certificate: tuple[str, str]) -> None:
    cert, key = certificate
    broker = start_broker(f"certfile {cert}", f"keyfile {key}")
    where = Broker("127.0.0.1", broker.port, tls=ssl.create_default_context(cafile=cert))
    async with PublishingConnection(where, client_id="other") as publishing:
        publishing.publish_nowait(numbered(1_000))
        await publishing.flush()
    with pytest.raises(ConnectionLostError, match="certificate"):
        await PublishingConnection(Broker.parse(f"mqtts://{broker.address}"), client_id="client", timeouts=SHORT).open()


async def test_wrong_password_is_said_at_once(start_broker: StartBroker, password_file: str) -> None:
    broker = start_broker("allow_anonymous false", f"password_file {password_file}")
    with pytest.raises(BrokerRefusedError, match="user name or password"):
        await PublishingConnection(Broker("127.0.0.1", broker.port, "me", "wrong"), client_id="client").open()
    with pytest.raises(BrokerRefusedError):
        await publishing_to(broker).open()


async def test_right_password(start_broker: StartBroker, password_file: str) -> None:
    broker = start_broker("allow_anonymous false", f"password_file {password_file}")
    async with PublishingConnection(Broker.parse(f"mqtt://me:right@{broker.address}"), client_id="other") as publishing:
        publishing.publish_nowait(numbered(1))
        await publishing.flush()


async def test_nothing_is_left_when_opening_is_cancelled(broker: MosquittoBroker) -> None:
    before = asyncio.all_tasks()
    with anyio.move_on_after(0) as opening:
        await publishing_to(broker).open()
    assert opening.cancelled_caught
    assert asyncio.all_tasks() == before
