"""Messages per second through `Context.output` over the memory transport, and where the time goes.

    python benchmarks/outputs.py             a minute: rates, shares, memory of a million outputs
    python benchmarks/outputs.py --smoke     a few seconds; exit code 1 if a message is missing or out of order

As in an executor, the block runs beside the I/O loop: a task on a block loop of its own, or a thread. A rate counts
until the last message has been read from the bus. CPU time is that of the whole process, so on a machine that is busy
with other things the rate per CPU second says more than the one per second.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from benchmarks._report import MEBIBYTE, Checks, Figures, arguments, machine, measure, resident_bytes
from oocana_async.channel.bus import Bus, BusSubscription, Overflow
from oocana_async.channel.channel import HARD_LIMIT_BYTES, Channel
from oocana_async.channel.clock import LoopClock
from oocana_async.channel.port import Flusher, JobPort
from oocana_async.channel.sender import Sender
from oocana_async.context import Context, ContextParts
from oocana_async.context.by_hand.desk import DeskExchange
from oocana_async.context.messenger import JobIdentity, JobMessenger, Surroundings
from oocana_async.context.sync import SyncContext
from oocana_async.handles import BinFiles, OutputPlace, VarStore, prepare_output
from oocana_async.transport.memory import MemoryTransport
from oocana_async.wire.envelope import Delivery, Outgoing

SESSION, JOB, HANDLE = "3f1a7c52-session", "9b2d4e60-job", "out"
TOPIC = f"session/{SESSION}"
ENGINE_LIMIT = 4096
GOAL = 300_000
FLAT = 32 * MEBIBYTE

Block = Callable[[Any, int], Any]


async def unawaited(context: Context, count: int) -> None:
    """Send without looking back."""
    output = context.output
    for number in range(count):
        output(HANDLE, number)


async def awaited(context: Context, count: int) -> None:
    """Send, waiting whenever the channel is congested."""
    for number in range(count):
        await context.output(HANDLE, number)


def threaded(context: SyncContext, count: int) -> None:
    """Send from a classic scriptlet."""
    for number in range(count):
        context.output(HANDLE, number)


MODES: dict[str, Block] = {"awaited": awaited, "un-awaited": unawaited, "from a thread": threaded}


# -- one run ----------------------------------------------------------------------------------------------------------


class Wire:
    """I/O side: bus, transport, channel and sender of an executor, and an engine that only reads."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.payloads: list[bytes] | None = None
        self.received = 0
        self._read = asyncio.Event()

    async def open(self, stack: AsyncExitStack) -> tuple[Channel, Sender]:
        """Start everything on the running loop."""
        bus = Bus()
        stack.callback(bus.close)
        # As the embedded engine reads: producers wait while it holds this many; read by `_read_all`, closed by the bus.
        intake = bus.subscribe(TOPIC, limit=ENGINE_LIMIT, overflow=Overflow.WAIT)
        transport = await stack.enter_async_context(MemoryTransport(bus))
        channel = Channel()
        sender = await stack.enter_async_context(Sender(channel, transport))
        self._reader = asyncio.create_task(self._read_all(intake), name="engine")
        return channel, sender

    async def all_read(self) -> None:
        """Wait until the engine has had every message."""
        await self._read.wait()

    async def _read_all(self, intake: BusSubscription) -> None:
        while batch := await intake.receive_many():
            self.received += len(batch)
            if self.payloads is not None:
                self.payloads.extend(message.payload for message in batch)
            if self.received >= self._count:
                self._read.set()


def make_parts(channel: JobPort, sender: Flusher, loop: asyncio.AbstractEventLoop) -> ContextParts:
    """Make the parts of a context as an executor does."""
    messenger = JobMessenger(JobIdentity(SESSION, JOB), channel, sender, LoopClock(loop))
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


async def run_block(block: Block, parts: ContextParts, count: int) -> None:
    """Run a block beside the I/O loop: a `def` in a thread, an `async def` on a loop of its own."""
    if inspect.iscoroutinefunction(block):
        await asyncio.to_thread(lambda: asyncio.run(_as_coroutine(block(Context(parts), count))))
    else:
        await asyncio.to_thread(block, SyncContext(parts), count)


def _as_coroutine(started: Any) -> Coroutine[Any, Any, None]:
    coroutine: Coroutine[Any, Any, None] = started
    return coroutine


def run(block: Block, count: int, *, record: list[bytes] | None = None) -> tuple[float, float]:
    """Send messages and wait until all were read; return seconds and seconds of CPU."""

    async def session() -> tuple[float, float]:
        wire = Wire(count)
        wire.payloads = record
        async with AsyncExitStack() as stack:
            channel, sender = await wire.open(stack)
            parts = make_parts(channel, sender, asyncio.get_running_loop())
            start, cpu = time.perf_counter(), time.process_time()
            await run_block(block, parts, count)
            await wire.all_read()
            return time.perf_counter() - start, time.process_time() - cpu

    return asyncio.run(session())


# -- shares -----------------------------------------------------------------------------------------------------------


class NoChannel(Channel):
    """Takes messages and forgets them."""

    def put(self, message: Outgoing, gate: object = None) -> bool:
        """Forget a message."""
        return False


