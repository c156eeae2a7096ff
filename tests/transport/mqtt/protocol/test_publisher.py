"""The publisher against a broker that exists only as a decoder."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oocana_async.errors import ClosedError, ConnectionLostError, PacketTooLargeError, ProtocolError, StateError
from oocana_async.transport.mqtt.protocol.client import BrokerRefusedError, ClientState
from oocana_async.transport.mqtt.protocol.decoder import Decoder
from oocana_async.transport.mqtt.protocol.encoder import encode
from oocana_async.transport.mqtt.protocol.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
)
from oocana_async.transport.mqtt.protocol.publisher import Publisher


class Peer:
    """A publisher, and the broker's view of what it writes."""

    def __init__(self, *, max_messages: int = 10, max_bytes: int = 10_000) -> None:
        self.publisher = Publisher(Connect("client"), max_messages=max_messages, max_bytes=max_bytes)
        self.decoder = Decoder()
        self.now = 0.0

    def connect(self) -> Packet:
        self.decoder = Decoder()
        (connect,) = self.decoder.feed(self.publisher.connect(self.now))
        self.answer(ConnAck(False, 0))
        return connect

    def answer(self, *packets: Packet) -> None:
        assert self.publisher.receive(b"".join(map(encode, packets)), self.now) == b""

    def sent(self) -> list[Packet]:
        packets: list[Packet] = []
        while data := self.publisher.data_to_send(self.now):
            packets += self.decoder.feed(data)
        return packets

    def submit(self, *bodies: bytes, qos: int = 1) -> None:
        for body in bodies:
            self.publisher.submit("t", body, qos)


def bodies(packets: list[Packet]) -> list[bytes]:
    return [packet.payload for packet in packets if isinstance(packet, Publish)]


@pytest.fixture
def peer() -> Peer:
    peer = Peer()
    peer.connect()
    return peer


def test_login_is_sent_first() -> None:
    peer = Peer()
    assert peer.connect() == Connect("client")


def test_nothing_is_sent_before_connack() -> None:
    peer = Peer()
    peer.publisher.connect(0.0)
    peer.submit(b"1")
    assert peer.sent() == []
    peer.answer(ConnAck(False, 0))
    assert bodies(peer.sent()) == [b"1"]


@pytest.mark.parametrize(("code", "permanent"), [(3, False), (4, True), (5, True), (9, True)])
def test_refusal_is_explained(code: int, permanent: bool) -> None:
    peer = Peer()
    peer.publisher.connect(0.0)
    with pytest.raises(BrokerRefusedError, match=f"refused.*code {code}") as caught:
        peer.answer(ConnAck(False, code))
    assert caught.value.permanent is permanent


def test_window_in_messages(peer: Peer) -> None:
    peer.submit(*(b"%d" % number for number in range(15)))
    sent = peer.sent()
    assert [packet.packet_id for packet in sent if isinstance(packet, Publish)] == list(range(1, 11))
    peer.answer(PubAck(1), PubAck(2))
    assert bodies(peer.sent()) == [b"10", b"11"]
    assert peer.publisher.waiting == 3


def test_window_in_bytes(peer: Peer) -> None:
    peer.submit(bytes(6_000), bytes(6_000), bytes(30_000), b"small")
    assert [len(body) for body in bodies(peer.sent())] == [6_000]
    peer.answer(PubAck(1))
    assert [len(body) for body in bodies(peer.sent())] == [6_000]
    peer.answer(PubAck(2))
    assert [len(body) for body in bodies(peer.sent())] == [30_000]  # larger than the window: alone
    peer.answer(PubAck(3))
    assert bodies(peer.sent()) == [b"small"]


def test_puback_covers_qos0_before_it(peer: Peer) -> None:
    peer.submit(b"a", qos=0)
    peer.submit(b"b", qos=1)
    peer.submit(b"c", qos=0)
    peer.sent()
    assert peer.publisher.covered_to == 0
    peer.answer(PubAck(1))
    assert peer.publisher.covered_to == 2


def test_mark_asks_for_a_proof_of_trailing_qos0(peer: Peer) -> None:
    peer.submit(b"a", qos=0)
    assert bodies(peer.sent()) == [b"a"]
    mark = peer.publisher.mark()
    assert peer.sent() == [PingReq()]
    assert peer.sent() == []
    peer.submit(b"later", qos=0)
    peer.sent()
    peer.answer(PingResp())
    assert peer.publisher.covered_to == mark == 1


