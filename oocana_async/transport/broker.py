"""The transport over an MQTT broker: aiomqtt subscribes, the lane publishes, the tap reads what comes unasked.

Three connections, each for what it is good at (see `lane`, `tap` and `pacing`). This is the only module that imports
aiomqtt.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import aiomqtt

from oocana_async.errors import ClosedError, ConnectionLostError, ProtocolError, TransportError
from oocana_async.transport.base import Subscription, Transport
from oocana_async.transport.inbox import Inbox, Inboxes
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.backoff import Backoff
from oocana_async.transport.mqtt.filters import without_covered
from oocana_async.transport.mqtt.lane import Lane
from oocana_async.transport.mqtt.link import Patience
from oocana_async.transport.mqtt.tap import Tap
from oocana_async.transport.pacing.decisions import Notice, NoticeKind, Pacing, PacingSettings
from oocana_async.transport.pacing.observations import read_end, read_inputs, read_response_topic
from oocana_async.transport.pacing.paced import PacedLane, log_notice
from oocana_async.wire import topics
from oocana_async.wire.envelope import Outgoing

__all__ = ["MqttTransport"]

logger = logging.getLogger(__name__)

_STABLE_AFTER = 1.0  # seconds; a connection that breaks sooner counts as a failed attempt
_NODELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


class _Inbound:
    """The subscribing connection: a fresh aiomqtt client per attempt, subscribed anew each time.

    Owns one task, from `open()` to `aclose()`.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        client_id: str,
        keep_alive: int,
        patience: Patience,
        deliver: Callable[[str, bytes], None],
        on_cut: Callable[[], None],
        on_lost: Callable[[TransportError], None],
    ) -> None:
        self.reconnects = 0
        self._broker = broker
        self._client_id = client_id
        self._keep_alive = keep_alive
        self._patience = patience
        self._deliver = deliver
        self._on_cut = on_cut
        self._on_lost = on_lost
        self._wanted: Counter[str] = Counter()
        self._asked_for: set[str] = set()
        self._asking = asyncio.Lock()
        self._client: aiomqtt.Client | None = None
        self._failure: TransportError | None = None
        self._changed = asyncio.Event()  # set while there is a client or a failure
        self._gone: asyncio.Future[None]  # done when the current client has lost its connection
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect; raises ConnectionLostError when that does not work in time."""
        self._task = asyncio.get_running_loop().create_task(self._keep(), name="mqtt subscriptions")
        self._task.add_done_callback(self._ended)
        await self._current()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Turn an error that nobody expected into the end of the connection."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._give_up(f"the subscribing connection failed: {error!r}", error)

    async def _keep(self) -> None:
        """Connect again and again until that fails for too long."""
        loop = asyncio.get_running_loop()
        within = self._patience.first
        backoff = Backoff(loop.time(), give_up_after=within)
        while True:
            started = loop.time()
            fault = await self._serve_once()
            if self._client is not None:
                self._connection_lost(fault)
                if loop.time() - started >= _STABLE_AFTER:
                    within = self._patience.again
                    backoff = Backoff(loop.time(), give_up_after=within)
            if (delay := backoff.delay(loop.time())) is None:
                self._give_up(f"cannot reach the broker at {self._broker} within {within:g} s: {fault}", fault)
                return
            await asyncio.sleep(delay)

    async def _serve_once(self) -> Exception:
        """Be connected and subscribed as long as that lasts; returns why it ended."""
        fault: Exception = ConnectionLostError("the broker closed the connection")
        try:
            async with self._new_client() as client:
                self._asked_for = set()
                await self._ask(client)
                self._gone = asyncio.get_running_loop().create_future()
                self._client = client
                self._changed.set()
                await anext(client.messages)  # the queue hands everything over, so this ends with the connection
        except (aiomqtt.MqttError, TransportError, OSError) as error:
            fault = error
        return fault

    def _connection_lost(self, fault: Exception) -> None:
        self._client = None
        self._gone.set_result(None)
        self._changed.clear()
        self.reconnects += 1
        logger.warning("mqtt subscriptions: connection to %s broke: %s", self._broker, fault)
        self._on_cut()

    def _new_client(self) -> aiomqtt.Client:
        deliver = self._deliver

        class Hand(asyncio.Queue[aiomqtt.Message]):
            """Hands each message over at once; aiomqtt's own iterator makes a task for each."""

            def put_nowait(self, item: aiomqtt.Message) -> None:
                deliver(item.topic.value, item.payload)

        return aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.username,
            password=self._broker.password,
            identifier=self._client_id,
            queue_type=Hand,
            clean_session=True,
            keepalive=self._keep_alive,
            tls_context=self._broker.tls,
            socket_options=_NODELAY,
            timeout=self._patience.attempt,
        )

    async def _ask(self, client: aiomqtt.Client) -> None:
        """Make the broker's view of our filters what is wanted; overlapping filters would bring messages twice."""
        async with self._asking:
            needed = without_covered(self._wanted)
            if new := sorted(needed - self._asked_for):
                codes = await client.subscribe([(name, 1) for name in new])
                self._asked_for.update(new)
                self._check_granted({name: _level(code) for name, code in zip(new, codes, strict=True)})
            if gone := sorted(self._asked_for - needed):
                self._asked_for.difference_update(gone)
                await client.unsubscribe(gone)

    def _check_granted(self, levels: Mapping[str, int]) -> None:
        refused = [name for name, level in levels.items() if level >= 0x80]
        for name in refused:
            del self._wanted[name]
        if refused:
            raise ProtocolError(f"the broker refused the subscription to {', '.join(refused)}")

    def _give_up(self, text: str, fault: BaseException) -> None:
        self._failure = ConnectionLostError(text)
        self._failure.__cause__ = fault
        self._changed.set()
        self._on_lost(self._failure)

    async def _current(self) -> aiomqtt.Client:
        """Wait for a connected client."""
        while True:
            await self._changed.wait()
            if self._failure is not None:
                raise self._failure
            if self._client is not None:
                return self._client

    async def subscribe(self, filters: tuple[str, ...]) -> None:
        """Subscribe to topic filters at QoS 1; returns after SUBACK, on whatever connection it comes."""
        self._wanted.update(filters)
        while not await self._asked_on(await self._current()):
            logger.debug("mqtt subscriptions: asking again on the next connection")

    async def _asked_on(self, client: aiomqtt.Client) -> bool:
        """Subscribe on one connection; returns False when that breaks meanwhile."""
        asking = asyncio.get_running_loop().create_task(self._ask(client), name="mqtt subscribe")
        try:
            await asyncio.wait([asking, self._gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            asking.cancel()
        if self._client is not client:
            await asyncio.wait([asking])
            with contextlib.suppress(aiomqtt.MqttError, TransportError, asyncio.CancelledError):
                asking.result()
            return False
        try:
            await asking
        except aiomqtt.MqttError as error:
            raise ConnectionLostError(f"the broker did not answer a SUBSCRIBE: {error}") from error
        return True

    def forget(self, filters: tuple[str, ...]) -> None:
        """Want topic filters no more; the broker hears of it with the next subscription."""
        self._wanted.subtract(filters)
        self._wanted = +self._wanted

    async def aclose(self) -> None:
        """Close the connection; may be called twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None


class MqttTransport(Transport):
    """Talks to an engine over an MQTT broker; everything runs on the loop that entered it.

    Args:
        broker: address as the engine passes it, or a Broker.
        client_id: name on the broker; the lane and the tap append `-out` and `-tap`.
        session_id: only messages of this session are taken from the tap, empty for those of all sessions.
        wanted: looks at the bytes of a message on `report` and says whether subscribers get it, None for all.
        pacing: windows and deadlines, see `PacingSettings`.
        patience: how long to try to connect.
        keep_alive: seconds between signs of life on each connection.
        close_within: seconds that `aclose()` may wait for acknowledgements.
        max_messages: messages that the broker may not have acknowledged.
        max_bytes: bytes that the broker may not have acknowledged.
        on_notice: called with what the user should hear of; by default it is logged.
        on_lost: called once when the broker is gone for good.
    """

    def __init__(
        self,
        broker: Broker | str,
        *,
        client_id: str,
        session_id: str = "",
        wanted: Callable[[bytes], bool] | None = None,
        pacing: PacingSettings | None = None,
        patience: Patience | None = None,
        keep_alive: int = 60,
        close_within: float = 5.0,
        max_messages: int = 4096,
        max_bytes: int = 16 * 1024 * 1024,
        on_notice: Callable[[Notice], None] | None = None,
        on_lost: Callable[[TransportError], None] | None = None,
    ) -> None:
        self.broker = Broker.parse(broker) if isinstance(broker, str) else broker
        self.failure: TransportError | None = None
        self._session_id = session_id
        self._wanted = wanted
        self._close_within = close_within
        self._on_notice = on_notice or log_notice
        self._on_lost = on_lost
        self._pacing = Pacing(secrets.token_hex(4), pacing)
        patience = patience or Patience()
        self._lane = Lane(
            self.broker,
            client_id=f"{client_id}-out",
            max_messages=max_messages,
            max_bytes=max_bytes,
            keep_alive=keep_alive,
            patience=patience,
            on_reconnect=self._doubled,
            on_lost=self._lost,
        )
        self._out = PacedLane(self._lane, self._pacing, on_notice=self._on_notice)
        self._tap = Tap(
            self.broker,
            client_id=f"{client_id}-tap",
            deliver=self._tapped,
            wanted=self._is_ours if session_id else None,
            keep_alive=keep_alive,
            patience=patience,
            on_reconnect=self._tap_again,
            on_lost=self._lost,
        )
        self._inbound = _Inbound(
            self.broker,
            client_id=client_id,
            keep_alive=keep_alive,
            patience=patience,
            deliver=self._arrived,
            on_cut=self._cut,
            on_lost=self._lost,
        )
        self._session_bytes = session_id.encode()
        self._tap_opening: asyncio.Task[Tap] | None = None
        self._tap_filters: Counter[str] = Counter()
        self._inboxes = Inboxes()
        self._closed = False

    async def __aenter__(self) -> Self:
        """Connect the lane and the subscriptions; the tap connects when it is needed.

        Raises:
            ConnectionLostError: The broker refused the login or could not be reached in time.
        """
        try:
            await self._lane.open()
            await self._inbound.open()
            if self._session_id and self._pacing.settings.enabled:
                await self._inbound.subscribe((topics.responses(self._session_id),))
        except BaseException:
            await self.aclose()
            raise
        return self

    # --- publishing ---------------------------------------------------------------------------------------------------

    async def publish(self, batch: Sequence[Outgoing]) -> None:
        """Take a batch in order.

        Waits while messages are held by the pacing, or by the window of unacknowledged messages. Cancelling it
        withdraws nothing: the whole batch has been taken.

        Raises:
            ClosedError: After `aclose()`.
            PacketTooLargeError: A message can never travel; all others are taken.
            ConnectionLostError: The broker is gone for good.
        """
        self._check()
        await self._out.publish(batch)

    async def flush(self) -> None:
        """Wait until everything that was published so far has been acknowledged by the broker; no bound of its own.

        Raises:
            ConnectionLostError: The broker is gone for good.
        """
        await self._out.flush()

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self._closed:
            raise ClosedError("the MQTT transport is closed")

    # --- subscribing --------------------------------------------------------------------------------------------------

    async def subscribe(self, *filters: str) -> Subscription:
        """Subscribe to topic filters; returns when the broker has granted them.

        `report`, `executor/...` and `session/{session_id}` are read through the tap, `report` at QoS 0; all others at
        QoS 1. Order is kept among the filters of the tap, and among the others.

        Raises:
            ClosedError: After `aclose()`.
            ProtocolError: The broker refused a filter.
            ConnectionLostError: The broker is gone for good.
        """
        self._check()
        inbox = self._inboxes.open(filters, self._forget)
        tapped = tuple(name for name in filters if _is_for_tap(name))
        rest = tuple(name for name in filters if name not in tapped)
        self._tap_filters.update(tapped)
        try:
            if tapped:
                await self._subscribe_tap(tapped)
            if rest:
                await self._inbound.subscribe(rest)
        except BaseException:
            await inbox.aclose()
            raise
        return inbox

    async def _subscribe_tap(self, filters: tuple[str, ...]) -> None:
        if self._tap_opening is None:
            self._tap_opening = asyncio.get_running_loop().create_task(self._tap.open(), name="tap opening")
        await asyncio.shield(self._tap_opening)
        await self._tap.subscribe({name: 0 if name == topics.REPORT else 1 for name in filters})
        if topics.REPORT in filters:
            self._pacing.report.watched = True

    def _forget(self, inbox: Inbox) -> None:
        tapped = tuple(name for name in inbox.filters if _is_for_tap(name))
        self._inbound.forget(tuple(name for name in inbox.filters if name not in tapped))
        self._tap_filters.subtract(tapped)
        gone = tuple(name for name in tapped if not self._tap_filters[name])
        if topics.REPORT in gone:
            self._pacing.report.watched = False
            self._pacing.report.clear()
        if gone and not self._closed:
            self._tap.unsubscribe(*gone)

    # --- what arrives -------------------------------------------------------------------------------------------------

    def _is_ours(self, payload: bytes) -> bool:
        return self._session_bytes in payload

    def _arrived(self, topic: str, payload: bytes) -> None:
        """Take a message of the subscribing connection."""
        response = read_response_topic(topic)
        if response is not None:
            if self._pacing.answered(*response):
                self._out.pump_later()
                return
        elif (inputs := read_inputs(topic, payload)) is not None:
            self._pacing.inputs_arrived(*inputs)
            if self._pacing.held_ready:
                self._out.pump_later()
        self._inboxes.dispatch(topic, payload)

    def _tapped(self, topic: str, payload: bytes) -> None:
        """Take a message of the tap."""
        if topic == topics.REPORT:
            if self._pacing.echo(payload, asyncio.get_running_loop().time()):
                if self._pacing.held:
                    self._out.pump_later()
            elif (end := read_end(payload)) is not None:
                self._ended(end.kind, end.session_id, end.job_id)
            if self._wanted is not None and not self._wanted(payload):
                return
        self._inboxes.dispatch(topic, payload)

    def _ended(self, kind: str, session_id: str, job_id: str) -> None:
        match kind:
            case "SessionFinished":
                self._pacing.session_over(session_id)
            case "BlockFinished":
                self._pacing.finish_seen(session_id, job_id)
            case _:
                self._pacing.flow_over(session_id, job_id)
        self._out.pump_later()

    def _cut(self) -> None:
        self._pacing.subscriptions_cut()
        self._out.pump_later()

    def _tap_again(self) -> None:
        self._pacing.report.clear()  # echoes of the meantime never come
        self._out.pump_later()

    def _doubled(self, count: int) -> None:
        text = f"the connection to the broker broke; {count} messages were sent again and may arrive twice"
        self._on_notice(Notice(NoticeKind.DOUBLED, self._session_id, "", text))

    def _lost(self, error: TransportError) -> None:
        if self.failure is not None:
            return
        self.failure = error
        self._out.fail(error)
        self._inboxes.fail(error)
        if self._on_lost is not None:
            self._on_lost(error)

    # --- closing ------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Deliver what is queued, then close; may be called twice.

        Waits at most `close_within` seconds for acknowledgements: half of it with pacing, then without.
        """
        if self._closed:
            return
        self._closed = True
        try:
            await self._out.drain(self._close_within / 2)
            self._out.stop()
            await self._lane.aclose(self._close_within / 2)
        finally:
            await self._inboxes.aclose()
            await self._close_tap()
            await self._inbound.aclose()

    async def _close_tap(self) -> None:
        if self._tap_opening is not None and not self._tap_opening.done():
            self._tap_opening.cancel()
            await asyncio.wait([self._tap_opening])
        await self._tap.aclose()

    def statistics(self) -> Mapping[str, Any]:
        """State and counters, for people."""
        return {
            "transport": "mqtt",
            "lane": self._lane.statistics(),
            "tap": self._tap.statistics(),
            "pacing": self._pacing.statistics(),
            "subscriptions": {"filters": len(self._inboxes), "reconnects": self._inbound.reconnects},
        }


def _is_for_tap(name: str) -> bool:
    """Say whether a topic carries more than what its reader has asked for.

    Bursts of run_block must not stand in front of inputs: the broker drops what is more than 1,000 messages in front of
    a connection, and the engine repeats run_block, but never inputs.
    """
    if name.startswith("session/"):
        return name.count("/") == 1
    return name == topics.REPORT or name.startswith("executor/")


def _level(code: Any) -> int:
    """Return the number of a granted QoS, which paho wraps."""
    return int(getattr(code, "value", code))
