"""The transport over an MQTT broker: one connection publishes, one reads what is for us, one what is for all.

Each is made for what it is good at, see `mqtt/publishing`, `mqtt/aiomqtt_subscriber` and `mqtt/subscribing`; how fast
messages go is up to `pacing/`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import anyio
import msgspec

from oocana_async.errors import ClosedError, TransportError
from oocana_async.transport.base import Subscription, Transport
from oocana_async.transport.inbox import Inbox, Inboxes
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.aiomqtt_subscriber import AiomqttSubscriber
from oocana_async.transport.mqtt.publishing import PublishingConnection
from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts
from oocana_async.transport.mqtt.subscribing import SubscribingConnection
from oocana_async.transport.pacing.decisions import Pacing
from oocana_async.transport.pacing.notices import Notice, NoticeKind, log_notice
from oocana_async.transport.pacing.observations import read_inputs, read_response_topic
from oocana_async.transport.pacing.paced_publisher import PacedPublisher
from oocana_async.transport.pacing.settings import PacingSettings
from oocana_async.wire import topics
from oocana_async.wire.envelope import Outgoing
from oocana_async.wire.messages.ends import Ended, EndKind, read_end

__all__ = ["MqttTransport"]

logger = logging.getLogger(__name__)


class MqttTransport(Transport):
    """Talks to an engine over an MQTT broker; everything runs on the loop that entered it.

    Args:
        broker: address as the engine passes it, or a Broker.
        client_id: name on the broker; the other two connections append `-out` and `-broadcasts`.
        session_id: only broadcasts of this session are taken, empty for those of all sessions.
        wanted: looks at the bytes of a message on `report` and says whether subscribers get it, None for all.
        pacing: windows and deadlines, see `PacingSettings`.
        timeouts: how long to try to connect.
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
        timeouts: ConnectTimeouts | None = None,
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
        timeouts = timeouts or ConnectTimeouts()
        self._publishing = PublishingConnection(
            self.broker,
            client_id=f"{client_id}-out",
            max_messages=max_messages,
            max_bytes=max_bytes,
            keep_alive=keep_alive,
            timeouts=timeouts,
            on_reconnect=self._doubled,
            on_lost=self._lost,
        )
        self._out = PacedPublisher(self._publishing, self._pacing, on_notice=self._on_notice)
        self._broadcasts = SubscribingConnection(
            self.broker,
            client_id=f"{client_id}-broadcasts",
            deliver=self._broadcast_arrived,
            wanted=self._is_ours if session_id else None,
            keep_alive=keep_alive,
            timeouts=timeouts,
            on_reconnect=self._broadcasts_again,
            on_lost=self._lost,
        )
        self._addressed = AiomqttSubscriber(
            self.broker,
            client_id=client_id,
            keep_alive=keep_alive,
            timeouts=timeouts,
            deliver=self._arrived,
            on_break=self._cut,
            on_reconnect=self._addressed_again,
            on_lost=self._lost,
        )
        self._session_bytes = session_id.encode()
        self._broadcasts_are_open = False
        self._opening = anyio.Lock()
        self._broadcast_filters: Counter[str] = Counter()
        self._inboxes = Inboxes()
        self._closed = False

    async def __aenter__(self) -> Self:
        """Connect for publishing and subscribing; the connection for broadcasts is made when it is needed.

        Raises:
            ConnectionLostError: The broker refused the login or could not be reached in time.
        """
        try:
            await self._publishing.open()
            await self._addressed.open()
            if self._session_id and self._pacing.settings.enabled:
                await self._addressed.subscribe((topics.responses(self._session_id),))
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

        `report`, `executor/...` and `session/{session_id}` are broadcasts, `report` at QoS 0; all others come at
        QoS 1. Order is kept among the broadcasts, and among the others.

        Raises:
            ClosedError: After `aclose()`.
            ProtocolError: The broker refused a filter.
            ConnectionLostError: The broker is gone for good.
        """
        self._check()
        inbox = self._inboxes.open(filters, self._forget)
        broadcasts = tuple(name for name in filters if _is_broadcast(name))
        rest = tuple(name for name in filters if name not in broadcasts)
        self._broadcast_filters.update(broadcasts)
        try:
            if broadcasts:
                await self._subscribe_broadcasts(broadcasts)
            if rest:
                await self._addressed.subscribe(rest)
        except BaseException:
            await inbox.aclose()
            raise
        return inbox

    async def _subscribe_broadcasts(self, filters: tuple[str, ...]) -> None:
        async with self._opening:
            if not self._broadcasts_are_open:
                await self._broadcasts.open()
                self._broadcasts_are_open = True
        await self._broadcasts.subscribe({name: 0 if name == topics.REPORT else 1 for name in filters})
        if topics.REPORT in filters:
            self._pacing.report.watched = True

    def _forget(self, inbox: Inbox) -> None:
        broadcasts = tuple(name for name in inbox.filters if _is_broadcast(name))
        self._addressed.forget(tuple(name for name in inbox.filters if name not in broadcasts))
        self._broadcast_filters.subtract(broadcasts)
        gone = tuple(name for name in broadcasts if not self._broadcast_filters[name])
        if topics.REPORT in gone:
            self._pacing.report.watched = False
            self._pacing.report.clear()
        if gone and not self._closed:
            self._broadcasts.unsubscribe(*gone)

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

    def _broadcast_arrived(self, topic: str, payload: bytes) -> None:
        """Take a message of the connection for broadcasts."""
        if topic == topics.REPORT:
            if self._pacing.echo(payload, asyncio.get_running_loop().time()):
                if self._pacing.held:
                    self._out.pump_later()
            else:
                self._note_end(payload)
            if self._wanted is not None and not self._wanted(payload):
                return
        self._inboxes.dispatch(topic, payload)

    def _note_end(self, payload: bytes) -> None:
        try:
            end = read_end(payload)
        except msgspec.DecodeError:
            return  # whoever takes the report complains about it
        if end is not None:
            self._ended(end)

    def _ended(self, end: Ended) -> None:
        match end.kind:
            case EndKind.SESSION:
                self._pacing.session_over(end.session_id)
            case EndKind.JOB:
                self._pacing.finish_seen(end.session_id, end.job_id)
            case EndKind.FLOW:
                self._pacing.flow_over(end.session_id, end.job_id)
            case EndKind.TIMED_OUT_JOB:
                return  # its BlockFinished follows
        self._out.pump_later()

    def _cut(self) -> None:
        self._pacing.subscriptions_cut()
        self._out.pump_later()

    def _addressed_again(self) -> None:
        self._pacing.subscriptions_again()
        self._out.pump_later()

    def _broadcasts_again(self) -> None:
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
            await self._publishing.aclose(self._close_within / 2)
        finally:
            await self._inboxes.aclose()
            await self._broadcasts.aclose()
            await self._addressed.aclose()

    def statistics(self) -> Mapping[str, Any]:
        """State and counters, for people."""
        return {
            "transport": "mqtt",
            "publishing": self._publishing.statistics(),
            "broadcasts": self._broadcasts.statistics(),
            "pacing": self._pacing.statistics(),
            "subscriptions": {"filters": len(self._inboxes), "reconnects": self._addressed.reconnects},
        }


def _is_broadcast(name: str) -> bool:
    """Say whether a topic carries more than what its reader has asked for.

    Bursts of run_block must not stand in front of inputs: the broker drops what is more than 1,000 messages in front of
    a connection, and the engine repeats run_block, but never inputs.
    """
    if name.startswith("session/"):
        return name.count("/") == 1
    return name == topics.REPORT or name.startswith("executor/")