def test_mark_needs_no_ping_before_a_puback(peer: Peer) -> None:
    peer.submit(b"a", qos=0)
    peer.submit(b"b", qos=1)
    peer.publisher.mark()
    assert PingReq() not in peer.sent()


def test_window_full_of_qos0_pings_itself_free(peer: Peer) -> None:
    peer.submit(*(b"%d" % number for number in range(25)), qos=0)
    sent = peer.sent()
    assert bodies(sent) == [b"%d" % number for number in range(10)]
    assert sent[-1] == PingReq()
    peer.answer(PingResp())
    assert len(bodies(peer.sent())) == 10


def test_ping_covers_only_what_was_written_before_it(peer: Peer) -> None:
    """What still waited for the window when the ping went out is not at the broker, and must survive a cut."""
    peer.submit(*(b"%d" % number for number in range(25)), qos=0)
    peer.sent()
    peer.answer(PingResp())
    second = bodies(peer.sent())
    assert second == [b"%d" % number for number in range(10, 20)]
    peer.publisher.connection_lost()
    peer.connect()
    assert bodies(peer.sent()) == second


def test_cut_gives_back_the_window_in_bytes(peer: Peer) -> None:
    peer.submit(bytes(6_000), bytes(3_000))
    peer.sent()
    peer.publisher.connection_lost()
    peer.connect()
    assert [len(body) for body in bodies(peer.sent())] == [6_000, 3_000]


def test_topics_with_ids_in_them_are_not_kept_for_ever() -> None:
    peer = Peer(max_messages=1)
    peer.connect()

    def publish(start: int, count: int) -> None:
        for number in range(start, start + count):
            peer.publisher.submit(f"session/{number:0>200}", b"", 1)
            (packet,) = peer.sent()
            assert isinstance(packet, Publish)
            peer.answer(PubAck(packet.packet_id))

    publish(0, 300)
    tracemalloc.start()
    try:
        publish(300, 2_000)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 400_000  # 256 topics of some 500 bytes on either side, not 2,000


def test_reconnect_sends_again_what_is_not_covered(peer: Peer) -> None:
    peer.submit(b"a", b"b")
    peer.submit(b"c", qos=0)
    peer.sent()
    peer.submit(b"d")
    peer.answer(PubAck(1))
    peer.publisher.connection_lost()
    peer.connect()
    sent = [packet for packet in peer.sent() if isinstance(packet, Publish)]
    assert [(packet.payload, packet.qos, packet.dup) for packet in sent] == [
        (b"b", 1, True),
        (b"c", 1, False),
        (b"d", 1, False),
    ]
    assert sent[0].packet_id == 2
    assert len({packet.packet_id for packet in sent}) == 3
    assert peer.publisher.resent == 2


def test_what_a_pingresp_proved_is_not_sent_again(peer: Peer) -> None:
    peer.submit(b"a", b"b", qos=0)
    peer.publisher.mark()
    peer.sent()
    peer.answer(PingResp())
    peer.publisher.connection_lost()
    peer.connect()
    assert peer.sent() == []


def test_packet_ids_in_flight_are_skipped_after_wrap_around() -> None:
    peer = Peer(max_messages=0xFFFF, max_bytes=10_000_000)
    peer.connect()
    for number in range(0xFFFF):
        peer.submit(b"x", qos=number % 2)
    peer.sent()
    peer.publisher.connection_lost()
    peer.connect()
    held = [packet.packet_id for packet in peer.sent() if isinstance(packet, Publish)]
    assert len(set(held)) == 0xFFFF  # ids of the second sending are not in the order of the messages any more
    for packet_id in held[:100]:
        peer.answer(PubAck(packet_id))
    peer.submit(*[b"new"] * 100)
    new = [packet.packet_id for packet in peer.sent() if isinstance(packet, Publish)]
    assert len(set(new)) == 100
    assert set(new).isdisjoint(held[100:])


def test_a_second_wrap_around_reuses_ids() -> None:
    peer = Peer(max_messages=3)
    peer.connect()
    for number in range(0xFFFF + 5):
        peer.submit(b"x")
        assert peer.sent() == [Publish("t", b"x", 1, number % 0xFFFF + 1)]
        peer.answer(PubAck(number % 0xFFFF + 1))


def test_pubacks_out_of_order_and_twice(peer: Peer) -> None:
    peer.submit(b"a", b"b", b"c")
    peer.sent()
    peer.answer(PubAck(2), PubAck(3), PubAck(3))
    assert peer.publisher.covered_to == 0
    peer.answer(PubAck(1))
    assert peer.publisher.covered_to == 3


