"""Bytes to MQTT 3.1.1 packets, without I/O: `Decoder.feed()` takes bytes cut anywhere and returns complete packets."""

from __future__ import annotations

from collections.abc import Callable

from oocana_async.errors import ProtocolError
from oocana_async.transport.mqtt.protocol.packets import (
    MAX_REMAINING_LENGTH,
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

__all__ = ["Decoder"]


class _Reader:
    """Takes the body of one packet apart and says what is missing."""

    def __init__(self, kind: str, body: bytes) -> None:
        self.kind = kind
        self.body = body
        self.place = 0

    def take(self, size: int) -> bytes:
        end = self.place + size
        if end > len(self.body):
            raise ProtocolError(
                f"{self.kind} of {len(self.body)} bytes ends at byte {self.place}, {size} more are needed"
            )
        data = self.body[self.place : end]
        self.place = end
        return data

    def number(self, size: int = 2) -> int:
        return int.from_bytes(self.take(size), "big")

    def packet_id(self) -> int:
        value = self.number()
        if value == 0:
            raise ProtocolError(f"{self.kind} with packet identifier 0; 1 to 65535 are allowed")
        return value

    def text(self) -> str:
        data = self.take(self.number())
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise ProtocolError(f"{self.kind} with a text that is no UTF-8: {data[:64]!r}") from error

    def rest(self) -> bytes:
        return self.take(len(self.body) - self.place)

    @property
    def more(self) -> bool:
        return self.place < len(self.body)


def _decode_connect(reader: _Reader) -> Connect:
    name, level, flags, keep_alive = reader.text(), reader.number(1), reader.number(1), reader.number()
    if (name, level) != ("MQTT", 4):
        raise ProtocolError(f"CONNECT for protocol {name!r} level {level}; MQTT level 4 is understood")
    if flags & 0x3D:
        raise ProtocolError(f"CONNECT with flags {flags:#04x}; a will and reserved bits are not understood")
    client_id = reader.text()
    username = reader.text() if flags & 0x80 else None
    password = reader.text() if flags & 0x40 else None
    return Connect(client_id, keep_alive, bool(flags & 0x02), username, password)


def _decode_subscribe(reader: _Reader) -> Subscribe:
    packet_id = reader.packet_id()
    filters = []
    while reader.more:
        filters.append((reader.text(), reader.number(1)))
    return Subscribe(packet_id, tuple(filters))


def _decode_unsubscribe(reader: _Reader) -> Unsubscribe:
    packet_id = reader.packet_id()
    filters = []
    while reader.more:
        filters.append(reader.text())
    return Unsubscribe(packet_id, tuple(filters))


_KINDS: dict[int, tuple[str, Callable[[_Reader], Packet]]] = {
    0x10: ("CONNECT", _decode_connect),
    0x20: ("CONNACK", lambda reader: ConnAck(bool(reader.number(1) & 1), reader.number(1))),
    0x40: ("PUBACK", lambda reader: PubAck(reader.packet_id())),
    0x82: ("SUBSCRIBE", _decode_subscribe),
    0x90: ("SUBACK", lambda reader: SubAck(reader.packet_id(), tuple(reader.rest()))),
    0xA2: ("UNSUBSCRIBE", _decode_unsubscribe),
    0xB0: ("UNSUBACK", lambda reader: UnsubAck(reader.packet_id())),
    0xC0: ("PINGREQ", lambda _: PingReq()),
    0xD0: ("PINGRESP", lambda _: PingResp()),
    0xE0: ("DISCONNECT", lambda _: Disconnect()),
}


def _unknown(first: int) -> ProtocolError:
    return ProtocolError(f"first byte {first:#04x}, which starts no packet of MQTT 3.1.1 at QoS 0 or 1")


class Decoder:
    """Turns a stream of bytes into packets.

    Args:
        limit: largest remaining length in bytes that is taken in.
    """

    def __init__(self, *, limit: int = MAX_REMAINING_LENGTH) -> None:
        self._limit = limit
        self._buffer = bytearray()  # at most one incomplete packet after each feed
        self._need = 2
        self._topics: dict[bytes, str] = {}

    def feed(self, data: bytes) -> list[Packet]:
        """Take bytes, cut anywhere, and return the packets that they complete.

        Raises:
            ProtocolError: The bytes are no MQTT 3.1.1; the connection is of no more use.
        """
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._need:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        packets: list[Packet] = []
        used = self._split(data, packets)
        if used < len(data):
            self._buffer += data[used:]
        return packets

    def _split(self, data: bytes, packets: list[Packet]) -> int:
        """Decode all complete packets of `data`, note how many bytes the next one needs, return the bytes used."""
        place, end = 0, len(data)
        while end - place >= 2:
            first, size, start = data[place], data[place + 1], place + 2
            if size > 0x7F:
                size, start = self._long_length(data, place)
                if size < 0:
                    return place
            stop = start + size
            if stop > end:
                if first & 0xF0 != 0x30 and first not in _KINDS:  # no use in waiting for the rest
                    raise _unknown(first)
                self._need = stop - place
                return place
            if first == 0x40 and size == 2 and (packet_id := data[start] << 8 | data[start + 1]):
                packets.append(PubAck(packet_id))
            else:
                packets.append(self._decode(first, data[start:stop]))
            place = stop
        self._need = 2
        return place

    def _long_length(self, data: bytes, place: int) -> tuple[int, int]:
        """Return size and start of the body, size -1 when the length itself is not complete yet."""
        size = 0
        for digit in range(4):
            at = place + 1 + digit
            if at >= len(data):
                self._need = digit + 2
                return -1, at
            size |= (data[at] & 0x7F) << 7 * digit
            if data[at] < 0x80:
                if size > self._limit:
                    raise ProtocolError(f"a packet of {size} bytes; at most {self._limit} are taken")
                return size, at + 1
        raise ProtocolError("a packet length of more than 4 bytes")

    def _decode(self, first: int, body: bytes) -> Packet:
        if first & 0xF0 == 0x30:
            return self._decode_publish(first, body)
        kind = _KINDS.get(first)
        if kind is None:
            raise _unknown(first)
        name, decode = kind
        reader = _Reader(name, body)
        packet = decode(reader)
        if reader.more:
            raise ProtocolError(f"{name} of {len(body)} bytes, {reader.place} expected")
        return packet

    def _decode_publish(self, first: int, body: bytes) -> Publish:
        qos = first >> 1 & 3
        if qos > 1:
            raise ProtocolError(f"PUBLISH at QoS {qos}; only 0 and 1 were asked for")
        start = 2 + int.from_bytes(body[:2], "big") if len(body) >= 2 else 2
        payload_at = start + 2 * qos
        if payload_at > len(body):
            raise ProtocolError(f"PUBLISH of {len(body)} bytes ends inside its header of {payload_at}")
        packet_id = int.from_bytes(body[start:payload_at], "big")
        if qos and not packet_id:
            raise ProtocolError("PUBLISH with packet identifier 0; 1 to 65535 are allowed")
        topic = self._topic(body[2:start])
        return Publish(topic, body[payload_at:], qos, packet_id, bool(first & 8), bool(first & 1))

    def _topic(self, data: bytes) -> str:
        topic = self._topics.get(data)
        if topic is None:
            try:
                topic = data.decode()
            except UnicodeDecodeError as error:
                raise ProtocolError(f"PUBLISH to a topic that is no UTF-8: {data[:64]!r}") from error
            if len(self._topics) >= 256:  # topics with job ids in them never come back
                self._topics.clear()
            self._topics[data] = topic
        return topic