def profile(rounds: int, count: int) -> Figures:
    """Measure the steps of a message one by one, in nanoseconds of CPU."""
    loop = asyncio.new_event_loop()
    forgetful = NoChannel()
    parts = make_parts(forgetful, Sender(forgetful, MemoryTransport(Bus())), loop)
    context = Context(parts)
    messages = [Outgoing(TOPIC, b"x" * 120, Delivery.DATA, SESSION, JOB) for _ in range(1024)]

    def encode() -> None:
        encoder = parts.encoder
        for number in range(count):
            encoder(HANDLE, number)

    def output() -> None:
        emit = context.output
        for number in range(count):
            emit(HANDLE, number)

    def through_channel() -> None:
        channel = Channel()
        put = channel.put
        for _ in range(count // 1024):
            for message in messages:
                put(message)
            channel.take()
            channel.give_back()

    def transport() -> None:
        loop.run_until_complete(_carry(messages, count // 1024))

    steps = {
        "encode": encode,
        "Context.output with it": output,
        "channel": through_channel,
        "transport and reader": transport,
    }
    figures = measure({name: functools.partial(_cpu_ns, step, count) for name, step in steps.items()}, rounds)
    loop.close()
    return figures


async def _carry(messages: list[Outgoing], times: int) -> None:
    bus = Bus()
    intake = bus.subscribe(TOPIC, overflow=Overflow.GROW)
    async with MemoryTransport(bus) as carrier:
        for _ in range(times):
            await carrier.publish(messages)
            intake.receive_many_nowait()


def _cpu_ns(step: Callable[[], None], count: int) -> float:
    start = time.thread_time_ns()
    step()
    return (time.thread_time_ns() - start) / count


def show_shares(figures: Figures) -> None:
    """Print what each step takes, and its share."""
    median = figures.median
    shares = {
        "encode the value": median("encode"),
        "make the message": max(0.0, median("Context.output with it") - median("encode")),
        "channel": median("channel"),
        "transport and reader": median("transport and reader"),
    }
    total = sum(shares.values())
    print(f"\nwhere the CPU time of an un-awaited output goes ({total:,.0f} ns in all, measured step by step)")
    for name, nanoseconds in shares.items():
        print(f"  {name:22} {nanoseconds:7,.0f} ns   {nanoseconds / total:5.0%}")


# -- memory -----------------------------------------------------------------------------------------------------------


def grow(mode: str, count: int) -> None:
    """In a process of its own: print by how many bytes the resident set grew at most while a block ran."""
    run(MODES[mode], 2000)
    before = peak = resident_bytes()
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.005):
            peak = max(peak, resident_bytes())

    watcher = threading.Thread(target=watch, name="watcher")
    watcher.start()
    run(MODES[mode], count)
    over.set()
    watcher.join()
    print(json.dumps(max(peak, resident_bytes()) - before))


def measure_growth(count: int, checks: Checks) -> None:
    """Print and check the growth for each way to send."""
    print(f"\nresident set while one block sends {count:,} outputs grows by at most")
    for mode in MODES:
        bound = FLAT + (HARD_LIMIT_BYTES if mode == "un-awaited" else 0)
        line = [sys.executable, __file__, "--grow", mode, str(count)]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        grown = int(json.loads(done.stdout))
        print(f"  {mode:16} {grown / MEBIBYTE:6.1f} MiB   (bound {bound / MEBIBYTE:.0f})", flush=True)
        checks.require(grown < bound, f"{mode}: the resident set grew by {grown / MEBIBYTE:.1f} MiB")


# -- all --------------------------------------------------------------------------------------------------------------


def check_delivery(count: int, checks: Checks) -> None:
    """Check that every message of every mode arrives, in order."""
    for mode, block in MODES.items():
        payloads: list[bytes] = []
        run(block, count, record=payloads)
        values = [json.loads(payload)["output"] for payload in payloads]
        checks.require(values == list(range(count)), f"{mode}: {len(values)} of {count} messages, or out of order")


def measure_rates(count: int, rounds: int) -> None:
    """Print the rate of each mode."""
    rates, per_cpu = Figures(), Figures()
    for number in range(-1, rounds):
        for mode, block in MODES.items():
            seconds, cpu = run(block, count if number >= 0 else 2000)
            if number >= 0:
                rates.add(mode, count / seconds)
                per_cpu.add(mode, count / cpu)
    print(f"outputs through the memory transport, {count:,} a run, {rounds} rounds (goal {GOAL:,}/s un-awaited)")
    for mode in MODES:
        print(f"  {mode:16} {rates.show(mode, ',.0f', '/s')}")
        print(f"  {'':16} {per_cpu.show(mode, ',.0f', '/s of CPU')}")


def main() -> int:
    """Measure, print, check."""
    if sys.argv[1:2] == ["--grow"]:
        grow(sys.argv[2], int(sys.argv[3]))
        return 0
    options = arguments(__doc__)
    checks = Checks()
    print(machine())
    check_delivery(20_000 if options.smoke else 200_000, checks)
    measure_rates(20_000 if options.smoke else 300_000, options.rounds or (1 if options.smoke else 5))
    show_shares(profile(options.rounds or (2 if options.smoke else 9), 20_480 if options.smoke else 102_400))
    measure_growth(60_000 if options.smoke else 1_000_000, checks)
    return checks.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
