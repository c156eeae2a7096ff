"""The official Mainframe class against a real broker: one plays the executor, another one the engine."""

from __future__ import annotations

import contextlib
import logging
import queue
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oocana_async.compat import BlockInfo, Mainframe
from oocana_async.errors import (
    ClosedError,
    ConnectionLostError,
    EncodingError,
    ProtocolError,
    RequestTimeoutError,
    StateError,
    TransportError,
)
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.blocking import BlockingClient
from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker

pytestmark = pytest.mark.broker

RUN_BLOCK = "executor/python/run_block"
WITHIN = 10.0
INPUTS: dict[str, Any] = {
    "type": "BlockInputs",
    "session_id": "S",
    "job_id": "J",
    "stacks": [],
    "inputs": {"a": 1},
    "inputs_def": None,
}
Messages = queue.SimpleQueue[dict[str, Any]]


@pytest.fixture
def connect(broker: MosquittoBroker) -> Iterator[Callable[..., Mainframe]]:
    """Make connected mainframes; all are disconnected at the end."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Mainframe(broker.address, **options))


@pytest.fixture
def mainframe(connect: Callable[..., Mainframe]) -> Mainframe:
    return connect()


@pytest.fixture
def other(connect: Callable[..., Mainframe]) -> Mainframe:
    return connect()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def publish_bytes(broker: MosquittoBroker, topic: str, *bodies: bytes) -> None:
    """Publish what a Mainframe would not."""
    client = BlockingClient(
        Broker(broker.host, broker.port),
        client_id="raw",
        deliver=lambda _topic, _payload: None,
        on_cut=lambda _error: None,
        timeouts=ConnectTimeouts(),
        logger=logging.getLogger(__name__),
    )
    client.open()
    for body in bodies:
        client.publish(topic, body)
    client.close()


def take(messages: Messages, kind: str) -> dict[str, Any]:
    """Wait for a message of a type and drop those before it."""
    while (message := messages.get(timeout=WITHIN))["type"] != kind:
        pass
    return message


def await_ready(engine: Mainframe, job_id: str = "J") -> Messages:
    """Let an engine answer BlockReady of session S with the inputs of a job; returns all that it hears."""
    heard: Messages = queue.SimpleQueue()

    def on_message(message: dict[str, Any]) -> None:
        heard.put(message)
        if message["type"] == "BlockReady" and message["job_id"] == job_id:
            engine.publish(f"inputs/S/{job_id}", INPUTS | {"job_id": job_id})

    engine.add_session_callback("S", on_message)
    return heard


# --- a whole job ------------------------------------------------------------------------------------------------------


class Engine:
    """Hands out one job, gives it its inputs and answers its request."""

    def __init__(self, mainframe: Mainframe) -> None:
        self.mainframe = mainframe
        self.heard: Messages = queue.SimpleQueue()
        mainframe.add_session_callback("S", self.on_message)

    def on_message(self, message: dict[str, Any]) -> None:
        answer = {"session_id": "S", "job_id": "J"}
        match message["type"]:
            case "ExecutorReady":
                self.mainframe.publish(RUN_BLOCK, answer | {"type": "BlockPayload", "executor_name": "python"})
            case "BlockReady":
                self.mainframe.publish("inputs/S/J", INPUTS)
            case "BlockRequest":
                response = answer | {"request_id": message["request_id"], "result": {"a": {}}}
                self.mainframe.publish(f"session/S/request/{message['request_id']}/response", response)
            case "BlockFinished":
                self.mainframe.report(answer, message | {"finish_at": 1})
        self.heard.put(message)


class Executor:
    """Runs the job in the callback that brings it, and asks the engine something before the end."""

    def __init__(self, mainframe: Mainframe) -> None:
        self.mainframe = mainframe
        self.info = BlockInfo("S", "J", [{"flow_job_id": "F", "flow": "/f", "node_id": "n"}])
        mainframe.subscribe(RUN_BLOCK, self.on_job)

    def on_job(self, payload: dict[str, Any]) -> None:
        job = {"session_id": payload["session_id"], "job_id": payload["job_id"]}
        inputs = self.mainframe.notify_block_ready(**job)
        self.mainframe.report(self.info, {"type": "BlockLog", "log": "working", "stdio": "stdout"})
        self.mainframe.send(job, {"type": "BlockOutput", "handle": "b", "output": inputs["inputs"]["a"] + 1})
        self.mainframe.add_request_response_callback("S", "R", self.on_answer)
        self.mainframe.send(self.info, {"type": "BlockRequest", "action": "QueryDownstream", "request_id": "R"})

    def on_answer(self, answer: dict[str, Any]) -> None:
        self.mainframe.remove_request_response_callback("S", "R", self.on_answer)
        self.mainframe.send(self.info, {"type": "BlockFinished", "result": {"downstream": list(answer["result"])}})


def test_two_mainframes_run_a_whole_job(connect: Callable[..., Mainframe]) -> None:
    engine, events = Engine(connect()), queue.SimpleQueue[dict[str, Any]]()
    front, executor = connect(), connect()
    front.add_report_callback(events.put)
    Executor(executor)
    executor.notify_executor_ready("S", "/w", "S-1", None)

    heard = [engine.heard.get(timeout=WITHIN) for _ in range(5)]
    assert heard[0] == {
        "type": "ExecutorReady",
        "session_id": "S",
        "executor_name": "python",
        "package": "/w",
        "identifier": "S-1",
        "debug_port": None,
    }
    assert [one["type"] for one in heard[1:4]] == ["BlockReady", "BlockOutput", "BlockRequest"]
    assert heard[2]["output"] == 2
    assert heard[4]["result"] == {"downstream": ["a"]}
    log = take(events, "BlockLog")
    assert (log["log"], log["stacks"]) == ("working", [{"flow_job_id": "F", "flow": "/f", "node_id": "n"}])
    assert take(events, "BlockFinished")["finish_at"] == 1


# --- listening --------------------------------------------------------------------------------------------------------


def test_report_is_in_force_when_connect_returns(mainframe: Mainframe, broker: MosquittoBroker) -> None:
    for number in range(10):
        events: Messages = queue.SimpleQueue()
        listener = Mainframe(broker.address)
        listener.add_report_callback(events.put)
        with listener:
            mainframe.report({"session_id": "S"}, {"type": "BlockLog", "log": number})
            assert events.get(timeout=WITHIN)["log"] == number


def test_second_callback_of_a_topic_replaces_the_first(mainframe: Mainframe) -> None:
    first: Messages = queue.SimpleQueue()
    second: Messages = queue.SimpleQueue()
    mainframe.subscribe("topic", first.put)
    mainframe.subscribe("topic", second.put)
    mainframe.publish("topic", {"n": 1})
    assert second.get(timeout=WITHIN) == {"n": 1}
    assert first.empty()


def test_all_listeners_of_a_session_hear_a_message_until_removed(mainframe: Mainframe) -> None:
    first: Messages = queue.SimpleQueue()
    second: Messages = queue.SimpleQueue()
    mainframe.add_session_callback("S", first.put)
    mainframe.add_session_callback("S", second.put)
    mainframe.send({"session_id": "S", "job_id": "J"}, {"n": 1})
    assert first.get(timeout=WITHIN) == second.get(timeout=WITHIN) == {"session_id": "S", "job_id": "J", "n": 1}
    mainframe.remove_session_callback("S", first.put)
    mainframe.send({"session_id": "S", "job_id": "J"}, {"n": 2})
    assert second.get(timeout=WITHIN)["n"] == 2
    assert first.empty()


def test_subscriber_of_report_does_not_replace_its_listeners(mainframe: Mainframe) -> None:
    listened: Messages = queue.SimpleQueue()
    subscribed: Messages = queue.SimpleQueue()
    mainframe.add_report_callback(listened.put)
    mainframe.subscribe("report", subscribed.put)
    mainframe.report({}, {"n": 1})
    assert listened.get(timeout=WITHIN) == subscribed.get(timeout=WITHIN) == {"n": 1}
    mainframe.unsubscribe("report")
    mainframe.report({}, {"n": 2})
    assert listened.get(timeout=WITHIN) == {"n": 2}
    mainframe.remove_report_callback(listened.put)
    assert subscribed.empty()


def test_message_that_two_filters_take_comes_once_for_each(mainframe: Mainframe) -> None:
    wide: Messages = queue.SimpleQueue()
    narrow: Messages = queue.SimpleQueue()
    mainframe.subscribe("inputs/S/+", wide.put)
    mainframe.subscribe("inputs/S/J", narrow.put)
    for number in range(2):
        mainframe.publish("inputs/S/J", {"n": number})
    assert [wide.get(timeout=WITHIN)["n"] for _ in range(2)] == [0, 1]
    assert [narrow.get(timeout=WITHIN)["n"] for _ in range(2)] == [0, 1]
    mainframe.unsubscribe("inputs/S/+")
    mainframe.publish("inputs/S/J", {"n": 2})
    assert narrow.get(timeout=WITHIN)["n"] == 2
    assert wide.empty()


def test_callbacks_never_run_at_once_nor_in_the_network_thread(mainframe: Mainframe) -> None:
    threads: queue.SimpleQueue[str] = queue.SimpleQueue()
    mainframe.subscribe("a", lambda _: threads.put(threading.current_thread().name))
    mainframe.add_session_callback("S", lambda _: threads.put(threading.current_thread().name))
    mainframe.publish("a", {})
    mainframe.publish("session/S", {})
    names = {threads.get(timeout=WITHIN) for _ in range(2)}
    assert len(names) == 1
    assert names.pop().endswith(" callbacks")


def test_callback_may_wait_for_inputs(mainframe: Mainframe, other: Mainframe) -> None:
    await_ready(other)
    got: Messages = queue.SimpleQueue()
    mainframe.subscribe("start", lambda _: got.put(mainframe.notify_block_ready("S", "J")))
    other.publish("start", {})
    assert got.get(timeout=WITHIN) == INPUTS


def test_callback_may_disconnect(mainframe: Mainframe, other: Mainframe) -> None:
    mainframe.subscribe("stop", lambda _: mainframe.disconnect())
    other.publish("stop", {})
    with contextlib.suppress(ClosedError):  # it was quicker than we
        mainframe.loop()
    with pytest.raises(ClosedError, match="not connected"):
        mainframe.publish("topic", {})


@pytest.mark.parametrize("failure", [ValueError("no"), SystemExit(0), KeyboardInterrupt()], ids=repr)
def test_callback_that_fails_is_logged_and_the_next_is_called(
    failure: BaseException, mainframe: Mainframe, caplog: pytest.LogCaptureFixture
) -> None:
    got: Messages = queue.SimpleQueue()

    def fail(_: object) -> None:
        raise failure

    mainframe.add_session_callback("S", fail)
    mainframe.add_session_callback("S", got.put)
    mainframe.send({"session_id": "S", "job_id": "J"}, {"secret": "hunter2"})
    assert got.get(timeout=WITHIN)["secret"] == "hunter2"
    assert "session/S failed" in caplog.text
    assert "hunter2" not in caplog.text


def test_body_that_is_no_json_is_logged_and_skipped(
    mainframe: Mainframe, broker: MosquittoBroker, caplog: pytest.LogCaptureFixture
) -> None:
    got: Messages = queue.SimpleQueue()
    mainframe.subscribe("topic", got.put)
    publish_bytes(broker, "topic", b"hunter2", b"\xff", b'{"n":1}')
    assert got.get(timeout=WITHIN) == {"n": 1}
    assert caplog.text.count("skipped a message on topic that is no JSON") == 2
    assert "hunter2" not in caplog.text


def test_failures_go_to_the_given_logger(connect: Callable[..., Mainframe], broker: MosquittoBroker) -> None:
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()

    def keep(record: logging.LogRecord) -> bool:
        records.put(record)
        return True

    logger = logging.getLogger("test_mainframe.mine")
    logger.addFilter(keep)
    connect(logger=logger).subscribe("topic", print)
    publish_bytes(broker, "topic", b"nothing")
    assert "no JSON" in records.get(timeout=WITHIN).getMessage()


# --- inputs -----------------------------------------------------------------------------------------------------------


def test_many_jobs_wait_for_their_inputs_at_once(
    mainframe: Mainframe, other: Mainframe, pool: ThreadPoolExecutor
) -> None:
    ready: Messages = queue.SimpleQueue()
    other.add_session_callback("S", ready.put)
    waiting = [pool.submit(mainframe.notify_block_ready, "S", f"J{number}") for number in range(4)]
    jobs = [ready.get(timeout=WITHIN)["job_id"] for _ in range(4)]
    for job in reversed(jobs):
        other.publish(f"inputs/S/{job}", INPUTS | {"job_id": job})
    assert [one.result(WITHIN)["job_id"] for one in waiting] == ["J0", "J1", "J2", "J3"]


def test_messages_that_are_no_inputs_are_skipped(
    mainframe: Mainframe, other: Mainframe, pool: ThreadPoolExecutor, broker: MosquittoBroker
) -> None:
    ready: Messages = queue.SimpleQueue()
    other.add_session_callback("S", ready.put)
    waiting = pool.submit(mainframe.notify_block_ready, "S", "J")
    take(ready, "BlockReady")
    publish_bytes(broker, "inputs/S/J", b"hm", b"[]", b'{"type":"BlockReady"}')
    other.publish("inputs/S/J", INPUTS)
    assert waiting.result(WITHIN) == INPUTS


def test_inputs_that_do_not_come_in_time_are_an_error_and_cost_no_processor_time(mainframe: Mainframe) -> None:
    before = time.process_time()
    with pytest.raises(RequestTimeoutError, match=r"no BlockInputs came on inputs/S/J within 0\.5 s"):
        mainframe.notify_block_ready("S", "J", timeout=0.5)
    assert time.process_time() - before < 0.25


def test_job_that_timed_out_can_be_announced_again(mainframe: Mainframe, other: Mainframe) -> None:
    with pytest.raises(RequestTimeoutError):
        mainframe.notify_block_ready("S", "J", timeout=0.01)
    await_ready(other)
    assert mainframe.notify_block_ready("S", "J") == INPUTS


def test_job_cannot_wait_twice_at_once(mainframe: Mainframe, other: Mainframe, pool: ThreadPoolExecutor) -> None:
    ready: Messages = queue.SimpleQueue()
    other.add_session_callback("S", ready.put)
    waiting = pool.submit(mainframe.notify_block_ready, "S", "J")
    take(ready, "BlockReady")
    with pytest.raises(StateError, match="job J waits for its inputs already"):
        mainframe.notify_block_ready("S", "J")
    other.publish("inputs/S/J", INPUTS)
    assert waiting.result(WITHIN) == INPUTS


def wait_for_inputs(mainframe: Mainframe, other: Mainframe, pool: ThreadPoolExecutor) -> Future[dict[str, Any]]:
    """Return once a job waits for inputs that nobody sends."""
    ready: Messages = queue.SimpleQueue()
    other.add_session_callback("S", ready.put)
    waiting = pool.submit(mainframe.notify_block_ready, "S", "J", timeout=None)
    take(ready, "BlockReady")
    return waiting


def test_disconnect_ends_the_wait_for_inputs(mainframe: Mainframe, other: Mainframe, pool: ThreadPoolExecutor) -> None:
    waiting = wait_for_inputs(mainframe, other, pool)
    mainframe.disconnect()
    with pytest.raises(ClosedError, match="inputs/S/J: the mainframe was disconnected"):
        waiting.result(WITHIN)


# --- sending ----------------------------------------------------------------------------------------------------------


def test_payloads_are_encoded_as_values_of_handles_are(mainframe: Mainframe) -> None:
    got: queue.SimpleQueue[object] = queue.SimpleQueue()
    mainframe.subscribe("topic", got.put)
    mainframe.publish("topic", {"nan": float("nan"), "path": Path("/a"), "set": {1}, "tuple": (1, 2)})
    mainframe.publish("topic", ["no", "object"])
    assert got.get(timeout=WITHIN) == {"nan": None, "path": "/a", "set": [1], "tuple": [1, 2]}
    assert got.get(timeout=WITHIN) == ["no", "object"]


def test_value_that_cannot_travel_is_refused_with_its_place(mainframe: Mainframe) -> None:
    with pytest.raises(EncodingError, match=r"message to session/S, 'output'\['a'\]: object of type object"):
        mainframe.send({"session_id": "S", "job_id": "J"}, {"type": "BlockOutput", "output": {"a": object()}})


def test_field_may_be_as_deep_as_the_engine_takes(mainframe: Mainframe) -> None:
    value: list[Any] = []
    for _ in range(125):
        value = [value]
    mainframe.publish("topic", {"output": value})
    with pytest.raises(EncodingError, match="nested deeper"):
        mainframe.publish("topic", {"output": [value]})


def test_topic_that_cannot_travel_is_refused_and_the_next_message_goes(mainframe: Mainframe) -> None:
    got: Messages = queue.SimpleQueue()
    mainframe.subscribe("topic", got.put)
    with pytest.raises(TransportError):
        mainframe.publish("topic/+", {})
    mainframe.publish("topic", {"n": 1})
    assert got.get(timeout=WITHIN) == {"n": 1}


def test_everything_arrives_in_order(mainframe: Mainframe, other: Mainframe) -> None:
    got: Messages = queue.SimpleQueue()
    other.subscribe("topic", got.put)
    for number in range(500):
        mainframe.publish("topic", {"n": number})
    assert [got.get(timeout=WITHIN)["n"] for _ in range(500)] == list(range(500))


# --- life -------------------------------------------------------------------------------------------------------------


def test_calls_before_connect_and_after_disconnect_say_so(broker: MosquittoBroker) -> None:
    mainframe = Mainframe(broker.address)
    for _ in range(2):
        with pytest.raises(ClosedError, match=r"publish: the mainframe is not connected; call connect\(\) first"):
            mainframe.publish("topic", {})
        with pytest.raises(ClosedError, match="loop: "):
            mainframe.loop()
        mainframe.connect()
        with pytest.raises(StateError, match="cannot connect while connected"):
            mainframe.connect()
        mainframe.disconnect()
        mainframe.disconnect()


def test_subscriptions_live_on_in_the_next_connection(mainframe: Mainframe) -> None:
    got: Messages = queue.SimpleQueue()
    mainframe.subscribe("topic", got.put)
    mainframe.disconnect()
    mainframe.add_session_callback("S", got.put)
    mainframe.connect()
    mainframe.publish("topic", {"n": 1})
    mainframe.publish("session/S", {"n": 2})
    assert [got.get(timeout=WITHIN)["n"] for _ in range(2)] == [1, 2]


def test_loop_waits_until_disconnect(mainframe: Mainframe, pool: ThreadPoolExecutor) -> None:
    waiting = pool.submit(mainframe.loop)
    pool.submit(mainframe.disconnect).result(WITHIN)
    assert waiting.exception(WITHIN) is None or isinstance(waiting.exception(), ClosedError)


def test_disconnect_leaves_no_thread(connect: Callable[..., Mainframe]) -> None:
    mainframe = connect(client_id="leaving")
    assert {one.name for one in threading.enumerate()} >= {"leaving network", "leaving callbacks"}
    mainframe.disconnect()
    assert [one.name for one in threading.enumerate() if one.name.startswith("leaving")] == []


def test_broker_knows_the_client_by_its_id(connect: Callable[..., Mainframe], broker: MosquittoBroker) -> None:
    connect(client_id="my-tool")
    assert "as my-tool " in broker.log.read_text()


def test_broker_that_is_not_there_is_an_error() -> None:
    mainframe = Mainframe("127.0.0.1:1", timeouts=ConnectTimeouts(first=0.1))
    with pytest.raises(ConnectionLostError, match="cannot reach the broker"):
        mainframe.connect()
    with pytest.raises(ClosedError):
        mainframe.publish("topic", {})
    assert [one.name for one in threading.enumerate() if "oocana-mainframe" in one.name] == []


def test_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="broker address"):
        Mainframe("http://nowhere")


class Refusing(socketserver.BaseRequestHandler):
    """A broker that grants every topic but one; its client sends one packet at a time."""

    def handle(self) -> None:
        while data := self.request.recv(4096):
            match data[0] >> 4:
                case 1:
                    self.request.sendall(b"\x20\x02\x00\x00")
                case 8:
                    level = b"\x80" if b"forbidden" in data else b"\x01"
                    self.request.sendall(b"\x90\x03" + data[2:4] + level)


def test_topic_that_the_broker_refuses_is_an_error_and_forgotten(pool: ThreadPoolExecutor) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusing) as broker:
        pool.submit(broker.serve_forever, 0.01)
        try:
            mainframe = Mainframe(f"127.0.0.1:{broker.server_address[1]}")
            mainframe.subscribe("forbidden", print)
            with pytest.raises(ProtocolError, match="refused the subscription to forbidden"):
                mainframe.connect()
            mainframe.unsubscribe("forbidden")
            with mainframe:
                for _ in range(2):
                    with pytest.raises(ProtocolError, match="refused the subscription to forbidden"):
                        mainframe.subscribe("forbidden", print)
                mainframe.subscribe("allowed", print)
        finally:
            broker.shutdown()


def test_subscriptions_survive_a_restart_of_the_broker(
    connect: Callable[..., Mainframe], broker: MosquittoBroker, pool: ThreadPoolExecutor
) -> None:
    mainframe, other = connect(), connect()
    got: Messages = queue.SimpleQueue()
    mainframe.subscribe("topic", got.put)
    waiting = wait_for_inputs(mainframe, other, pool)
    broker.restart()
    with pytest.raises(ConnectionLostError, match=r"while waiting for BlockInputs on inputs/S/J: .* is missing"):
        waiting.result(WITHIN)
    mainframe.subscribe("after", got.put)  # its SUBACK comes after that for what was subscribed before
    other.publish("topic", {"n": 1})
    assert got.get(timeout=WITHIN) == {"n": 1}


def test_broker_that_is_gone_for_good_ends_everything(
    connect: Callable[..., Mainframe], broker: MosquittoBroker, pool: ThreadPoolExecutor
) -> None:
    mainframe = connect(timeouts=ConnectTimeouts(again=0.2))
    looping = pool.submit(mainframe.loop)
    waiting = wait_for_inputs(mainframe, mainframe, pool)
    broker.stop()
    with pytest.raises(ConnectionLostError):
        looping.result(WITHIN)
    with pytest.raises(ConnectionLostError, match="waiting for BlockInputs"):
        waiting.result(WITHIN)
    with pytest.raises(ConnectionLostError):
        mainframe.publish("topic", {})
    broker.start()
    mainframe.disconnect()
    mainframe.connect()
    mainframe.publish("topic", {})


def test_script_that_forgets_to_disconnect_ends(broker: MosquittoBroker) -> None:
    code = (
        "from oocana_async.compat import Mainframe\n"
        f"mainframe = Mainframe({broker.address!r})\n"
        "mainframe.add_report_callback(print)\nmainframe.connect()\nmainframe.publish('topic', {})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=30, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_the_class_starts_nothing_and_is_light() -> None:
    code = (
        "import sys, threading, oocana_async.compat\n"
        "print([name for name in ('aiomqtt', 'paho', 'pandas', 'oocana_async.transport.mqtt.publishing')"
        " if name in sys.modules],"
        " threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "1"]
