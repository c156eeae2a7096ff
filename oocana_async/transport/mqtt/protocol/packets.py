"""The packets of MQTT 3.1.1 and their limits; section numbers are those of the OASIS standard "MQTT Version 3.1.1"."""

from __future__ import annotations

import msgspec

__all__ = [
    "MAX_REMAINING_LENGTH",
    "REFUSALS",
    "ConnAck",
    "Connect",
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
