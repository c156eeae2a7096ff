"""The MQTT codec against the standard's bytes, paho's packing, and itself."""

from __future__ import annotations

from typing import Any

import paho.mqtt.client as paho
import paho.mqtt.enums as paho_enums
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oocana_async.errors import PacketTooLargeError, ProtocolError
from oocana_async.transport.mqtt.protocol.decoder import Decoder
from oocana_async.transport.mqtt.protocol.encoder import encode, encode_publish, encode_topic
from oocana_async.transport.mqtt.protocol.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)

RECORDED: list[tuple[bytes, Packet]] = [
    (bytes.fromhex("101000044d5154540402003c0004") + b"lane", Connect("lane")),
    (bytes.fromhex("101800044d51545404c2000a00026d65000261620004") + b"lane", Connect("me", 10, True, "ab", "lane")),
    (b"\x20\x02\x00\x00", ConnAck(False, 0)),
    (b"\x20\x02\x00\x05", ConnAck(False, 5)),
    (b"\x20\x02\x01\x00", ConnAck(True, 0)),
    (b"\x30\x0c\x00\x06reportbody", Publish("report", b"body")),
    (b"\x32\x0e\x00\x06report\x00\x07body", Publish("report", b"body", 1, 7)),
    (b"\x3a\x0e\x00\x06report\xff\xffbody", Publish("report", b"body", 1, 65535, dup=True)),
    (b"\x31\x08\x00\x06report", Publish("report", b"", retain=True)),
    (b"\x40\x02\x12\x34", PubAck(0x1234)),
    (b"\x82\x0b\x00\x01\x00\x06report\x01", Subscribe(1, (("report", 1),))),
    (b"\x90\x04\x00\x01\x01\x80", SubAck(1, (1, 0x80))),
    (b"\xa2\x0a\x00\x02\x00\x06report", Unsubscribe(2, ("report",))),
    (b"\xb0\x02\x00\x02", UnsubAck(2)),
    (b"\xc0\x00", PingReq()),
    (b"\xd0\x00", PingResp()),
    (b"\xe0\x00", Disconnect()),
]

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
names = texts.filter(lambda name: bool(name) and not set("+#") & set(name))
packet_ids = st.integers(1, 65535)
payloads = st.one_of(st.binary(max_size=300), st.integers(120, 20_000).map(bytes))
packets: st.SearchStrategy[Any] = st.one_of(
    st.builds(Connect, texts, st.integers(0, 65535), st.booleans()),
    st.builds(Connect, texts, st.integers(0, 65535), st.booleans(), texts, st.none() | texts),
    st.builds(ConnAck, st.booleans(), st.integers(0, 5)),
    st.builds(Publish, names, payloads, retain=st.booleans()),
    st.builds(Publish, names, payloads, st.just(1), packet_ids, st.booleans(), st.booleans()),
    st.builds(PubAck, packet_ids),
    st.builds(Subscribe, packet_ids, st.lists(st.tuples(names, st.integers(0, 1)), min_size=1, max_size=9).map(tuple)),
    st.builds(SubAck, packet_ids, st.lists(st.sampled_from([0, 1, 0x80]), min_size=1, max_size=9).map(tuple)),
    st.builds(Unsubscribe, packet_ids, st.lists(names, min_size=1, max_size=9).map(tuple)),
    st.builds(UnsubAck, packet_ids),
    st.sampled_from([PingReq(), PingResp(), Disconnect()]),
)


@pytest.mark.parametrize(("data", "packet"), RECORDED, ids=lambda value: type(value).__name__)
def test_recorded_bytes(data: bytes, packet: Packet) -> None:
    assert encode(packet) == data
    assert Decoder().feed(data) == [packet]


@given(st.lists(packets, max_size=12), st.data())
def test_any_chunking_gives_the_same_packets(sent: list[Packet], data: st.DataObject) -> None:
    stream = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=30)))
    decoder, received = Decoder(), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += decoder.feed(stream[start:stop])
    assert received == sent


@given(packets)
def test_byte_by_byte(packet: Packet) -> None:
    decoder, received = Decoder(), []
    for byte in encode(packet):
        received += decoder.feed(bytes((byte,)))
    assert received == [packet]


def paho_bytes(act: Any) -> bytes:
    """Return what paho would write for `act(client)`, without a socket."""
    client: Any = paho.Client(paho_enums.CallbackAPIVersion.VERSION2, client_id="c", protocol=paho.MQTTv311)
    written = bytearray()

    def queue(_command: int, packet: bytes, *_: Any) -> paho_enums.MQTTErrorCode:
        written.extend(packet)
        return paho_enums.MQTTErrorCode.MQTT_ERR_SUCCESS

    client._packet_queue = queue
    client._sock = object()
    act(client)
    client._sock = None
    return bytes(written)


