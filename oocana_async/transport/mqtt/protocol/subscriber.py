"""The subscribing side of an MQTT 3.1.1 client: subscriptions that survive a reconnect, PUBACK; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oocana_async.errors import ProtocolError
from oocana_async.transport.mqtt.protocol.client import ClientMachine, ClientState
from oocana_async.transport.mqtt.protocol.encoder import encode
from oocana_async.transport.mqtt.protocol.packets import (
    Connect,
    Packet,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)

__all__ = ["Subscriber"]


class Subscriber(ClientMachine):
    """Keeps a set of topic filters subscribed and collects what arrives.

    Args:
        login: the CONNECT packet to introduce oneself with.
        ping_timeout: seconds of silence after a PINGREQ that count as a lost connection.
    """

    def __init__(self, login: Connect, *, ping_timeout: float = 30.0) -> None:
        super().__init__(login, ping_timeout=ping_timeout)
        self.refused: dict[str, int] = {}
        self.received = 0
        self._wanted: dict[str, int] = {}
        self._in_force: set[str] = set()
        self._pending: dict[int, tuple[str, ...]] = {}
        self._last_id = 0
        # Unbounded; drained by take() after every receive() by the same caller, ends with the object.
        self._inbox: list[Publish] = []

    def subscribe(self, filters: Mapping[str, int], now: float) -> bytes:
        """Want topic filters, each with its QoS; returns what to write, nothing while there is no connection."""
        for name in filters:
            self.refused.pop(name, None)
        self._wanted.update(filters)
        if self._state is not ClientState.CONNECTED or not filters:
            return b""
        self._sent_at = now
        return self._ask(filters)

    def unsubscribe(self, filters: tuple[str, ...], now: float) -> bytes:
        """Want topic filters no more; returns what to write, nothing while there is no connection."""
        known = tuple(name for name in filters if self._wanted.pop(name, None) is not None)
        self._in_force.difference_update(known)
        if self._state is not ClientState.CONNECTED or not known:
            return b""
        self._sent_at = now
        return encode(Unsubscribe(self._next_id(), known))

    def _ask(self, filters: Mapping[str, int]) -> bytes:
        packet_id = self._next_id()
        self._pending[packet_id] = tuple(filters)
        return encode(Subscribe(packet_id, tuple(filters.items())))

    def _next_id(self) -> int:
        self._last_id = self._last_id % 0xFFFF + 1
        return self._last_id

    def in_force(self, filters: Mapping[str, int]) -> bool:
        """Say whether the broker has granted all of these filters.

        Raises:
            ProtocolError: The broker refused one of them.
        """
        if refused := [name for name in filters if name in self.refused]:
            raise ProtocolError(f"the broker refused the subscription to {', '.join(refused)}")
        return self._in_force.issuperset(filters)

    def take(self) -> list[Publish]:
        """Return the messages that have arrived since the last call."""
        inbox, self._inbox = self._inbox, []
        return inbox

    def _accepted(self, answers: list[bytes]) -> None:
        if self._wanted:
            answers.append(self._ask(self._wanted))

    def _take(self, packet: Packet, answers: list[bytes]) -> None:
        match packet:
            case Publish():
                self.received += 1
                self._inbox.append(packet)
                if packet.qos:
                    answers.append(encode(PubAck(packet.packet_id)))
            case SubAck():
                self._granted(packet)
            case UnsubAck():
                pass
            case _:
                super()._take(packet, answers)

    def _granted(self, packet: SubAck) -> None:
        filters = self._pending.pop(packet.packet_id, None)
        if filters is None or len(filters) != len(packet.return_codes):
            raise ProtocolError(f"SUBACK {packet.packet_id} with {len(packet.return_codes)} codes answers no SUBSCRIBE")
        for name, code in zip(filters, packet.return_codes, strict=True):
            if code >= 0x80:
                self.refused[name] = code
                self._wanted.pop(name, None)
            elif name in self._wanted:
                self._in_force.add(name)

    def connection_lost(self) -> None:
        """Note that the stream is gone; the next connection subscribes again."""
        super().connection_lost()
        self._pending.clear()
        self._in_force.clear()

    def statistics(self) -> Mapping[str, Any]:
        """Counters, for people."""
        return {
            "state": self._state.value,
            "filters": dict(self._wanted),
            "in_force": sorted(self._in_force),
            "received": self.received,
        }
