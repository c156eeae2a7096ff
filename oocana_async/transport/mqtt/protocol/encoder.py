"""MQTT 3.1.1 packets to bytes, without I/O.

`encode()` turns any packet into bytes; `encode_publish()` is the short way for the one packet that is sent in masses.
"""

from __future__ import annotations

from oocana_async.errors import PacketTooLargeError, ProtocolError
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

__all__ = ["encode", "encode_publish", "encode_topic"]


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
