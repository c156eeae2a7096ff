"""The MQTT transport against a real broker, with an engine that this file plays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

import pytest

from oocana_async.errors import ClosedError, ConnectionLostError, PacketTooLargeError, TransportError
from oocana_async.transport.base import Subscription
from oocana_async.transport.broker import MqttTransport
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.protocol.packets import Connect, Subscribe
from oocana_async.transport.mqtt.publishing import PublishingConnection
from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts
from oocana_async.transport.mqtt.subscribing import SubscribingConnection
from oocana_async.transport.pacing.notices import Notice, NoticeKind
from oocana_async.transport.pacing.settings import PacingSettings
from oocana_async.wire.envelope import Delivery, Outgoing

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker, StartBroker
    from tests.transport.conftest import MovableTime, Proxy

pytestmark = [pytest.mark.anyio, pytest.mark.broker]

TOPIC = "session/S"
UNPACED = PacingSettings(enabled=False)


def transport_to(broker: MosquittoBroker | Proxy, **options: Any) -> MqttTransport:
    options.setdefault("session_id", "S")
    return MqttTransport(f"127.0.0.1:{broker.port}", client_id="executor", **options)


def message(delivery: Delivery, job: str = "J", **fields: Any) -> Outgoing:
    topic = "report" if delivery is Delivery.REPORT else TOPIC
    body = {"session_id": "S", "job_id": job, **fields}
    return Outgoing(topic, json.dumps(body).encode(), delivery, "S", job)


def output(number: int, job: str = "J") -> Outgoing:
    return message(Delivery.DATA, job, type="BlockOutput", handle="a", output=number)


class Engine:
    """Takes messages from the session topic at its own pace, answers barriers, reports ends."""

    def __init__(self, broker: MosquittoBroker) -> None:
        where = Broker(broker.host, broker.port)
        self.subscribing = SubscribingConnection(where, client_id="engine-in", deliver=self.take)
        self.publishing = PublishingConnection(where, client_id="engine-out")
        self.taken: list[dict[str, Any]] = []
        self.barriers = 0
        self.reporting = True
        self.answering = True
        self.changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.publishing.open()
        await self.subscribing.open()
        await self.subscribing.subscribe({TOPIC: 1})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.subscribing.aclose()
        await self.publishing.aclose()

    def take(self, _topic: str, payload: bytes) -> None:
        body = json.loads(payload)
        if body["session_id"] != "S":
            return
        if body["type"] == "BlockRequest":
            self.barriers += 1
            if self.answering:
                self.say(f"{TOPIC}/request/{body['request_id']}/response", body | {"result": {}})
            return
        self.taken.append(body)
        self.changed.set()
        if body["type"] == "BlockFinished" and self.reporting:
            self.say("report", {"type": "BlockFinished", "session_id": "S", "job_id": body["job_id"], "finish_at": 1})

    def say(self, topic: str, body: dict[str, Any]) -> None:
        self.publishing.publish_nowait([(topic, json.dumps(body).encode(), 1)])

    async def until(self, condition: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            while not condition(self.taken):
                self.changed.clear()
                await self.changed.wait()
        return self.taken


async def transport_has(transport: MqttTransport, condition: Callable[[Any], bool]) -> None:
    """Wait until the numbers of a transport are as wanted; they change when bytes arrive."""
    async with asyncio.timeout(10):
        while not condition(transport.statistics()):
            await asyncio.sleep(0)


@pytest.fixture
async def engine(broker: MosquittoBroker) -> AsyncIterator[Engine]:
    async with Engine(broker) as engine:
        yield engine


async def receive(subscription: Subscription, count: int) -> list[tuple[str, bytes]]:
    messages: list[tuple[str, bytes]] = []
    async with asyncio.timeout(10):
        while len(messages) < count:
            messages += [(message.topic, message.payload) for message in await subscription.receive_many()]
    return messages


# --- subscribing ------------------------------------------------------------------------------------------------------


async def test_subscription_is_in_force_when_subscribe_returns(broker: MosquittoBroker) -> None:
    async with (
        transport_to(broker, pacing=UNPACED) as transport,
        PublishingConnection(transport.broker, client_id="other") as other,
    ):
        subscription = await transport.subscribe("inputs/S/#")
        other.publish_nowait([("inputs/S/J1", b"1", 1), ("inputs/T/J1", b"2", 1), ("inputs/S/J2", b"3", 1)])
        assert await receive(subscription, 2) == [("inputs/S/J1", b"1"), ("inputs/S/J2", b"3")]
        assert subscription.statistics() == {"received": 2, "waiting": 0, "dropped": 0}


async def test_burst_of_jobs_does_not_stand_in_front_of_inputs(start_broker: StartBroker) -> None:
    """The broker drops what is more than 1,000 messages in front of a connection; it may drop jobs, never inputs."""
    async with (
        transport_to(start_broker()) as transport,
        PublishingConnection(transport.broker, client_id="other") as other,
    ):
        subscription = await transport.subscribe("executor/python/run_block", "inputs/S/#")
        jobs = [("executor/python/run_block", b"S" * 1000, 1)] * 20_000
        other.publish_nowait([*jobs, ("inputs/S/J1", b"1", 1)])
        async with asyncio.timeout(10):
            async for message in subscription:
                if message.topic == "inputs/S/J1":
                    break


async def test_iteration_ends_with_aclose(broker: MosquittoBroker) -> None:
    async with transport_to(broker) as transport:
        subscription = await transport.subscribe("a/b")
        await transport.publish([Outgoing("a/b", b"x", Delivery.CONTROL)])
        assert (await anext(subscription)).payload == b"x"
        await subscription.aclose()
        await subscription.aclose()
        assert [message async for message in subscription] == []
        assert await subscription.receive_many() == []


async def test_report_of_other_sessions_is_dropped(broker: MosquittoBroker) -> None:
    async with (
        transport_to(broker, session_id="S1") as transport,
        PublishingConnection(transport.broker, client_id="other") as other,
    ):
        subscription = await transport.subscribe("report")
        other.publish_nowait([("report", b'{"session_id":"S2"}', 1), ("report", b'{"session_id":"S1"}', 1)])
        assert await receive(subscription, 1) == [("report", b'{"session_id":"S1"}')]


async def test_two_subscriptions_to_one_topic(broker: MosquittoBroker) -> None:
    async with transport_to(broker, pacing=UNPACED) as transport:
        first, second = await transport.subscribe("report"), await transport.subscribe("report", TOPIC)
        await transport.publish([message(Delivery.REPORT), output(1)])
        assert len(await receive(second, 2)) == 2
        assert len(await receive(first, 1)) == 1
        await second.aclose()
        await transport.publish([message(Delivery.REPORT)])
        assert len(await receive(first, 1)) == 1


async def test_subscribers_get_only_the_reports_they_want(broker: MosquittoBroker) -> None:
    async with transport_to(broker, wanted=lambda payload: b"BlockLog" not in payload) as transport:
        subscription = await transport.subscribe("report")
        await transport.publish([message(Delivery.REPORT, type=kind) for kind in ("BlockLog", "BlockMessage")])
        assert [json.loads(payload)["type"] for _, payload in await receive(subscription, 1)] == ["BlockMessage"]
        assert transport.statistics()["pacing"]["report_unseen"] == 0


async def test_overlapping_filters_bring_each_message_once(start_broker: StartBroker) -> None:
    broker = start_broker("allow_duplicate_messages true")  # other brokers do that by default
    async with transport_to(broker) as transport:
        first = await transport.subscribe("inputs/S/J", f"{TOPIC}/request/R/response")
        second = await transport.subscribe("inputs/S/#", f"{TOPIC}/request/#")
        wanted = ["inputs/S/J", f"{TOPIC}/request/R/response", "inputs/S/last"]
        await transport.publish([Outgoing(topic, b"{}", Delivery.CONTROL) for topic in wanted])
        assert [topic for topic, _ in await receive(second, 3)] == wanted
        assert [topic for topic, _ in await receive(first, 2)] == wanted[:2]


async def test_subscriptions_come_back_after_a_cut(broker: MosquittoBroker, proxy: Proxy) -> None:
    async with (
        transport_to(proxy) as transport,
        PublishingConnection(Broker(port=broker.port), client_id="other") as other,
    ):
        subscription = await transport.subscribe("a/b", "report")
        proxy.cut()
        await transport.subscribe("fence")  # waits for the new connection, where `a/b` was asked for first
        subscribed_again = await transport.subscribe(TOPIC)
        other.publish_nowait([("a/b", b"S", 1), ("report", b"S", 1)])
        assert set(await receive(subscription, 2)) == {("a/b", b"S"), ("report", b"S")}
        assert transport.statistics()["subscriptions"]["reconnects"] == 1
        await subscribed_again.aclose()


async def test_inputs_and_answers_come_at_qos1(proxy: Proxy) -> None:
    """They are sent once; only the report, of which far too much comes, is read at QoS 0."""
    async with transport_to(proxy) as transport:
        await transport.subscribe("inputs/S/+", f"{TOPIC}/request/#", TOPIC, "report")
        asked = [packet for packet in proxy.packets() if isinstance(packet, Subscribe)]
        levels = dict(entry for packet in asked for entry in packet.filters)
    assert levels == {"inputs/S/+": 1, f"{TOPIC}/request/+/response": 1, f"{TOPIC}/request/#": 1, TOPIC: 1, "report": 0}


async def test_broker_keeps_no_session(proxy: Proxy) -> None:
    """It would be a queue that nobody reads, for every executor that ever ran."""
    async with transport_to(proxy) as transport:
        await transport.subscribe("inputs/S/+", "report")
        logins = [packet for packet in proxy.packets() if isinstance(packet, Connect)]
        assert [login.clean_session for login in logins] == [True] * 3


async def test_broadcast_that_nobody_wants_any_more_is_not_sent(broker: MosquittoBroker) -> None:
    async with transport_to(broker) as transport, PublishingConnection(transport.broker, client_id="other") as other:
        report, topic = await transport.subscribe("report"), await transport.subscribe(TOPIC)
        await topic.aclose()
        await transport.subscribe("executor/fence")  # granted after the broker has forgotten the other one
        other.publish_nowait([(TOPIC, b"S", 1), ("report", b"S", 1)])
        await receive(report, 1)
        assert transport.statistics()["broadcasts"]["received"] == 1


# --- publishing at the pace of the engine -----------------------------------------------------------------------------


async def test_all_of_50_000_outputs_arrive_in_order(start_broker: StartBroker) -> None:
    broker = start_broker()  # at its defaults: drops what is more than 1,000 messages in front of a subscriber
    async with Engine(broker) as engine, transport_to(broker) as transport:
        for start in range(0, 50_000, 1_000):
            await transport.publish([output(number) for number in range(start, start + 1_000)])
        await transport.publish([message(Delivery.FINISH, type="BlockFinished")])
        taken = await engine.until(lambda taken: taken[-1]["type"] == "BlockFinished")
        assert [body["output"] for body in taken[:-1]] == list(range(50_000))
        assert engine.barriers > 100
        assert transport.statistics()["pacing"]["sessions"]["S"]["reopened"] == 0


@pytest.mark.parametrize("reporting", [True, False])
async def test_many_jobs_at_once_lose_nothing(start_broker: StartBroker, reporting: bool) -> None:
    broker = start_broker()
    jobs = [f"J{number}" for number in range(150)]
    async with Engine(broker) as engine, transport_to(broker) as transport:
        engine.reporting = reporting
        await transport.subscribe("report")
        await transport.publish([message(Delivery.HANDSHAKE, job, type="BlockReady") for job in jobs])
        for number in range(60):
            await transport.publish([output(number, job) for job in jobs])
        await transport.publish([message(Delivery.FINISH, job, type="BlockFinished") for job in jobs])
        taken = await engine.until(lambda taken: len(taken) == 150 * 62)
        by_job: dict[str, list[dict[str, Any]]] = {job: [] for job in jobs}
        for body in taken:
            by_job[body["job_id"]].append(body)
        for bodies in by_job.values():
            assert [body["type"] for body in bodies] == ["BlockReady", *["BlockOutput"] * 60, "BlockFinished"]
            assert [body["output"] for body in bodies[1:-1]] == list(range(60))


async def test_barriers_are_not_seen_by_subscribers(broker: MosquittoBroker, engine: Engine) -> None:
    async with transport_to(broker) as transport:
        subscription = await transport.subscribe(f"{TOPIC}/request/#")
        await transport.publish([output(number) for number in range(500)])
        engine.say(f"{TOPIC}/request/R1/response", {"request_id": "R1"})
        assert [topic for topic, _ in await receive(subscription, 1)] == [f"{TOPIC}/request/R1/response"]
        assert engine.barriers > 0


async def test_engine_that_does_not_confirm_is_reported(
    broker: MosquittoBroker, engine: Engine, clock: MovableTime
) -> None:
    engine.answering = False
    notices: list[Notice] = []
    async with transport_to(broker, on_notice=notices.append) as transport:
        publishing = asyncio.create_task(transport.publish([output(number) for number in range(600)]))
        await engine.until(lambda taken: len(taken) == 249)
        await clock.advance(31)
        await publishing
        await engine.until(lambda taken: len(taken) == 600)
        assert [notice.kind for notice in notices] == [NoticeKind.NOT_CONFIRMED]


async def test_finish_is_sent_again_when_report_does_not_show_it(
    broker: MosquittoBroker, engine: Engine, clock: MovableTime
) -> None:
    engine.reporting = False
    async with transport_to(broker) as transport:
        finish = message(Delivery.FINISH, type="BlockFinished")
        await transport.publish([message(Delivery.HANDSHAKE, type="BlockReady"), finish])
        await engine.until(lambda taken: len(taken) == 2)
        await clock.advance(2)
        await engine.until(lambda taken: [body["type"] for body in taken].count("BlockFinished") == 2)
        assert transport.statistics()["pacing"]["finishes_resent"] == 1


async def test_finish_that_report_shows_is_sent_once(
    broker: MosquittoBroker, engine: Engine, clock: MovableTime
) -> None:
    async with transport_to(broker) as transport:
        reports = await transport.subscribe("report")
        await transport.publish([message(Delivery.HANDSHAKE, type="BlockReady")])
        await transport.publish([message(Delivery.FINISH, type="BlockFinished")])
        await receive(reports, 1)
        await clock.advance(2)
        await transport.publish([output(1, "another")])
        taken = await engine.until(lambda taken: taken[-1]["job_id"] == "another")
        assert [body["type"] for body in taken] == ["BlockReady", "BlockFinished", "BlockOutput"]


async def test_block_ready_waits_for_the_inputs_of_others(broker: MosquittoBroker, engine: Engine) -> None:
    async with transport_to(broker, pacing=PacingSettings(ready_window=2)) as transport:
        await transport.subscribe("inputs/S/#")
        await transport.publish([message(Delivery.HANDSHAKE, f"J{number}", type="BlockReady") for number in range(3)])
        await engine.until(lambda taken: len(taken) == 2)
        engine.say("inputs/S/J1", {"stacks": [{"flow_job_id": "F", "flow": "f", "node_id": "n"}]})
        assert (await engine.until(lambda taken: len(taken) == 3))[-1]["job_id"] == "J2"


async def test_missing_inputs_are_reported(broker: MosquittoBroker, clock: MovableTime) -> None:
    notices: asyncio.Queue[Notice] = asyncio.Queue()
    async with transport_to(broker, on_notice=notices.put_nowait) as transport:
        await transport.publish([message(Delivery.HANDSHAKE, type="BlockReady")])
        await clock.advance(61)
        notice = await asyncio.wait_for(notices.get(), 5)
        assert (notice.kind, notice.job_id) == (NoticeKind.NO_INPUTS, "J")


async def test_cut_while_waiting_for_inputs_is_reported(proxy: Proxy) -> None:
    notices: asyncio.Queue[Notice] = asyncio.Queue()
    async with transport_to(proxy, on_notice=notices.put_nowait) as transport:
        await transport.publish([message(Delivery.HANDSHAKE, type="BlockReady")])
        await transport.flush()
        proxy.cut()
        notice = await asyncio.wait_for(notices.get(), 5)
        assert (notice.kind, notice.job_id) == (NoticeKind.NO_INPUTS, "J")


async def test_10_000_log_lines_reach_a_reader_that_keeps_pace(start_broker: StartBroker) -> None:
    async with transport_to(start_broker()) as transport:
        reader = await transport.subscribe("report")
        for start in range(0, 10_000, 500):
            await transport.publish([message(Delivery.REPORT, log=str(n)) for n in range(start, start + 500)])
        lines = [json.loads(payload)["log"] for _, payload in await receive(reader, 10_000)]
        assert lines == [str(number) for number in range(10_000)]


async def test_reports_wait_for_no_echo_that_a_cut_has_swallowed(proxy: Proxy) -> None:
    pacing = PacingSettings(report_window=5, report_release=3600)
    async with transport_to(proxy, pacing=pacing) as transport:
        await transport.subscribe("report")
        proxy.refusing = True
        proxy.cut("executor-broadcasts")
        publishing = asyncio.create_task(transport.publish([message(Delivery.REPORT)] * 6))
        await transport_has(transport, lambda numbers: numbers["publishing"]["covered_to"] == 5)
        assert not publishing.done()
        proxy.refusing = False
        await asyncio.wait_for(publishing, 10)


async def test_messages_that_are_sent_twice_are_told(proxy: Proxy) -> None:
    notices: asyncio.Queue[Notice] = asyncio.Queue()
    async with transport_to(proxy, pacing=UNPACED, on_notice=notices.put_nowait) as transport:
        await transport.publish([output(number) for number in range(100)])
        proxy.cut()
        notice = await asyncio.wait_for(notices.get(), 10)
        assert (notice.kind, notice.session_id) == (NoticeKind.DOUBLED, "S")
        assert "100 messages were sent again" in notice.text


async def test_end_of_the_session_lets_everything_go(broker: MosquittoBroker, engine: Engine) -> None:
    engine.answering = False
    async with transport_to(broker) as transport:
        await transport.subscribe("report")
        publishing = asyncio.create_task(transport.publish([output(number) for number in range(600)]))
        await engine.until(lambda taken: len(taken) == 249)
        assert not publishing.done()
        engine.say("report", {"type": "SessionFinished", "session_id": "S", "job_id": "remote"})
        engine.say("report", {"type": "SessionFinished", "session_id": "S", "finish_at": 1})
        await publishing
        await engine.until(lambda taken: len(taken) == 600)


async def test_flush_waits_for_acknowledgements(broker: MosquittoBroker) -> None:
    async with transport_to(broker, pacing=UNPACED) as transport:
        await transport.publish([output(number) for number in range(2_000)])
        await transport.flush()
        assert transport.statistics()["publishing"]["covered_to"] == 2_000


async def test_oversize_message_is_refused_alone(broker: MosquittoBroker, engine: Engine) -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 268_435_456

    async with transport_to(broker) as transport:
        with pytest.raises(PacketTooLargeError, match="268435456 bytes"):
            await transport.publish([Outgoing(TOPIC, Huge(), Delivery.DATA, "S", "J"), output(2)])
        assert [body["output"] for body in await engine.until(bool)] == [2]


# --- ends -------------------------------------------------------------------------------------------------------------


async def test_leaving_delivers_what_is_held(broker: MosquittoBroker, engine: Engine) -> None:
    engine.answering = False
    async with transport_to(broker, close_within=0.4) as transport:
        publishing = asyncio.create_task(transport.publish([output(number) for number in range(600)]))
        await engine.until(bool)
    await publishing
    assert [body["output"] for body in await engine.until(lambda taken: len(taken) == 600)] == list(range(600))


async def test_use_after_close(broker: MosquittoBroker) -> None:
    async with transport_to(broker) as transport:
        pass
    await transport.aclose()
    with pytest.raises(ClosedError):
        await transport.publish([output(1)])
    with pytest.raises(ClosedError):
        await transport.subscribe("a/b")


async def test_broker_gone_for_good(broker: MosquittoBroker) -> None:
    lost: list[TransportError] = []
    timeouts = ConnectTimeouts(first=0.3, again=0.3)
    async with transport_to(broker, timeouts=timeouts, on_lost=lost.append) as transport:
        subscription = await transport.subscribe("a/b")
        broker.stop()
        with pytest.raises(ConnectionLostError, match="cannot reach the broker"):
            await anext(subscription)
        with pytest.raises(ConnectionLostError):
            await transport.publish([output(1)])
        assert len(lost) == 1


async def test_broker_down_at_start(broker: MosquittoBroker) -> None:
    broker.stop()
    with pytest.raises(ConnectionLostError, match=f"cannot reach the broker at {broker.address}"):
        async with transport_to(broker, timeouts=ConnectTimeouts(first=0.2)):
            pass


async def test_wrong_password(start_broker: StartBroker, password_file: str) -> None:
    broker = start_broker("allow_anonymous false", f"password_file {password_file}")
    with pytest.raises(ConnectionLostError, match="user name or password"):
        async with MqttTransport(f"mqtt://me:wrong@{broker.address}", client_id="executor"):
            pass
    async with MqttTransport(f"mqtt://me:right@{broker.address}", client_id="executor") as transport:
        await transport.subscribe("a/b", "report")


async def test_broker_restart_keeps_outgoing_messages(broker: MosquittoBroker) -> None:
    notices: list[Notice] = []
    async with transport_to(broker, on_notice=notices.append) as transport:
        await transport.publish([output(number) for number in range(5)])
        await transport.flush()
        broker.stop()
        await transport.publish([output(number) for number in range(5, 10)])
        broker.start()
        async with Engine(broker) as engine:
            await transport.publish([output(10)])
            await transport.flush()
            await engine.until(lambda taken: bool(taken) and taken[-1]["output"] == 10)
        assert transport.statistics()["publishing"]["covered_to"] == 11


# --- what it costs ----------------------------------------------------------------------------------------------------


async def test_all_sockets_are_without_nagle(broker: MosquittoBroker) -> None:
    async with transport_to(broker) as transport:
        await transport.subscribe("report")
        flags = list(nodelay_of_connections_to(broker.port))
        assert flags == [True] * 3


def nodelay_of_connections_to(port: int) -> Iterator[bool]:
    """Look at every socket of this process that is connected to a port."""
    for descriptor in filter(is_socket, range(3, 256)):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as sock:
            if sock.family == socket.AF_INET and sock.getpeername()[1] == port:
                yield bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


def is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


async def test_idle_transport_costs_less_than_1_percent(broker: MosquittoBroker, clock: MovableTime) -> None:
    async with transport_to(broker) as transport:
        await transport.subscribe("report", "inputs/S/#")
        before = resource.getrusage(resource.RUSAGE_SELF)
        for _ in range(60):  # as many seconds of being idle, as far as the loop and its timers know
            await clock.advance(1)
        after = resource.getrusage(resource.RUSAGE_SELF)
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.6


def test_package_does_not_import_aiomqtt() -> None:
    modules = "oocana_async.transport.base, oocana_async.transport.mqtt.publishing"
    code = f"import sys, {modules}; assert 'aiomqtt' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
