"""MQTT 3.1.1 packets to bytes and back, without I/O.

`encode()` turns any packet into bytes; `encode_publish()` is the short way for the one packet that is sent in masses.
`Decoder.feed()` takes bytes cut anywhere and returns the packets that are complete. Section numbers are those of the
OASIS standard "MQTT Version 3.1.1".
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from oocana_async.errors import PacketTooLargeError, ProtocolError

__all__ = [
    "MAX_REMAINING_LENGTH",
    "REFUSALS",
    "ConnAck",
    "Connect",
    "Decoder",
    "Disconnect",
    "Packet",
    "PingReq",
    "PingResp",
    "PubAck",
    "Publish",
    "SubAck",
    "Subscribe",
    "UnsubAck",
    "Unsubscribe",
    "encode",
    "encode_publish",
    "encode_topic",
]

MAX_REMAINING_LENGTH = 268_435_455
"""Bytes that may follow the fixed header of one packet (section 2.2.3)."""

REFUSALS = {
    1: "the broker does not speak MQTT 3.1.1",
    2: "the broker rejects the client identifier",
    3: "the broker is not available",
    4: "bad user name or password",
    5: "not authorised; user name or password may be wrong",
}
"""Meaning of the return codes of CONNACK (section 3.2.2.3)."""


class Connect(msgspec.Struct, frozen=True, gc=False):
    """First packet of a client."""

    client_id: str
    keep_alive: int = 60
    clean_session: bool = True
    username: str | None = None
    password: str | None = None


class ConnAck(msgspec.Struct, frozen=True, gc=False):
    """Answer to CONNECT; `return_code` 0 means accepted."""

    session_present: bool
    return_code: int


class Publish(msgspec.Struct, frozen=True, gc=False):
    """One message; `packet_id` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    packet_id: int = 0
    dup: bool = False
    retain: bool = False


class PubAck(msgspec.Struct, frozen=True, gc=False):
    """The receiver has a QoS 1 message."""

    packet_id: int


