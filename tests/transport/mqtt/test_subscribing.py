"""The subscribing connection: the machine alone, then on a real broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from oocana_async.errors import ClosedError, ConnectionLostError, ProtocolError
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.protocol.decoder import Decoder
from oocana_async.transport.mqtt.protocol.encoder import encode
from oocana_async.transport.mqtt.protocol.packets import (
    ConnAck,
    Connect,
    Packet,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from oocana_async.transport.mqtt.protocol.subscriber import Subscriber
from oocana_async.transport.mqtt.publishing import PublishingConnection
from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts
from oocana_async.transport.mqtt.subscribing import SubscribingConnection

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker, StartBroker
    from tests.transport.conftest import Proxy


# --- the machine ------------------------------------------------------------------------------------------------------


def connected(*filters: str) -> Subscriber:
    subscriber = Subscriber(Connect("client"))
    subscriber.subscribe(dict.fromkeys(filters, 0), 0.0)
    subscriber.connect(0.0)
    subscriber.receive(encode(ConnAck(False, 0)), 0.0)
    return subscriber


def packets(data: bytes) -> list[Packet]:
    return Decoder().feed(data)


def test_subscription_is_in_force_after_suback() -> None:
    subscriber = connected()
    asked = subscriber.subscribe({"report": 0, "session/s": 1}, 0.0)
    assert packets(asked) == [Subscribe(1, (("report", 0), ("session/s", 1)))]
    assert not subscriber.in_force({"report": 0})
    assert subscriber.receive(encode(SubAck(1, (0, 1))), 0.0) == b""
    assert subscriber.in_force({"report": 0, "session/s": 1})


def test_wish_before_the_connection_is_asked_for_after_connack() -> None:
    subscriber = Subscriber(Connect("client"))
    assert subscriber.subscribe({"report": 0}, 0.0) == b""
    subscriber.connect(0.0)
    assert packets(subscriber.receive(encode(ConnAck(False, 0)), 0.0)) == [Subscribe(1, (("report", 0),))]


def test_reconnect_subscribes_again() -> None:
    subscriber = connected("report")
    subscriber.receive(encode(SubAck(1, (0,))), 0.0)
    subscriber.connection_lost()
    assert not subscriber.in_force({"report": 0})
    subscriber.connect(1.0)
    assert packets(subscriber.receive(encode(ConnAck(False, 0)), 1.0)) == [Subscribe(2, (("report", 0),))]


def test_refused_filter_is_named() -> None:
    subscriber = connected("report", "secret")
    subscriber.receive(encode(SubAck(1, (0, 0x80))), 0.0)
    assert subscriber.in_force({"report": 0})
    with pytest.raises(ProtocolError, match="refused the subscription to secret"):
        subscriber.in_force({"secret": 0})


def test_only_qos1_messages_are_acknowledged() -> None:
    subscriber = connected("report")
    first, second = Publish("report", b"a"), Publish("report", b"b", 1, 9)
    assert packets(subscriber.receive(encode(first) + encode(second), 0.0)) == [PubAck(9)]
    assert subscriber.take() == [first, second]
    assert subscriber.take() == []


def test_unsubscribe_is_not_asked_for_again() -> None:
    subscriber = connected("report", "session/s")
    assert packets(subscriber.unsubscribe(("session/s", "unknown"), 0.0)) == [Unsubscribe(2, ("session/s",))]
    subscriber.receive(encode(UnsubAck(2)), 0.0)
    subscriber.connection_lost()
    subscriber.connect(0.0)
    assert packets(subscriber.receive(encode(ConnAck(False, 0)), 0.0)) == [Subscribe(3, (("report", 0),))]


def test_suback_that_answers_nothing() -> None:
    with pytest.raises(ProtocolError, match="SUBACK 5"):
        connected("report").receive(encode(SubAck(5, (0,))), 0.0)


# --- on the wire ------------------------------------------------------------------------------------------------------


class Seen:
    """What a subscribing connection delivered, and a way to wait for it."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.changed = asyncio.Event()

    def __call__(self, topic: str, payload: bytes) -> None:
        self.messages.append((topic, payload))
        self.changed.set()

    async def until(self, count: int) -> list[tuple[str, bytes]]:
        async with asyncio.timeout(10):
            while len(self.messages) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.messages


