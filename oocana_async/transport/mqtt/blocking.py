"""A client of a broker for code without an event loop: one thread drives both connections."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

import anyio

from oocana_async.errors import ClosedError, ConnectionLostError, TransportError
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.filters import without_covered
from oocana_async.transport.mqtt.publishing import PublishingConnection
from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts
from oocana_async.transport.mqtt.subscribing import SubscribingConnection
from oocana_async.wire import topics

__all__ = ["BlockingClient"]

T = TypeVar("T")
_DRAIN_WITHIN = 5.0  # seconds that closing waits for the acknowledgements of the broker


class BlockingClient:
    """Publishes and subscribes with calls that wait, from any thread but its own.

    Owns one daemon thread from `open()` to `close()`; it is opened once. Topic filters are counted: a filter stays
    subscribed until it has been forgotten as often as it was asked for, and survives a reconnect.

    Args:
        broker: where to connect to.
        client_id: unique on the broker; the publishing connection appends `-out`.
        deliver: called in the client's thread with topic and payload of each message; must neither raise nor wait.
        on_cut: called in the client's thread with the reason when messages may be missing, because the subscribing
            connection broke and stands again, or because the broker is gone for good.
        timeouts: how long to try to connect.
        logger: where reconnects are noted.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        client_id: str,
        deliver: Callable[[str, bytes], None],
        on_cut: Callable[[TransportError], None],
        timeouts: ConnectTimeouts,
        logger: logging.Logger,
    ) -> None:
        self._broker = broker
        self._name = client_id
        self._timeouts = timeouts
        self._logger = logger
        self._on_cut = on_cut
        self._publishing = PublishingConnection(
            broker, client_id=f"{client_id}-out", timeouts=timeouts, on_reconnect=self._doubled, on_lost=self._lost
        )
        self._subscribing = SubscribingConnection(
            broker,
            client_id=client_id,
            deliver=deliver,
            timeouts=timeouts,
            on_reconnect=self._reconnected,
            on_lost=self._lost,
        )
        self._wanted: Counter[str] = Counter()  # may be below zero while a forget() overtakes its subscribe()
        self._asked: set[str] = set()
        self._asking = anyio.Lock()
        self._stopping = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._gate = threading.Lock()  # what passes it is in the loop's queue before the stop is
        self._closed = False
        self._thread: threading.Thread | None = None
        self._end: concurrent.futures.Future[None] = concurrent.futures.Future()

    # --- life ---------------------------------------------------------------------------------------------------------

    def open(self, filters: Iterable[str] = ()) -> None:
        """Connect and subscribe; returns when both connections stand and the filters are in force.

        Raises:
            ConnectionLostError: The broker refused the login or could not be reached in time.
            ProtocolError: The broker refused a filter.
        """
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=self._run, args=(tuple(filters), started), name=f"{self._name} network", daemon=True
        )
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self._stop()
            if started.done():
                self._thread.join()
            raise

    def _run(self, filters: tuple[str, ...], started: concurrent.futures.Future[None]) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._serve(filters, started))
            except Exception as error:  # noqa: BLE001 - handed to who waits for it
                if not started.done():
                    started.set_exception(error)
                if not self._end.done():
                    self._end.set_exception(error)

    async def _serve(self, filters: tuple[str, ...], started: concurrent.futures.Future[None]) -> None:
        try:
            await self._publishing.open()
            await self._subscribing.open()
            self._wanted.update(filters)
            await self._ask()
            started.set_result(None)
            await self._stopping.wait()
        finally:
            await self._publishing.aclose(_DRAIN_WITHIN)
            await self._subscribing.aclose()

    def wait(self) -> None:
        """Wait until the client is closed; no bound of its own.

        Raises:
            ConnectionLostError: The broker is gone for good.
        """
        self._end.result()

    def _stop(self) -> bool:
        with self._gate:
            if self._closed:
                return False
            self._closed = True
            with contextlib.suppress(RuntimeError):  # the thread has ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            return True

    def close(self) -> None:
        """Deliver what was taken, then close; may be called twice. Waits at most some seconds."""
        if self._stop() and self._thread is not None:
            self._thread.join()
            if not self._end.done():
                self._end.set_result(None)

    def _call(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run a coroutine function in the client's thread and wait for what it returns."""
        with self._gate:
            if self._closed:
                raise ClosedError(f"{self._name} was closed")
            future = asyncio.run_coroutine_threadsafe(function(*args), self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise ClosedError(f"{self._name} was closed before the broker answered") from None

    # --- publishing ---------------------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, *, qos: int = 1) -> None:
        """Publish one message.

        At QoS 1 it waits until the broker has acknowledged it, over a reconnect if need be; so one thread never sends
        faster than an engine takes. At QoS 0 it returns as soon as the message has been written.

        Raises:
            ClosedError: After `close()`.
            PacketTooLargeError: The message can never travel.
            ProtocolError: The topic cannot travel.
            ConnectionLostError: The broker is gone for good.
        """
        self._call(self._publish, topic, payload, qos)

    async def _publish(self, topic: str, payload: bytes, qos: int) -> None:
        self._publishing.publish_nowait([(topic, payload, qos)])
        if qos:
            await self._publishing.flush()

    # --- subscribing --------------------------------------------------------------------------------------------------

    def subscribe(self, name: str) -> None:
        """Subscribe to a topic filter; returns when it is in force at the broker.

        Raises:
            ClosedError: After `close()`.
            ProtocolError: The broker refused the filter.
            ConnectionLostError: The broker is gone for good, or did not answer.
        """
        self._call(self._subscribe, name)

    async def _subscribe(self, name: str) -> None:
        async with self._asking:
            self._wanted[name] += 1
            try:
                await self._ask()
            except BaseException:
                self._wanted[name] -= 1
                raise

    def forget(self, name: str) -> None:
        """Take back one `subscribe()`; what is on its way may still arrive.

        Raises:
            ClosedError: After `close()`.
            ConnectionLostError: The broker is gone for good.
        """
        self._call(self._forget, name)

    async def _forget(self, name: str) -> None:
        async with self._asking:
            self._wanted[name] -= 1
            if not self._wanted[name]:
                del self._wanted[name]
            await self._ask()

    async def _ask(self) -> None:
        """Make the broker's view of the filters what is wanted; overlapping filters could bring messages twice."""
        needed = without_covered(name for name, count in self._wanted.items() if count > 0)
        if new := needed - self._asked:
            await self._ask_for(new)
        if gone := self._asked - needed:
            self._asked -= gone
            self._subscribing.unsubscribe(*gone)

    async def _ask_for(self, names: set[str]) -> None:
        within = self._timeouts.again + self._timeouts.attempt
        try:
            with anyio.fail_after(within):
                await self._subscribing.subscribe({name: 0 if name == topics.REPORT else 1 for name in sorted(names)})
        except BaseException as error:
            self._subscribing.unsubscribe(*names)
            if isinstance(error, TimeoutError) and not isinstance(error, TransportError):
                raise ConnectionLostError(f"the broker did not answer a SUBSCRIBE within {within:g} s") from error
            raise
        self._asked |= names

    # --- events of the connections ------------------------------------------------------------------------------------

    def _doubled(self, count: int) -> None:
        self._logger.warning("the connection to %s broke; %d messages are sent again", self._broker, count)

    def _reconnected(self) -> None:
        self._on_cut(ConnectionLostError(f"the connection to {self._broker} broke; what came meanwhile is missing"))

    def _lost(self, error: TransportError) -> None:
        if not self._end.done():
            self._end.set_exception(error)
            self._on_cut(error)