def test_keep_alive_ping_and_its_timeout(peer: Peer) -> None:
    assert peer.publisher.deadline() == 60
    assert peer.publisher.on_time(59.9) == b""
    assert peer.publisher.on_time(60) == encode(PingReq())
    assert peer.publisher.deadline() == 90
    with pytest.raises(ConnectionLostError, match="silent for 30 s"):
        peer.publisher.on_time(90)


def test_keep_alive_moves_on_with_traffic(peer: Peer) -> None:
    peer.now = 50
    peer.submit(b"a")
    peer.sent()
    peer.answer(PubAck(1))
    assert peer.publisher.deadline() == 110


def test_no_keep_alive_when_it_is_0() -> None:
    publisher = Publisher(Connect("client", keep_alive=0))
    publisher.connect(0.0)
    publisher.receive(encode(ConnAck(False, 0)), 0.0)
    assert publisher.deadline() is None


def test_too_large_message_names_its_size(peer: Peer) -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 268_435_456

    with pytest.raises(PacketTooLargeError, match="268435456 bytes to t"):
        peer.publisher.submit("t", Huge(), 1)
    peer.submit(b"next")
    assert bodies(peer.sent()) == [b"next"]


@pytest.mark.parametrize("packet", [PingResp(), ConnAck(False, 0), Publish("t", b""), Disconnect()])
def test_packet_out_of_place(peer: Peer, packet: Packet) -> None:
    with pytest.raises(ProtocolError, match=f"{type(packet).__name__} while connected"):
        peer.answer(packet)


def test_disconnect_ends_it(peer: Peer) -> None:
    assert peer.publisher.disconnect() == encode(Disconnect())
    assert peer.publisher.state is ClientState.CLOSED
    with pytest.raises(ClosedError):
        peer.submit(b"late")
    with pytest.raises(StateError, match="cannot go from closed to connecting; allowed: nothing"):
        peer.publisher.connect(0.0)


def test_window_that_no_packet_ids_exist_for() -> None:
    with pytest.raises(ValueError, match="65535"):
        Publisher(Connect("client"), max_messages=65_536)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(0, 1)),
        st.tuples(st.just("send"), st.just(0)),
        st.tuples(st.just("answer"), st.integers(1, 5)),
        st.tuples(st.just("mark"), st.just(0)),
        st.tuples(st.just("cut"), st.integers(0, 9)),
    ),
    max_size=120,
)


class Broker:
    """Reads what is written, possibly only a part before a cut, and answers in order."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.taken: list[bytes] = []
        self.unanswered: list[Packet] = []

    def read(self, packets: list[Packet]) -> None:
        for packet in packets:
            if isinstance(packet, Publish):
                if packet.payload not in self.taken:
                    self.taken.append(packet.payload)
                if packet.qos:
                    self.unanswered.append(PubAck(packet.packet_id))
            elif isinstance(packet, PingReq):
                self.unanswered.append(PingResp())

    def answer(self, count: int) -> None:
        now, self.unanswered = self.unanswered[:count], self.unanswered[count:]
        if now:
            self.peer.answer(*now)

    def cut(self, read: int) -> None:
        self.read(self.peer.sent()[:read])
        self.unanswered = []
        self.peer.publisher.connection_lost()
        self.peer.connect()


@settings(max_examples=300)
@given(steps)
def test_nothing_is_lost_reordered_or_covered_too_early(plan: list[tuple[str, int]]) -> None:
    peer = Peer(max_messages=4, max_bytes=40)
    peer.connect()
    broker = Broker(peer)
    submitted: list[bytes] = []
    for step, argument in plan:
        if step == "submit":
            submitted.append(b"%d" % len(submitted))
            peer.submit(submitted[-1], qos=argument)
        elif step == "send":
            broker.read(peer.sent())
        elif step == "answer":
            broker.answer(argument)
        elif step == "mark":
            peer.publisher.mark()
        else:
            broker.cut(argument)
        assert broker.taken == submitted[: len(broker.taken)]
        assert peer.publisher.covered_to <= len(broker.taken)
    mark = peer.publisher.mark()
    for _ in range(len(submitted) + 3):
        broker.read(peer.sent())
        broker.answer(100)
    assert broker.taken == submitted
    assert peer.publisher.covered_to == mark == len(submitted)