def subscribing_to(broker: MosquittoBroker | Proxy, deliver: Seen, **options: Any) -> SubscribingConnection:
    return SubscribingConnection(Broker("127.0.0.1", broker.port), client_id="client", deliver=deliver, **options)


def publishing_to(broker: MosquittoBroker) -> PublishingConnection:
    return PublishingConnection(Broker("127.0.0.1", broker.port), client_id="other")


@pytest.mark.anyio
@pytest.mark.broker
async def test_subscribing_connection_delivers_what_passes_the_filter(broker: MosquittoBroker) -> None:
    seen = Seen()
    async with (
        subscribing_to(broker, seen, wanted=lambda payload: b"S1" in payload) as subscribing,
        publishing_to(broker) as publishing,
    ):
        await subscribing.subscribe({"report": 0})
        publishing.publish_nowait(
            [("report", b"S1 a", 1), ("report", b"S2 b", 1), ("other", b"S1", 1), ("report", b"S1 c", 0)]
        )
        assert await seen.until(2) == [("report", b"S1 a"), ("report", b"S1 c")]
        assert subscribing.statistics()["received"] == 3


@pytest.mark.anyio
@pytest.mark.broker
async def test_subscribing_connection_takes_and_drops_a_second_topic(broker: MosquittoBroker) -> None:
    seen = Seen()
    async with subscribing_to(broker, seen) as subscribing, publishing_to(broker) as publishing:
        await subscribing.subscribe({"report": 0})
        await subscribing.subscribe({"session/s": 1})
        publishing.publish_nowait([("session/s", b"%d" % number, 1) for number in range(300)])
        await seen.until(300)
        subscribing.unsubscribe("session/s")
        await subscribing.subscribe({"fence": 0})
        publishing.publish_nowait([("session/s", b"late", 1), ("report", b"last", 1)])
        assert (await seen.until(301))[-1] == ("report", b"last")


@pytest.mark.anyio
@pytest.mark.broker
async def test_subscribing_connection_subscribes_again_after_a_cut(broker: MosquittoBroker, proxy: Proxy) -> None:
    seen, again = Seen(), asyncio.Event()
    async with subscribing_to(proxy, seen, on_reconnect=again.set) as subscribing, publishing_to(broker) as publishing:
        await subscribing.subscribe({"report": 0})
        proxy.cut()
        await again.wait()
        await subscribing.subscribe({"fence": 0})  # granted after the others
        publishing.publish_nowait([("report", b"a", 1)])
        assert await seen.until(1) == [("report", b"a")]


@pytest.mark.anyio
@pytest.mark.broker
async def test_subscribing_connection_of_a_broker_that_is_gone(broker: MosquittoBroker) -> None:
    timeouts = ConnectTimeouts(first=0.2, again=0.2)
    async with subscribing_to(broker, Seen(), timeouts=timeouts) as subscribing:
        await subscribing.subscribe({"report": 0})
        broker.stop()
        with pytest.raises(ConnectionLostError, match="cannot reach the broker"):
            await subscribing.subscribe({"more": 0})


@pytest.mark.anyio
@pytest.mark.broker
async def test_poison_bytes_of_a_peer_that_is_no_broker() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(nonsense, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        subscribing = SubscribingConnection(
            Broker("127.0.0.1", port), client_id="client", deliver=Seen(), timeouts=ConnectTimeouts(first=0.1)
        )
        with pytest.raises(ConnectionLostError, match="first byte 0x48"):
            await subscribing.open()


@pytest.mark.anyio
@pytest.mark.broker
async def test_subscribe_after_close(start_broker: StartBroker) -> None:
    async with subscribing_to(start_broker(), Seen()) as subscribing:
        pass
    await subscribing.aclose()
    with pytest.raises(ClosedError):
        await subscribing.subscribe({"report": 0})