class Subscribe(msgspec.Struct, frozen=True):
    """Ask for topics; each filter with the highest QoS that is wanted."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


class SubAck(msgspec.Struct, frozen=True):
    """Granted QoS for each filter, 0x80 for a refused one."""

    packet_id: int
    return_codes: tuple[int, ...]


class Unsubscribe(msgspec.Struct, frozen=True):
    """Ask for topics no more."""

    packet_id: int
    filters: tuple[str, ...]


class UnsubAck(msgspec.Struct, frozen=True, gc=False):
    """Answer to UNSUBSCRIBE."""

    packet_id: int


class PingReq(msgspec.Struct, frozen=True, gc=False):
    """Are you there?"""


class PingResp(msgspec.Struct, frozen=True, gc=False):
    """Yes."""


class Disconnect(msgspec.Struct, frozen=True, gc=False):
    """Last packet of a client that leaves in order."""


Packet = (
    Connect | ConnAck | Publish | PubAck | Subscribe | SubAck | Unsubscribe | UnsubAck | PingReq | PingResp | Disconnect
)


# --- encoding ---------------------------------------------------------------------------------------------------------


def _length(size: int) -> bytes:
    """Encode a remaining length (section 2.2.3)."""
    if size > MAX_REMAINING_LENGTH:
        message = f"a packet of {size} bytes; MQTT carries at most {MAX_REMAINING_LENGTH}"
        raise PacketTooLargeError(message, size=size, limit=MAX_REMAINING_LENGTH)
    digits = bytearray()
    while size > 0x7F:
        digits.append(size & 0x7F | 0x80)
        size >>= 7
    digits.append(size)
    return bytes(digits)


def _text(value: str, what: str) -> bytes:
    """Encode a string with its length in front (section 1.5.3)."""
    try:
        data = value.encode()
    except UnicodeEncodeError as error:
        raise ProtocolError(f"{what} {value!r} is no valid UTF-8 text") from error
    if len(data) > 0xFFFF or "\0" in value:
        raise ProtocolError(f"{what} of {len(data)} bytes; MQTT wants at most 65535 and no NUL character")
    return len(data).to_bytes(2, "big") + data


def encode_topic(topic: str) -> bytes:
    """Encode the name of a topic to publish to, as `encode_publish()` takes it.

    Raises:
        ProtocolError: The name is empty, longer than 65,535 bytes, no UTF-8, or has a NUL, `+` or `#` in it.
    """
    if not topic or "+" in topic or "#" in topic:
        raise ProtocolError(f"cannot publish to topic {topic!r}: a name without the wildcards + and # is needed")
    return _text(topic, "topic")


def encode_publish(topic: bytes, payload: bytes, qos: int, packet_id: int = 0, *, dup: bool = False) -> bytes:
    """Encode one PUBLISH.

    Args:
        topic: name as `encode_topic()` made it.
        payload: body.
        qos: 0 or 1.
        packet_id: 1 to 65,535 at QoS 1; not used at QoS 0.
        dup: the broker may have it already.

    Raises:
        PacketTooLargeError: Topic and payload are larger than a packet can be.
    """
    size = len(topic) + len(payload) + (2 if qos else 0)
    first = (0x3A if dup else 0x32) if qos else 0x30
    if size < 0x80:
        head = bytes((first, size))
    elif size < 0x4000:
        head = bytes((first, size & 0x7F | 0x80, size >> 7))
    else:
        head = bytes((first,)) + _length(size)
    if qos:
        return b"%b%b%b%b" % (head, topic, packet_id.to_bytes(2, "big"), payload)
    return b"%b%b%b" % (head, topic, payload)


def _frame(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _length(len(body)) + body


def _encode_connect(packet: Connect) -> bytes:
    flags = 0x02 if packet.clean_session else 0
    body = _text(packet.client_id, "client identifier")
    if packet.username is not None:
        flags |= 0x80
        body += _text(packet.username, "user name")
    if packet.password is not None:
        if packet.username is None:
            raise ProtocolError("a password without a user name; MQTT 3.1.1 wants both")
        flags |= 0x40
        body += _text(packet.password, "password")
    return _frame(0x10, b"\0\4MQTT\4" + bytes((flags,)) + packet.keep_alive.to_bytes(2, "big") + body)


def _encode_connack(packet: ConnAck) -> bytes:
    return bytes((0x20, 2, packet.session_present, packet.return_code))


def _encode_publish(packet: Publish) -> bytes:
    data = encode_publish(encode_topic(packet.topic), packet.payload, packet.qos, packet.packet_id, dup=packet.dup)
    return bytes((data[0] | packet.retain,)) + data[1:]


def _encode_puback(packet: PubAck) -> bytes:
    return b"\x40\2" + packet.packet_id.to_bytes(2, "big")


def _encode_subscribe(packet: Subscribe) -> bytes:
    filters = b"".join(_text(name, "topic filter") + bytes((qos,)) for name, qos in packet.filters)
    return _frame(0x82, packet.packet_id.to_bytes(2, "big") + filters)


def _encode_suback(packet: SubAck) -> bytes:
    return _frame(0x90, packet.packet_id.to_bytes(2, "big") + bytes(packet.return_codes))


def _encode_unsubscribe(packet: Unsubscribe) -> bytes:
    filters = b"".join(_text(name, "topic filter") for name in packet.filters)
    return _frame(0xA2, packet.packet_id.to_bytes(2, "big") + filters)


def _encode_unsuback(packet: UnsubAck) -> bytes:
    return b"\xb0\2" + packet.packet_id.to_bytes(2, "big")


def encode(packet: Packet) -> bytes:
    """Encode any packet.

    Raises:
        PacketTooLargeError: It is larger than a packet can be.
        ProtocolError: A text in it cannot travel.
    """
    match packet:
        case Publish():
            return _encode_publish(packet)
        case PubAck():
            return _encode_puback(packet)
        case PingReq():
            return b"\xc0\0"
        case PingResp():
            return b"\xd0\0"
        case Disconnect():
            return b"\xe0\0"
    return _encode_rare(packet)


def _encode_rare(packet: Connect | ConnAck | Subscribe | SubAck | Unsubscribe | UnsubAck) -> bytes:
    match packet:
        case Connect():
            return _encode_connect(packet)
        case ConnAck():
            return _encode_connack(packet)
        case Subscribe():
            return _encode_subscribe(packet)
        case SubAck():
            return _encode_suback(packet)
        case Unsubscribe():
            return _encode_unsubscribe(packet)
        case UnsubAck():
            return _encode_unsuback(packet)


# --- decoding ---------------------------------------------------------------------------------------------------------


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
