"""What publisher and subscriber have in common as MQTT clients: connecting, keep-alive, losing the connection; no I/O.

What a machine does: it turns bytes that came in into bytes that must go out, and says when it wants to be called next.
What it will not do: read, write, wait, or look at a clock. Duties of whoever drives it: call `connect()` once a byte
stream is open and write what it returns, hand everything that arrives to `receive()`, call `on_time()` when
`deadline()` has come, call `connection_lost()` when the stream is gone, and close the stream when one of them raises.
All times are seconds of one monotonic clock.
"""

from __future__ import annotations

import enum

from oocana_async.errors import ConnectionLostError, ProtocolError, StateError
from oocana_async.transport.mqtt.protocol.decoder import Decoder
from oocana_async.transport.mqtt.protocol.encoder import encode
from oocana_async.transport.mqtt.protocol.packets import (
    REFUSALS,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
)

__all__ = ["BrokerRefusedError", "ClientMachine", "ClientState"]

_PINGREQ = encode(PingReq())


class ClientState(enum.Enum):
    """Where a machine is."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


_MOVES = {
    ClientState.IDLE: {ClientState.CONNECTING, ClientState.CLOSED},
    ClientState.CONNECTING: {ClientState.CONNECTED, ClientState.IDLE, ClientState.CLOSED},
    ClientState.CONNECTED: {ClientState.IDLE, ClientState.CLOSED},
    ClientState.CLOSED: set[ClientState](),
}


class BrokerRefusedError(ConnectionLostError):
    """The broker answered CONNECT with a refusal.

    Attributes:
        code: return code of CONNACK.
        permanent: trying again cannot help.
    """

    def __init__(self, code: int) -> None:
        self.code = code
        self.permanent = code != 3
        reason = REFUSALS.get(code, "for a reason that MQTT 3.1.1 does not know")
        super().__init__(f"the broker refused the connection: {reason} (CONNACK code {code})")


class ClientMachine:
    """A client without a socket.

    Args:
        login: the CONNECT packet to introduce oneself with; its keep-alive is kept.
        ping_timeout: seconds of silence after a PINGREQ that count as a lost connection.
    """

    def __init__(self, login: Connect, *, ping_timeout: float = 30.0) -> None:
        self.login = login
        self.ping_timeout = ping_timeout
        self.pings = 0
        self._state = ClientState.IDLE
        self._decoder = Decoder()
        self._sent_at = self._received_at = 0.0
        self._ping_at: float | None = None

    @property
    def state(self) -> ClientState:
        """Where the machine is."""
        return self._state

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection."""
        return self._state is ClientState.CONNECTED

    def _move(self, state: ClientState) -> None:
        if state not in _MOVES[self._state]:
            allowed = ", ".join(sorted(move.value for move in _MOVES[self._state])) or "nothing"
            raise StateError(f"cannot go from {self._state.value} to {state.value}; allowed: {allowed}")
        self._state = state

    def connect(self, now: float) -> bytes:
        """Begin on a fresh byte stream; returns CONNECT."""
        self._move(ClientState.CONNECTING)
        self._decoder = Decoder()
        self._sent_at = self._received_at = now
        self._ping_at = None
        return encode(self.login)

    def receive(self, data: bytes, now: float) -> bytes:
        """Take bytes from the stream and return what must be written in answer.

        Raises:
            BrokerRefusedError: CONNACK with a refusal.
            ProtocolError: The broker broke the rules.
        """
        self._received_at = now
        answers: list[bytes] = []
        for packet in self._decoder.feed(data):
            self._take(packet, answers)
        if not answers:
            return b""
        self._sent_at = now
        return b"".join(answers)

    def _take(self, packet: Packet, answers: list[bytes]) -> None:
        """Handle a packet of the kinds that every client knows."""
        match packet:
            case ConnAck() if self._state is ClientState.CONNECTING:
                if packet.return_code:
                    raise BrokerRefusedError(packet.return_code)
                self._move(ClientState.CONNECTED)
                self._accepted(answers)
            case PingResp() if self._ping_at is not None:
                self._ping_at = None
                self._ponged()
            case _:
                raise ProtocolError(f"the broker sent {type(packet).__name__} while {self._state.value}")

    def _accepted(self, answers: list[bytes]) -> None:
        """Hook: the broker has accepted the connection."""

    def _ponged(self) -> None:
        """Hook: a PINGRESP has come."""

    def deadline(self) -> float | None:
        """Say when `on_time()` wants to be called, None for never; activity only moves it on, a ping brings it near."""
        if self._state is not ClientState.CONNECTED:
            return None
        if self._ping_at is not None:
            return max(self._ping_at, self._received_at) + self.ping_timeout
        if not self.login.keep_alive:
            return None
        return min(self._sent_at, self._received_at) + self.login.keep_alive

    def on_time(self, now: float) -> bytes:
        """Do what is due and return what must be written; being called early does no harm.

        Raises:
            ConnectionLostError: The broker did not answer a ping.
        """
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return b""
        if self._ping_at is not None:
            raise ConnectionLostError(f"the broker has been silent for {self.ping_timeout:g} s after a ping")
        return self._ping(now)

    def _ping(self, now: float) -> bytes:
        self._ping_at = self._sent_at = now
        self.pings += 1
        return _PINGREQ

    def connection_lost(self) -> None:
        """Note that the stream is gone; `connect()` may follow."""
        if self._state is not ClientState.CLOSED:
            self._move(ClientState.IDLE)

    def disconnect(self) -> bytes:
        """End for good; returns DISCONNECT, nothing when there is no connection."""
        was_connected = self.connected
        self._move(ClientState.CLOSED)
        return encode(Disconnect()) if was_connected else b""
