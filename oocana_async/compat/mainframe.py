"""The official SDK's own client of the broker, as a synchronous class (protocol.md 8.3)."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from oocana_async.compat.dispatcher import Callback, Dispatcher, Routes
from oocana_async.compat.types import BlockInfo, JobDict
from oocana_async.errors import (
    ClosedError,
    ConnectionLostError,
    EncodingError,
    OocanaError,
    RequestTimeoutError,
    StateError,
    TransportError,
)
from oocana_async.handles import EXECUTOR_NAME
from oocana_async.wire import topics
from oocana_async.wire.encoding import encode

if TYPE_CHECKING:
    from oocana_async.transport.mqtt.blocking import BlockingClient
    from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts

__all__ = ["Mainframe"]

INPUTS_DEADLINE = 60.0
"""Seconds that `notify_block_ready` waits unless told otherwise."""
_CALLBACK_WITHIN = 5.0  # seconds that disconnect() waits for a callback to return


class Mainframe:
    """A connection to the broker, for tools and executors that speak the wire protocol themselves.

    All methods may be called from any thread, also from callbacks. Callbacks get the decoded body of a message, one
    after another in a thread of their own: they may publish, subscribe, disconnect and wait for inputs, but one that
    waits for another callback waits for ever. Callbacks may be added before `connect()`; they survive a reconnect.

    Args:
        address: `HOST:PORT`, or a URL such as `mqtts://user:password@host:port`.
        client_id: unique on the broker, None for a random one.
        logger: where failures are noted, never with the bodies of messages; None for this module's.
        timeouts: how long to try to connect, None for 5 s, and 30 s when the connection breaks later.

    Attributes:
        address: as it was given.
        client_id: the given one, or the random one.

    Raises:
        ValueError: The address is none.
    """

    address: str
    client_id: str

    def __init__(
        self,
        address: str,
        client_id: str | None = None,
        logger: logging.Logger | None = None,
        *,
        timeouts: ConnectTimeouts | None = None,
    ) -> None:
        import secrets

        from oocana_async.transport.mqtt.address import Broker

        self._broker = Broker.parse(address)
        self.address = address
        self.client_id = client_id or f"oocana-mainframe-{secrets.token_hex(8)}"
        self._logger = logger or logging.getLogger(__name__)
        self._timeouts = timeouts
        self._routes = Routes()
        self._changing = threading.Lock()  # held while connecting, subscribing and unsubscribing, never while closing
        self._client: BlockingClient | None = None
        self._dispatcher: Dispatcher | None = None
        # One queue per job that waits for inputs; filled in the network's thread, read and dropped by who waits.
        self._waiting: dict[str, queue.SimpleQueue[bytes | OocanaError]] = {}

    # --- life ---------------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect; returns when what was subscribed before is in force at the broker.

        Raises:
            StateError: It is connected.
            ConnectionLostError: The broker refused the login or could not be reached in time.
            ProtocolError: The broker refused a topic.
        """
        from oocana_async.transport.mqtt.blocking import BlockingClient
        from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts

        with self._changing:
            if self._client is not None:
                raise StateError("cannot connect while connected; call disconnect() first")
            client = BlockingClient(
                self._broker,
                client_id=self.client_id,
                deliver=self._arrived,
                on_cut=self._cut,
                timeouts=self._timeouts or ConnectTimeouts(),
                logger=self._logger,
            )
            dispatcher = Dispatcher(self._routes, name=f"{self.client_id} callbacks", logger=self._logger)
            self._dispatcher = dispatcher
            client.open(self._routes.filters())
            self._client = client
            dispatcher.start()

    def disconnect(self) -> None:
        """Close the connection; does nothing when there is none.

        Waits some seconds at most for what was sent, and for a callback that runs. No callback starts afterwards; calls
        that wait in other threads end with ClosedError. `connect()` may follow.
        """
        client, self._client = self._client, None
        if client is None:
            return
        client.close()
        self._wake(ClosedError("the mainframe was disconnected"))  # whoever comes later finds the client closed
        if self._dispatcher is not None:
            self._dispatcher.close(_CALLBACK_WITHIN)

    def loop(self) -> None:
        """Wait until somebody calls `disconnect()`; no bound of its own.

        Raises:
            ClosedError: It is not connected.
            ConnectionLostError: The broker is gone for good.
        """
        self._connected("loop").wait()

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.disconnect()

    def _connected(self, what: str) -> BlockingClient:
        client = self._client
        if client is None:
            raise ClosedError(f"{what}: the mainframe is not connected; call connect() first")
        return client

    # --- sending ------------------------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: Any) -> None:
        """Publish a value as JSON; returns when the broker has acknowledged it.

        Args:
            topic: where to.
            payload: anything that a handle can carry; read at the call.

        Raises:
            ClosedError: It is not connected.
            EncodingError: The value cannot travel.
            PacketTooLargeError: MQTT cannot carry that much.
            ProtocolError: The topic cannot travel.
            ConnectionLostError: The broker is gone for good.
        """
        self._connected("publish").publish(topic, _encode(topic, payload))

    def send(self, job_info: JobDict | BlockInfo | Mapping[str, Any], msg: Mapping[str, Any]) -> None:
        """Publish a message of a job to the engine; `job_info` is `{session_id, job_id}`. Like `publish()`."""
        info = job_info.job_info() if isinstance(job_info, BlockInfo) else job_info
        self.publish(topics.session(info["session_id"]), {**info, **msg})

    def report(self, block_info: BlockInfo | Mapping[str, Any], msg: Mapping[str, Any]) -> None:
        """Publish a message of a job to `report`; `block_info` is `{session_id, job_id, stacks}`. Like `publish()`."""
        info = block_info.block_dict() if isinstance(block_info, BlockInfo) else block_info
        self.publish(topics.REPORT, {**info, **msg})

    def notify_executor_ready(
        self,
        session_id: str,
        package: str | None = None,
        identifier: str | None = None,
        debug_port: int | None = None,
    ) -> None:
        """Tell the engine that this executor takes jobs; subscribe to `executor/python/run_block` before it.

        Like `publish()`. See protocol.md 2.4.
        """
        ready = {
            "type": "ExecutorReady",
            "session_id": session_id,
            "executor_name": EXECUTOR_NAME,
            "package": package,
            "identifier": identifier,
            "debug_port": debug_port,
        }
        self.publish(topics.session(session_id), ready)

    def notify_block_ready(
        self, session_id: str, job_id: str, *, timeout: float | None = INPUTS_DEADLINE
    ) -> dict[str, Any]:
        """Tell the engine that a job is ready, and return its inputs.

        Waits without using the processor, at most `timeout` seconds. The engine hands inputs out once: call it once
        per job.

        Args:
            session_id: the session.
            job_id: the job, as in BlockPayload.
            timeout: seconds, None for no bound.

        Returns:
            The message BlockInputs (protocol.md 3.3).

        Raises:
            ClosedError: It is not connected.
            StateError: The job waits already.
            RequestTimeoutError: No inputs came in time.
            ConnectionLostError: The connection broke meanwhile, so that they may be lost.
        """
        client = self._connected("notify_block_ready")
        topic = topics.inputs(session_id, job_id)
        # Bound: none, messages of one job; filled by _arrived(), _cut() and disconnect(), read here only.
        arrived: queue.SimpleQueue[bytes | OocanaError] = queue.SimpleQueue()
        if self._waiting.setdefault(topic, arrived) is not arrived:
            raise StateError(f"job {job_id} waits for its inputs already")
        try:
            client.subscribe(topic)
            try:
                ready = {"type": "BlockReady", "session_id": session_id, "job_id": job_id}
                client.publish(topics.session(session_id), _encode(topic, ready), qos=0)
                return self._wait_for_inputs(arrived, topic, timeout)
            finally:
                self._forget(client, topic)
        finally:
            del self._waiting[topic]

    def _wait_for_inputs(
        self, arrived: queue.SimpleQueue[bytes | OocanaError], topic: str, timeout: float | None
    ) -> dict[str, Any]:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                payload = arrived.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise RequestTimeoutError(
                    f"no BlockInputs came on {topic} within {timeout:g} s after BlockReady;"
                    " the engine sends them once, and only for jobs that it has handed out"
                ) from None
            if isinstance(payload, OocanaError):
                kind = ClosedError if isinstance(payload, ClosedError) else ConnectionLostError
                raise kind(f"while waiting for BlockInputs on {topic}: {payload}") from payload
            inputs = self._read_inputs(topic, payload)
            if inputs is not None:
                return inputs

    def _read_inputs(self, topic: str, payload: bytes) -> dict[str, Any] | None:
        try:
            body = msgspec.json.decode(payload)
        except msgspec.DecodeError as error:
            self._logger.warning("skipped a message on %s that is no JSON: %s", topic, error)
            return None
        if not isinstance(body, dict) or body.get("type") != "BlockInputs":
            self._logger.warning("skipped a message on %s that is no BlockInputs", topic)
            return None
        return body

    # --- listening ----------------------------------------------------------------------------------------------------

    def subscribe(self, topic: str, callback: Callback) -> None:
        """Call back with each message of a topic or filter; a second callback of a topic replaces the first.

        When connected it returns once the subscription is in force at the broker.

        Raises:
            ProtocolError: The broker refused the topic.
            ConnectionLostError: The broker is gone for good.
        """
        with self._changing:
            if self._routes.subscribe(topic, callback):
                self._want(topic, lambda: self._routes.unsubscribe(topic))

    def unsubscribe(self, topic: str) -> None:
        """Stop what `subscribe()` began; does nothing for other topics."""
        with self._changing:
            if self._routes.unsubscribe(topic):
                self._forget(self._client, topic)

    def add_request_response_callback(self, session_id: str, request_id: str, callback: Callback) -> None:
        """Call back with the engine's answer to a request; in force when it returns, so send the request after it."""
        self._listen(topics.response(session_id, request_id), callback)

    def remove_request_response_callback(self, session_id: str, request_id: str, callback: Callback) -> None:
        """Stop what `add_request_response_callback()` began; does nothing for other callbacks."""
        self._unlisten(topics.response(session_id, request_id), callback)

    def add_session_callback(self, session_id: str, callback: Callback) -> None:
        """Call back with everything that executors say to the engine in a session; in force when it returns."""
        self._listen(topics.session(session_id), callback)

    def remove_session_callback(self, session_id: str, callback: Callback) -> None:
        """Stop what `add_session_callback()` began; does nothing for other callbacks."""
        self._unlisten(topics.session(session_id), callback)

    def add_report_callback(self, fn: Callback) -> None:
        """Call back with every event of all sessions on the broker; in force when it, or `connect()`, returns."""
        self._listen(topics.REPORT, fn)

    def remove_report_callback(self, fn: Callback) -> None:
        """Stop what `add_report_callback()` began; does nothing for other callbacks."""
        self._unlisten(topics.REPORT, fn)

    def _listen(self, topic: str, callback: Callback) -> None:
        with self._changing:
            if self._routes.add(topic, callback):
                self._want(topic, lambda: self._routes.remove(topic, callback))

    def _unlisten(self, topic: str, callback: Callback) -> None:
        with self._changing:
            if self._routes.remove(topic, callback):
                self._forget(self._client, topic)

    def _want(self, topic: str, undo: Callable[[], object]) -> None:
        if self._client is None:
            return
        try:
            self._client.subscribe(topic)
        except BaseException:
            undo()
            raise

    def _forget(self, client: BlockingClient | None, topic: str) -> None:
        try:
            if client is not None:
                client.forget(topic)
        except (ClosedError, TransportError) as error:  # the subscription is gone with the connection
            self._logger.debug("unsubscribe %s: %s", topic, error)

    # --- what arrives, in the network's thread ------------------------------------------------------------------------

    def _arrived(self, topic: str, payload: bytes) -> None:
        waiting = self._waiting.get(topic)
        if waiting is not None:
            waiting.put(payload)
        if self._dispatcher is not None:
            self._dispatcher.put(topic, payload)

    def _cut(self, error: TransportError) -> None:
        self._wake(error)

    def _wake(self, error: OocanaError) -> None:
        for waiting in list(self._waiting.values()):
            waiting.put(error)


def _encode(topic: str, payload: Any) -> bytes:
    """Encode a body field by field, so that the value of each may be as deep as the engine takes."""
    what = f"message to {topic}"
    try:
        if not isinstance(payload, Mapping) or not all(isinstance(name, str) for name in payload):
            return encode(payload)
        fields: dict[str, msgspec.Raw] = {}
        for name, value in payload.items():
            what = f"message to {topic}, {name!r}"
            fields[name] = msgspec.Raw(encode(value))
        return encode(fields)
    except EncodingError as error:
        raise error.about(what) from error
