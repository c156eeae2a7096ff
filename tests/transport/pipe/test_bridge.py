"""The pipe transport: a child's messages through its parent, and what happens when one of the two is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Self

import msgspec
import pytest

from oocana_async.channel.bus import Bus, Overflow
from oocana_async.errors import ClosedError, ConnectionLostError, PacketTooLargeError, ProtocolError, TransportError
from oocana_async.transport.base import Subscription
from oocana_async.transport.memory import MemoryTransport
from oocana_async.transport.pipe import bridge as pipe_module
from oocana_async.transport.pipe import frames
from oocana_async.transport.pipe.bridge import PipeBridge, PipeTransport
from oocana_async.wire.envelope import Delivery, Outgoing

pytestmark = pytest.mark.anyio


def message(payload: bytes, topic: str = "session/S") -> Outgoing:
    return Outgoing(topic, payload, Delivery.DATA, "S", "J")


class Pair:
    """Both ends of a pipe in this process, over a bus."""

    def __init__(self, transport: MemoryTransport | None = None) -> None:
        self.bus = Bus()
        self.mine, theirs = socket.socketpair()
        self.lost: list[TransportError] = []
        self.child = PipeTransport(theirs, on_lost=self.lost.append)
        self.bridge = PipeBridge(transport or MemoryTransport(self.bus), self.mine)
        self.serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.serving = asyncio.create_task(self.bridge.run())
        await self.child.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.serving is not None
        await self.child.aclose()
        with contextlib.suppress(TransportError, asyncio.CancelledError):
            await self.serving


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with Pair() as both:
        yield both


async def test_publish_arrives_in_order_on_the_parents_transport(pair: Pair) -> None:
    seen = pair.bus.subscribe("session/S", overflow=Overflow.GROW)
    await pair.child.publish([message(b"%d" % number) for number in range(1000)])
    await pair.child.flush()
    assert [item.payload for item in seen.receive_many_nowait()] == [b"%d" % number for number in range(1000)]


async def test_subscribe_is_in_force_when_it_returns(pair: Pair) -> None:
    subscription = await pair.child.subscribe("inputs/S/+", "report")
    pair.bus.publish_nowait("inputs/S/J", b"1")
    pair.bus.publish_nowait("elsewhere", b"2")
    pair.bus.publish_nowait("report", b"3")
    received: list[tuple[str, bytes]] = []
    while len(received) < 2:
        received += [(item.topic, item.payload) for item in await subscription.receive_many()]
    assert received == [("inputs/S/J", b"1"), ("report", b"3")]


async def test_closed_subscription_takes_no_more_and_leaves_the_parents_transport(pair: Pair) -> None:
    subscription = await pair.child.subscribe("report")
    await subscription.aclose()
    await pair.child.flush()
    pair.bus.publish_nowait("report", b"late")
    await pair.child.flush()
    assert await subscription.receive_many() == []
    assert pair.child.statistics()["subscriptions"] == 0


async def test_flush_waits_for_the_parents_transport() -> None:
    asked, acknowledged = asyncio.Event(), asyncio.Event()

    class Slow(MemoryTransport):
        async def flush(self) -> None:
            asked.set()
            await acknowledged.wait()

    async with Pair(Slow(Bus())) as pair:
        flushing = asyncio.create_task(pair.child.flush())
        await asked.wait()
        assert not flushing.done()
        acknowledged.set()
        await flushing


async def test_publish_waits_while_the_parents_transport_is_full() -> None:
    async with Pair() as pair:
        seen = pair.bus.subscribe("session/S", limit=1, overflow=Overflow.WAIT)
        batch = [message(b"x" * 500_000) for _ in range(40)]
        publishing = asyncio.create_task(pair.child.publish(batch))
        for _ in range(500):  # many more turns than it takes to fill what lies between the two
            await asyncio.sleep(0)
        assert not publishing.done()
        taken = 0
        while taken < len(batch):
            taken += len(await seen.receive_many())
        await publishing


async def test_messages_wait_in_the_parent_while_the_child_does_not_read() -> None:
    bus = Bus()
    mine, theirs = socket.socketpair()
    serving = asyncio.create_task(PipeBridge(MemoryTransport(bus), mine).run())
    reader = frames.FrameStream(theirs, msgspec.msgpack.Decoder(frames.ToChild), "the parent")
    await reader.open()
    await reader.send(frames.SubscribeFrame(1, ["report"]))
    assert await reader.receive() == frames.DoneFrame(1)
    for _ in range(40):
        bus.publish_nowait("report", b"x" * 1_000_000)
    received = 0
    while received < 40:
        frame = await reader.receive()
        assert isinstance(frame, frames.ArrivedFrame)
        received += len(frame.messages)
    await reader.aclose()
    await serving


async def test_a_large_message_survives(pair: Pair) -> None:
    seen = pair.bus.subscribe("session/S", overflow=Overflow.GROW)
    payload = bytes(range(256)) * 40_000
    await pair.child.publish([message(b"small"), message(payload)])
    await pair.child.flush()
    assert [item.payload for item in seen.receive_many_nowait()] == [b"small", payload]


async def test_a_too_large_message_is_refused_and_the_others_are_taken(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe_module, "MAX_MESSAGE", 100)
    seen = pair.bus.subscribe("session/S", overflow=Overflow.GROW)
    with pytest.raises(PacketTooLargeError, match="101 bytes"):
        await pair.child.publish([message(b"x" * 101), message(b"fits")])
    await pair.child.flush()
    assert [item.payload for item in seen.receive_many_nowait()] == [b"fits"]


async def test_subscriptions_of_a_child_that_is_gone_are_closed() -> None:
    opened: list[Subscription] = []

    class Recording(MemoryTransport):
        async def subscribe(self, *filters: str) -> Subscription:
            opened.append(await super().subscribe(*filters))
            return opened[-1]

    async with Pair(Recording(Bus())) as pair:
        await pair.child.subscribe("report")
    (subscription,) = opened
    assert await subscription.receive_many() == []


async def test_a_refused_subscription_raises_in_the_child() -> None:
    class Refusing(MemoryTransport):
        async def subscribe(self, *filters: str) -> Subscription:
            raise ProtocolError(f"the broker refused {', '.join(filters)}")

    async with Pair(Refusing(Bus())) as pair:
        with pytest.raises(TransportError, match="refused secret"):
            await pair.child.subscribe("secret")


async def test_a_parent_that_is_gone_ends_subscriptions_and_waits_with_an_error(pair: Pair) -> None:
    subscription = await pair.child.subscribe("report")
    assert pair.serving is not None
    pair.serving.cancel()
    with pytest.raises(ConnectionLostError, match="process that started this one"):
        await subscription.receive_many()
    with pytest.raises(ConnectionLostError):
        await pair.child.publish([message(b"1")])
    with pytest.raises(ConnectionLostError):
        await pair.child.flush()
    assert len(pair.lost) == 1


async def test_use_after_close_is_refused_and_closing_twice_is_not(pair: Pair) -> None:
    await pair.child.aclose()
    await pair.child.aclose()
    with pytest.raises(ClosedError):
        await pair.child.publish([message(b"1")])
    with pytest.raises(ClosedError):
        await pair.child.subscribe("report")
    assert not pair.lost


async def test_a_broken_transport_of_the_parent_is_an_end_for_the_child() -> None:
    class Broken(MemoryTransport):
        async def publish(self, batch: Sequence[Outgoing]) -> None:
            raise ConnectionLostError("the broker is gone for good")

    async with Pair(Broken(Bus())) as pair:
        await pair.child.publish([message(b"1")])
        assert pair.serving is not None
        with pytest.raises(ConnectionLostError, match="broker is gone"):
            await pair.serving
        with pytest.raises(ConnectionLostError):
            await pair.child.flush()


async def serve_bytes(data: bytes) -> None:
    mine, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(data)
    await PipeBridge(MemoryTransport(Bus()), mine).run()


async def test_a_child_that_is_gone_between_frames_is_an_ordinary_end() -> None:
    await serve_bytes(b"")


@pytest.mark.parametrize("data", [b"\0\0", b"\0\0\1\0half of a fra"], ids=["in the length", "in the body"])
async def test_a_child_that_is_gone_in_a_frame_is_reported(data: bytes) -> None:
    with pytest.raises(ConnectionLostError, match="in the middle of a frame"):
        await serve_bytes(data)


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\1\xc1"], ids=["too long", "no frame"])
async def test_a_child_that_writes_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="child process"):
        await serve_bytes(data)


CHILD = """
import asyncio, sys
from oocana_async.transport.pipe.bridge import PipeTransport
from oocana_async.wire.envelope import Delivery, Outgoing

