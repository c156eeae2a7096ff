"""The publishing side of an MQTT 3.1.1 client: pipelining, acknowledgements, sending again; no I/O.

Messages wait in order, travel while the window has room, and are *covered* once the broker has proven that it has them:
a QoS 1 message by its PUBACK, a QoS 0 message by a PUBACK or PINGRESP for anything sent after it (a broker reads one
connection in order). What was not covered when a connection ends is sent again on the next one, at QoS 1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from oocana_async.errors import ClosedError, PacketTooLargeError
from oocana_async.transport.mqtt.protocol.client import ClientMachine, ClientState
from oocana_async.transport.mqtt.protocol.encoder import encode_publish, encode_topic
from oocana_async.transport.mqtt.protocol.packets import MAX_REMAINING_LENGTH, Connect, Packet, PubAck

__all__ = ["Publisher"]

CHUNK = 256 * 1024
"""Bytes after which `data_to_send()` returns what it has: large enough for one write, small enough to keep moving."""


class _Entry(msgspec.Struct, gc=False):
    """One message that the broker has not proven to have."""

    number: int
    topic: bytes
    payload: bytes
    qos: int
    weight: int
    packet_id: int = 0
    covered: bool = False
    dup: bool = False


class Publisher(ClientMachine):
    """Publishes in order, many at a time.

    Args:
        login: the CONNECT packet to introduce oneself with.
        max_messages: messages that may travel at once, at most 65,535.
        max_bytes: bytes of topics and payloads that may travel at once; one larger message travels alone.
        ping_timeout: seconds of silence after a PINGREQ that count as a lost connection.
    """

    def __init__(
        self,
        login: Connect,
        *,
        max_messages: int = 4096,
        max_bytes: int = 16 * 1024 * 1024,
        ping_timeout: float = 30.0,
    ) -> None:
        if not 1 <= max_messages <= 0xFFFF:
            raise ValueError(f"max_messages is {max_messages}; 1 to 65535 packet identifiers exist")
        super().__init__(login, ping_timeout=ping_timeout)
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.resent = 0
        # Unbounded here: who submits waits while `waiting` is not 0. Drained by data_to_send(), ends with the object.
        self._waiting: deque[_Entry] = deque()
        # Bound: max_messages and max_bytes; when full, messages stay in _waiting. Drained by what the broker proves.
        self._in_flight: deque[_Entry] = deque()
        self._by_id: dict[int, _Entry] = {}
        self._bytes = 0
        self._topics: dict[str, bytes] = {}
        self._submitted = 0
        self._last_id = 0
        self._sent_to = 0  # number of the last message on the wire
        self._proven_to = 0  # QoS 0 messages up to this number are at the broker
        self._ping_covers = 0
        self._flush_to = 0
        self._unproven = 0  # QoS 0 messages sent since anything that will be answered

    def submit(self, topic: str, payload: bytes, qos: int) -> int:
        """Take one message and return its number, 1 for the first; nothing is sent yet.

        Raises:
            ClosedError: After `disconnect()`.
            PacketTooLargeError: The message can never travel.
            ProtocolError: The topic cannot travel.
        """
        if self._state is ClientState.CLOSED:
            raise ClosedError("publish after the publisher was closed")
        head = self._topics.get(topic)
        if head is None:
            head = self._remember(topic)
        weight = len(payload) + len(head)
        if weight + 2 > MAX_REMAINING_LENGTH:
            size, limit = len(payload), MAX_REMAINING_LENGTH - len(head) - 2
            message = f"a message of {size} bytes to {topic}; MQTT carries at most {limit} there"
            raise PacketTooLargeError(message, size=size, limit=limit)
        self._submitted += 1
        self._waiting.append(_Entry(self._submitted, head, payload, qos, weight))
        return self._submitted

    def _remember(self, topic: str) -> bytes:
        head = encode_topic(topic)
        if len(self._topics) >= 256:  # topics with ids in them never come back
            self._topics.clear()
        self._topics[topic] = head
        return head

    def data_to_send(self, now: float) -> bytes:
        """Put waiting messages into flight and return the bytes to write; call again until it returns none."""
        if self._state is not ClientState.CONNECTED:
            return b""
        chunks: list[bytes] = []
        size = 0
        waiting, in_flight = self._waiting, self._in_flight
        room, room_bytes = self.max_messages - len(in_flight), self.max_bytes - self._bytes
        while waiting and size < CHUNK:
            weight = waiting[0].weight
            if (room <= 0 or weight > room_bytes) and in_flight:  # alone it may be larger than the window
                break
            entry = waiting.popleft()
            in_flight.append(entry)
            chunks.append(self._encode(entry))
            size += weight
            room -= 1
            room_bytes -= weight
        self._bytes = self.max_bytes - room_bytes
        if chunks:
            self._sent_to = in_flight[-1].number
        if size < CHUNK and self._needs_proof():
            chunks.append(self._ping(now))
        if not chunks:
            return b""
        self._sent_at = now
        return b"".join(chunks)

    def _encode(self, entry: _Entry) -> bytes:
        if not entry.qos:
            self._unproven += 1
            return encode_publish(entry.topic, entry.payload, 0)
        self._unproven = 0
        if not entry.packet_id:
            entry.packet_id = self._free_id()
            self._by_id[entry.packet_id] = entry
        return encode_publish(entry.topic, entry.payload, 1, entry.packet_id, dup=entry.dup)

    def _free_id(self) -> int:
        """Return the next packet identifier that no message holds; the window leaves one free."""
        packet_id = self._last_id % 0xFFFF + 1
        while packet_id in self._by_id:
            packet_id = packet_id % 0xFFFF + 1
        self._last_id = packet_id
        return packet_id

    def _needs_proof(self) -> bool:
        """Say whether QoS 0 messages wait for a proof that nothing on its way will bring."""
        if not self._unproven or self._ping_at is not None or not self._in_flight:
            return False
        stuck = bool(self._waiting)
        return stuck or self._unproven * 2 >= self.max_messages or self._flush_to >= self._in_flight[0].number

    def _ping(self, now: float) -> bytes:
        self._ping_covers = self._sent_to
        self._unproven = 0
        return super()._ping(now)

    def mark(self) -> int:
        """Return the number of the last message and see to it that all up to it get covered."""
        self._flush_to = self._submitted
        return self._submitted

    @property
    def covered_to(self) -> int:
        """Number up to which all messages have been covered."""
        oldest = self._in_flight or self._waiting
        return oldest[0].number - 1 if oldest else self._submitted

    @property
    def waiting(self) -> int:
        """Messages that the window has not let travel yet."""
        return len(self._waiting)

    def _take(self, packet: Packet, answers: list[bytes]) -> None:
        if type(packet) is PubAck:
            self._acknowledged(packet.packet_id)
        else:
            super()._take(packet, answers)

    def _acknowledged(self, packet_id: int) -> None:
        entry = self._by_id.pop(packet_id, None)
        if entry is None:  # a second PUBACK for one message: harmless
            return
        entry.covered = True
        if entry.number > self._proven_to:
            self._proven_to = entry.number
        in_flight = self._in_flight
        if in_flight and in_flight[0] is entry:  # the rule; a sweep would do the same, more slowly
            in_flight.popleft()
            self._bytes -= entry.weight
        if in_flight and in_flight[0].number <= self._proven_to:
            self._sweep()

    def _ponged(self) -> None:
        self._proven_to = max(self._proven_to, self._ping_covers)
        self._sweep()

    def _sweep(self) -> None:
        """Drop the covered messages at the head; a broker that acknowledges out of order only delays this."""
        in_flight, proven_to = self._in_flight, self._proven_to
        while in_flight and self._is_covered(entry := in_flight[0], proven_to):
            in_flight.popleft()
            self._bytes -= entry.weight

    @staticmethod
    def _is_covered(entry: _Entry, proven_to: int) -> bool:
        return entry.covered or (not entry.qos and entry.number <= proven_to)

    def connection_lost(self) -> None:
        """Note that the stream is gone; everything that is not covered waits again, in order, for the next one."""
        super().connection_lost()
        again = [entry for entry in self._in_flight if not self._is_covered(entry, self._proven_to)]
        for entry in again:
            # At QoS 1, because the next connection may break as well. It also starts the count of unproven ones anew.
            entry.dup = bool(entry.packet_id)
            entry.qos = 1
        self._waiting.extendleft(reversed(again))
        self._in_flight.clear()
        self._bytes = 0
        self.resent += len(again)

    def statistics(self) -> Mapping[str, Any]:
        """Counters, for people."""
        return {
            "state": self._state.value,
            "submitted": self._submitted,
            "covered_to": self.covered_to,
            "waiting": len(self._waiting),
            "in_flight": len(self._in_flight),
            "in_flight_bytes": self._bytes,
            "resent": self.resent,
            "pings": self.pings,
        }
