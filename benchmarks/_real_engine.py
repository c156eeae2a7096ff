"""Runs flows on the real engine with a given executor, and counts what comes out on `report`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks._mosquitto import Mosquitto
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.subscribing import SubscribingConnection

__all__ = ["EngineRun", "run_on_engine"]


class _Event(msgspec.Struct):
    type: str
    session_id: str
    job_id: str = ""
    stacks: list[dict[str, str]] = []
    error: str | None = None

    @property
    def node(self) -> str:
        return self.stacks[-1]["node_id"] if self.stacks else ""


_decode = msgspec.json.Decoder(_Event).decode


@dataclass
class EngineRun:
    """What one run of the engine looked like from outside.

    Attributes:
        exit_code: of the engine; None when it was stopped because it took too long.
        seconds: from the start of the engine to its end.
        counts: events by type, and by `TYPE NODE`.
        first, last: times of the first and last event by the same names, seconds since the start.
        finished: BlockFinished by job.
        errors: the first errors.
    """

    exit_code: int | None = None
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    finished: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def note(self, event: _Event, at: float) -> None:
        """Count an event."""
        for name in (event.type, f"{event.type} {event.node}"):
            self.counts[name] += 1
            self.first.setdefault(name, at)
            self.last[name] = at
        if event.type == "BlockFinished":
            self.finished[event.job_id] += 1
        if event.error and len(self.errors) < 3:
            self.errors.append(event.error[-500:])


async def run_on_engine(
    engine: str, executor: Path, broker: Mosquitto, flow: Path, *, home: Path, limit: float, reporter: bool = True
) -> EngineRun:
    """Run a flow.

    Args:
        engine: the engine's program.
        executor: the `python-executor` to use.
        broker: where all meet.
        flow: manifest.
        home: HOME of engine and executor; keep it from run to run, libraries have caches there.
        limit: seconds after which the engine is stopped.
        reporter: whether the engine publishes events.
    """
    session = str(uuid.uuid4())
    run = EngineRun()
    started = time.monotonic()
    over = asyncio.Event()

    def see(_topic: str, payload: bytes) -> None:
        event = _decode(payload)
        run.note(event, time.monotonic() - started)
        if event.type == "SessionFinished":
            over.set()

    def ours(payload: bytes) -> bool:
        return session.encode() in payload

    where = Broker(broker.host, broker.port)
    with tempfile.TemporaryDirectory(prefix="engine", ignore_cleanup_errors=True) as temporary:
        async with SubscribingConnection(where, client_id=f"front-{session}", deliver=see, wanted=ours) as front:
            await front.subscribe({"report": 0})  # at QoS 1 the broker drops what is 1,000 messages ahead of a reader
            started = time.monotonic()
            command = [engine, "run", str(flow), "--broker", broker.address, "--session", session]
            command += ["--session-dir", f"{temporary}/session", "--temp-root", temporary]
            command += ["--project-data", f"{temporary}/data", "--pkg-data-root", f"{temporary}/packages"]
            if reporter:
                command.append("--reporter")
            run.exit_code = await _run(command, _environment(executor, home), flow.parent, limit)
            run.seconds = time.monotonic() - started
            if reporter and run.exit_code is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), 5)
    return run


def _environment(executor: Path, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OO")}
    return {**kept, "HOME": str(home), "PATH": f"{executor.parent}:/usr/bin:/bin"}


async def _run(command: list[str], environment: dict[str, str], cwd: Path, limit: float) -> int | None:
    null = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, env=environment, cwd=cwd, stdout=null, stderr=null)
    try:
        return await asyncio.wait_for(process.wait(), limit)
    except TimeoutError:
        process.terminate()  # it ends its executors, too
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
        return None