async def main():
    async with PipeTransport(int(sys.argv[1])) as transport:
        orders = await transport.subscribe("orders")
        await transport.publish([Outgoing("answers", b"ready", Delivery.DATA)])
        async for order in orders:
            await transport.publish([Outgoing("answers", order.payload * 2, Delivery.DATA)])

asyncio.run(main())
"""


async def test_a_killed_process_leaves_what_it_had_sent() -> None:
    bus = Bus()
    answers = bus.subscribe("answers", overflow=Overflow.GROW)
    mine, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-c", CHILD, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    serving = asyncio.create_task(PipeBridge(MemoryTransport(bus), mine).run())
    assert (await anext(answers)).payload == b"ready"
    bus.publish_nowait("orders", b"ab")
    assert (await anext(answers)).payload == b"abab"
    process.kill()
    await serving
    process.wait()


PARENT_OF_ANOTHER = """
import asyncio, subprocess, sys
from oocana_async.transport.pipe.bridge import PipeTransport
from oocana_async.wire.envelope import Delivery, Outgoing

async def main():
    transport = await PipeTransport(int(sys.argv[1])).__aenter__()
    other = subprocess.Popen(["sleep", "600"], close_fds=False)
    await transport.publish([Outgoing("answers", str(other.pid).encode(), Delivery.DATA)])
    await transport.aclose()

asyncio.run(main())
"""


async def test_processes_of_the_child_do_not_hold_its_pipe_open() -> None:
    bus = Bus()
    answers = bus.subscribe("answers", overflow=Overflow.GROW)
    mine, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-c", PARENT_OF_ANOTHER, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    serving = asyncio.create_task(PipeBridge(MemoryTransport(bus), mine).run())
    other = int((await anext(answers)).payload)
    try:
        async with asyncio.timeout(10):
            await serving
    finally:
        os.kill(other, signal.SIGKILL)
        process.wait()
