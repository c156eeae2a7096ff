"""The sides of `outputs_mqtt.py` that run in our own environment, each in a process of its own behind a pipe.

Started as `_outputs_side.py`, asked by JSON lines `{"side": ..., "address": ..., "count": ...}`, answers
`{"seconds": ..., "acked": ..., "cpu": ...}`. All sides send the same payloads to the same topic at QoS 1.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiomqtt

from oocana_async.channel.channel import Channel
from oocana_async.channel.clock import LoopClock
from oocana_async.channel.sender import Sender
from oocana_async.context import Context, ContextParts
from oocana_async.context.by_hand.desk import DeskExchange
from oocana_async.context.messenger import JobIdentity, JobMessenger, Surroundings
from oocana_async.context.sync import SyncContext
from oocana_async.handles import BinFiles, OutputPlace, VarStore, prepare_output
from oocana_async.transport.broker import MqttTransport
from oocana_async.transport.mqtt.protocol.encoder import encode
from oocana_async.transport.mqtt.protocol.packets import Connect, Disconnect, Publish
from oocana_async.transport.pacing.settings import PacingSettings

SESSION, JOB, HANDLE = "S", "J", "out"
TOPIC = f"session/{SESSION}"
AIOMQTT_WINDOW = 250


def payload(number: int) -> bytes:
    """Return the message of an output, as our Context encodes it."""
    body = {"type": "BlockOutput", "session_id": SESSION, "job_id": JOB, "handle": HANDLE, "output": number}
    return json.dumps(body, separators=(",", ":")).encode()


def parts(channel: Channel, sender: Sender) -> ContextParts:
    """Make the parts of a context as an executor does."""
    messenger = JobMessenger(JobIdentity(SESSION, JOB), channel, sender, LoopClock(asyncio.get_running_loop()))
    outputs_def: dict[str, Any] = {HANDLE: {"handle": HANDLE}}
    place = OutputPlace(SESSION, JOB, VarStore(), BinFiles("/nonexistent", SESSION), messenger.warn)
    return ContextParts(
        messenger=messenger,
        inputs={},
        inputs_def={},
        outputs_def=outputs_def,
        surroundings=Surroundings("/nonexistent", "/nonexistent"),
        encoder=lambda handle, value: prepare_output(handle, value, outputs_def.get(handle), place),
        exchange=DeskExchange(),
        declared=frozenset(outputs_def),
    )


async def ours(address: str, count: int, send: Callable[[ContextParts, int], Awaitable[None]]) -> tuple[float, int]:
    """Send through a Context beside the I/O loop, as an executor does; without pacing, for there is no engine."""
    host, _, port = address.partition(":")
    transport = MqttTransport(f"{host}:{port}", client_id="ours", pacing=PacingSettings(enabled=False))
    channel = Channel()
    async with transport, Sender(channel, transport) as sender:
        started = time.perf_counter()
        await send(parts(channel, sender), count)
        await sender.flush()
        seconds = time.perf_counter() - started
        return seconds, int(transport.statistics()["publishing"]["covered_to"])


async def from_a_loop(made: ContextParts, count: int) -> None:
    """Send from an async block, which has a loop of its own."""

    async def block() -> None:
        context = Context(made)
        for number in range(count):
            await context.output(HANDLE, number)

    await asyncio.to_thread(asyncio.run, block())


async def from_a_thread(made: ContextParts, count: int) -> None:
    """Send from a classic block."""

    def block() -> None:
        context = SyncContext(made)
        for number in range(count):
            context.output(HANDLE, number)

    await asyncio.to_thread(block)


async def alone(address: str, count: int) -> tuple[float, int]:
    """Send with aiomqtt, a window of messages at once."""
    host, _, port = address.partition(":")
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    async with aiomqtt.Client(
        host, int(port), max_inflight_messages=AIOMQTT_WINDOW, max_concurrent_outgoing_calls=2 * AIOMQTT_WINDOW,
        socket_options=options,
    ) as client:  # fmt: skip
        numbers = iter(range(count))

        async def worker() -> None:
            for number in numbers:
                await client.publish(TOPIC, payload(number), qos=1)

        started = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(AIOMQTT_WINDOW)))
        return time.perf_counter() - started, count


def bare(address: str, count: int) -> tuple[float, int]:
    """Send bytes that were made before, and count acknowledgements: what the broker can take."""
    host, _, port = address.partition(":")
    publishes = b"".join(
        encode(Publish(TOPIC, payload(number), 1, packet_id=number % 0xFFFF + 1)) for number in range(count)
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(encode(Connect("bare", 60)))
        connection.recv(4, socket.MSG_WAITALL)
        started = time.perf_counter()
        writer = threading.Thread(target=connection.sendall, args=(publishes,), name="bare publisher")
        writer.start()
        left = 4 * count
        while left and (data := connection.recv(1 << 20)):
            left -= len(data)
        seconds = time.perf_counter() - started
        writer.join()
        connection.sendall(encode(Disconnect()))
    return seconds, count - left // 4


def run(side: str, address: str, count: int) -> tuple[float, int]:
    """Run one side once."""
    match side:
        case "async":
            return asyncio.run(ours(address, count, from_a_loop))
        case "thread":
            return asyncio.run(ours(address, count, from_a_thread))
        case "aiomqtt":
            return asyncio.run(alone(address, count))
        case _:
            return bare(address, count)


def main() -> None:
    """Answer requests until stdin ends."""
    for line in sys.stdin:
        request = json.loads(line)
        busy = time.process_time()
        seconds, acked = run(request["side"], request["address"], request["count"])
        answer = {"seconds": seconds, "acked": acked, "cpu": time.process_time() - busy}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
