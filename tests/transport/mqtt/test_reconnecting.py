"""How often a connection is tried, and when trying ends; the test breaks the connection and moves the clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import anyio
import pytest

from oocana_async.errors import ClosedError, ConnectionLostError, TransportError
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.protocol.client import BrokerRefusedError
from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts, Reconnector

if TYPE_CHECKING:
    from tests.transport.conftest import MovableTime

pytestmark = pytest.mark.anyio

GONE = ConnectionLostError("gone")


class Connection:
    """A connection that stands or fails as the test wants, and what was said about it."""

    def __init__(self) -> None:
        self.attempts = 0
        self.reachable = True
        self.lasting = True
        self.answering = True
        self.fault: Exception = GONE
        self.broken = anyio.Event()
        self.said: list[str] = []
        self.reconnector = Reconnector(
            self.serve,
            Broker("nowhere", 1),
            name="test connection",
            timeouts=ConnectTimeouts(first=5, again=30, attempt=2),
            on_break=lambda: self.said.append("break"),
            on_reconnect=lambda: self.said.append("reconnect"),
            on_lost=self.lost,
        )

    def lost(self, error: TransportError) -> None:
        self.said.append(f"lost: {error}")

    async def serve(self, stands: Callable[[], None]) -> None:
        self.attempts += 1
        assert self.attempts < 1_000, "tried again and again without a delay"
        await (anyio.sleep(0) if self.answering else anyio.sleep_forever())
        if not self.reachable:
            raise self.fault
        stands()
        if self.lasting:
            self.broken = anyio.Event()
            await self.broken.wait()
        raise self.fault

    async def cut(self) -> None:
        self.broken.set()
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def connection(clock: MovableTime) -> AsyncIterator[Connection]:
    connection = Connection()
    yield connection
    await connection.reconnector.aclose()


async def test_stable_connection_that_breaks_is_made_again_at_once(connection: Connection, clock: MovableTime) -> None:
    await connection.reconnector.open()
    await clock.advance(2)
    await connection.cut()
    assert (connection.attempts, connection.said) == (2, ["break", "reconnect"])
    assert connection.reconnector.reconnects == 1


async def test_flapping_broker_is_not_hammered(connection: Connection, clock: MovableTime) -> None:
    connection.lasting = False
    await connection.reconnector.open()
    for _ in range(100):
        await clock.advance(0.1)
    assert 3 <= connection.attempts <= 12
    assert connection.said[-1] == "break"


async def test_flapping_broker_is_given_up(connection: Connection, clock: MovableTime) -> None:
    connection.lasting = False
    await connection.reconnector.open()
    for _ in range(70):
        await clock.advance(0.5)
    assert connection.said[-1] == "lost: cannot reach the broker at nowhere:1 within 30 s: gone"
    assert connection.reconnector.failure is not None


async def test_broker_that_comes_back_in_time_is_taken(connection: Connection, clock: MovableTime) -> None:
    await connection.reconnector.open()
    await clock.advance(2)
    connection.reachable = False
    await connection.cut()
    for _ in range(25):
        await clock.advance(1)
    connection.reachable = True
    await clock.advance(5)
    assert connection.said == ["break", "reconnect"]


async def test_time_without_a_break_does_not_count_against_the_next_one(
    connection: Connection, clock: MovableTime
) -> None:
    await connection.reconnector.open()
    for _ in range(3):
        await clock.advance(100)
        connection.reachable = False
        await connection.cut()
        connection.reachable = True
        await clock.advance(1)
    assert connection.said == ["break", "reconnect"] * 3


async def test_first_attempts_end_after_their_own_time(connection: Connection, clock: MovableTime) -> None:
    connection.reachable = False
    opening = asyncio.ensure_future(connection.reconnector.open())
    for _ in range(60):
        await clock.advance(0.1)
    with pytest.raises(ConnectionLostError, match="within 5 s: gone"):
        await opening
    assert connection.said == []


async def test_attempt_without_an_answer_is_given_up(connection: Connection, clock: MovableTime) -> None:
    connection.answering = False
    opening = asyncio.ensure_future(connection.reconnector.open())
    for _ in range(12):
        await clock.advance(0.5)
    with pytest.raises(ConnectionLostError, match="within 5 s: no answer"):
        await opening


async def test_refusal_for_good_is_not_tried_again(connection: Connection) -> None:
    connection.reachable, connection.fault = False, BrokerRefusedError(5)
    with pytest.raises(BrokerRefusedError):
        await connection.reconnector.open()
    assert connection.attempts == 1


async def test_opening_can_be_tried_again_after_it_failed(connection: Connection) -> None:
    connection.reachable, connection.fault = False, BrokerRefusedError(5)
    with pytest.raises(BrokerRefusedError):
        await connection.reconnector.open()
    connection.reachable = True
    await connection.reconnector.open()


async def test_unexpected_error_ends_the_connection_aloud(connection: Connection) -> None:
    connection.reachable, connection.fault = False, RuntimeError("a bug")
    with pytest.raises(ConnectionLostError, match=r"test connection failed: RuntimeError\('a bug'\)"):
        await connection.reconnector.open()


async def test_closing_ends_an_opening_that_waits(connection: Connection) -> None:
    connection.reachable = False
    opening = asyncio.ensure_future(connection.reconnector.open())
    await asyncio.sleep(0)
    await connection.reconnector.aclose()
    with pytest.raises(ClosedError):
        await opening
    with pytest.raises(ClosedError):
        await connection.reconnector.open()