@given(names, payloads, st.integers(0, 1), packet_ids, st.booleans())
def test_publish_is_packed_as_paho_does(topic: str, payload: bytes, qos: int, packet_id: int, again: bool) -> None:
    dup = again and qos == 1
    theirs = paho_bytes(lambda c: c._send_publish(packet_id, topic.encode(), payload, qos, False, dup))
    assert encode(Publish(topic, payload, qos, packet_id if qos else 0, dup)) == theirs


@given(st.integers(0, 65535), texts, st.none() | texts)
def test_connect_is_packed_as_paho_does(keep_alive: int, username: str, password: str | None) -> None:
    def act(client: Any) -> None:
        client.username_pw_set(username, password)
        client._send_connect(keep_alive)

    assert encode(Connect("c", keep_alive, True, username, password)) == paho_bytes(act)


@given(st.lists(st.tuples(names, st.integers(0, 1)), min_size=1, max_size=5))
def test_subscribe_is_packed_as_paho_does(filters: list[tuple[str, int]]) -> None:
    theirs = paho_bytes(lambda c: c._send_subscribe(False, [(name.encode(), qos) for name, qos in filters]))
    assert encode(Subscribe(1, tuple(filters))) == theirs
    theirs = paho_bytes(lambda c: c._send_unsubscribe(False, [name.encode() for name, _ in filters]))
    assert encode(Unsubscribe(1, tuple(name for name, _ in filters))) == theirs


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_length_at_each_border(size: int) -> None:
    packet = Publish("t", bytes(size - 3 if size > 3 else 0))
    assert Decoder().feed(encode(packet)) == [packet]


def test_large_packet_in_small_pieces_costs_linear_time() -> None:
    packet = Publish("t", bytes(20_000_000))
    stream, decoder, received = encode(packet), Decoder(), []
    for start in range(0, len(stream), 4096):
        received += decoder.feed(stream[start : start + 4096])
    assert received == [packet]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\x00\x00", "first byte 0x00"),
        (b"\xf0\x00", "first byte 0xf0"),
        (b"\x34\x05\x00\x01t\x00\x01", "QoS 2"),
        (b"\x30\x01\x00", "ends inside its header"),
        (b"\x32\x03\x00\x01t", "ends inside its header"),
        (b"\x32\x05\x00\x01t\x00\x00", "packet identifier 0"),
        (b"\x30\x03\x00\x01\xff", "no UTF-8"),
        (b"\x30\xff\xff\xff\xff\x01", "more than 4 bytes"),
        (b"\x20\x01\x00", "CONNACK of 1 bytes"),
        (b"\x40\x02\x00\x00", "packet identifier 0"),
        (b"\x40\x03\x00\x01\x00", "PUBACK of 3 bytes, 2 expected"),
        (b"\x10\x0a\x00\x04MQTT\x05\x02\x00\x3c", "level 5"),
    ],
)
def test_broken_bytes_are_named(data: bytes, fault: str) -> None:
    with pytest.raises(ProtocolError, match=fault):
        Decoder().feed(data)


def test_packet_over_the_limit_of_the_receiver() -> None:
    with pytest.raises(ProtocolError, match="a packet of 1005 bytes; at most 1000"):
        Decoder(limit=1000).feed(encode(Publish("t", bytes(1002)))[:4])


def test_packet_of_exactly_the_limit_is_taken() -> None:
    assert Decoder(limit=1000).feed(encode(Publish("t", bytes(997)))) == [Publish("t", bytes(997))]


def test_topics_are_kept_only_until_256_others_came() -> None:
    decoder = Decoder()

    def arrived(topic: str) -> str:
        (packet,) = decoder.feed(encode(Publish(topic, b"")))
        assert isinstance(packet, Publish)
        return packet.topic

    first = arrived("inputs/S/J")
    assert arrived("inputs/S/J") is first
    for number in range(256):
        arrived(f"inputs/S/{number}")
    assert arrived("inputs/S/J") is not first


def test_packet_over_the_limit_of_mqtt() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 268_435_455

    with pytest.raises(PacketTooLargeError, match="268435458 bytes") as caught:
        encode_publish(encode_topic("t"), Huge(), 0)
    assert (caught.value.size, caught.value.limit) == (268_435_458, 268_435_455)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0b", "\ud800", "x" * 65_536])
def test_topic_that_cannot_be_published_to(topic: str) -> None:
    with pytest.raises(ProtocolError):
        encode_topic(topic)


def test_password_without_user_name() -> None:
    with pytest.raises(ProtocolError, match="without a user name"):
        encode(Connect("c", password="p"))
