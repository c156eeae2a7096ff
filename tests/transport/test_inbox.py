"""The queue of one subscription."""

from __future__ import annotations

import asyncio

import pytest

from oocana_async.errors import ConnectionLostError
from oocana_async.transport.inbox import Inbox
from oocana_async.wire.envelope import Incoming

pytestmark = pytest.mark.anyio


def test_takes_topics_of_its_filters() -> None:
    inbox = Inbox(("a/b", "inputs/S/#", "s/+/r"), lambda _: None)
    assert [inbox.takes(topic) for topic in ("a/b", "inputs/S/J", "s/1/r", "a", "s/1/2/r")] == [True] * 3 + [False] * 2


async def test_reader_is_woken() -> None:
    inbox = Inbox(("a",), lambda _: None)
    reading = asyncio.create_task(inbox.receive_many())
    await asyncio.sleep(0)
    inbox.push(Incoming("a", b"1"))
    inbox.push(Incoming("a", b"2"))
    assert [message.payload for message in await reading] == [b"1", b"2"]


async def test_what_had_arrived_is_read_before_the_failure() -> None:
    inbox = Inbox(("a",), lambda _: None)
    inbox.push(Incoming("a", b"1"))
    inbox.fail(ConnectionLostError("gone"))
    assert (await anext(inbox)).payload == b"1"
    with pytest.raises(ConnectionLostError, match="gone"):
        await anext(inbox)


async def test_close_wakes_the_reader_and_tells_once() -> None:
    closed: list[Inbox] = []
    inbox = Inbox(("a",), closed.append)
    reading = asyncio.create_task(inbox.receive_many())
    await asyncio.sleep(0)
    await inbox.aclose()
    await inbox.aclose()
    inbox.push(Incoming("a", b"late"))
    assert await reading == []
    assert closed == [inbox]


async def test_cancelled_reader_loses_nothing() -> None:
    inbox = Inbox(("a",), lambda _: None)
    reading = asyncio.create_task(inbox.receive_many())
    await asyncio.sleep(0)
    reading.cancel()
    inbox.push(Incoming("a", b"1"))
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert len(inbox.receive_many_nowait()) == 1
