"""A small engine on a bus of this process, for tests of tasks and services: hands out jobs and keeps what is said."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec

from oocana_async.channel.bus import Bus, Overflow
from oocana_async.wire import topics
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.dispatch import (
    BlockPayload,
    ExecutorSpec,
    PythonOptions,
    ServiceBlockPayload,
    ServiceExecutor,
)
from oocana_async.wire.messages.shared import StackFrame

Json = dict[str, Any]


class Engine:
    """Answers BlockReady with BlockInputs, and keeps everything that is published.

    Attributes:
        seen: (topic, body) of all messages, in order.
    """

    def __init__(self, directory: Path) -> None:
        self.bus = Bus()
        self.directory = directory
        self.seen: list[tuple[str, Json]] = []
        self._inputs: dict[str, Json] = {}
        self._numbers = itertools.count(1)
        self._changed = asyncio.Event()
        self._everything = self.bus.subscribe("#", overflow=Overflow.GROW)

    async def watch(self) -> None:
        """Take messages for ever."""
        async for message in self._everything:
            body = _decode(message.payload)
            self.seen.append((message.topic, body))
            if body.get("type") == "BlockReady":
                self._send_inputs(body["session_id"], body["job_id"])
            self._changed.set()

    def _send_inputs(self, session_id: str, job_id: str) -> None:
        inputs = self._inputs.pop(job_id, None)
        body: Json = {"type": "BlockInputs", "session_id": session_id, "job_id": job_id, "stacks": [], "inputs": inputs}
        self.publish(topics.inputs(session_id, job_id), body)

    def publish(self, topic: str, body: object) -> None:
        """Publish a JSON message."""
        self.bus.publish_nowait(topic, msgspec.json.encode(body))

    def write(self, source: str) -> None:
        """Write main.py, the code of services and tasks."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "main.py").write_text(dedent(source))

    def payload(self, block: str, inputs: Json | None = None, *, session_id: str = "S", **executor: Any) -> Any:
        """Make a job of a block; `inputs` is what BlockReady gets."""
        job_id = f"J{next(self._numbers)}"
        self._inputs[job_id] = inputs or {}
        return ServiceBlockPayload(
            session_id=session_id,
            job_id=job_id,
            stacks=[StackFrame("F", "flow.oo.yaml", "node")],
            executor_name="python",
            dir=str(self.directory),
            block_name=block,
            service_executor=ServiceExecutor("python", "main.py", "main", **executor),
            service_hash="HASH",
            outputs={"out": {"handle": "out"}},
            identifier="I",
        )

    def start_task(self, function: str, inputs: Json | None = None, *, depth: int = 1, **handle: Any) -> str:
        """Send a job for a function of main.py; returns its id.

        Args:
            function: its name.
            inputs: what BlockReady gets.
            depth: number of flows, one inside the other, that the job's node is in.
            handle: more of the definition of its output `out`.
        """
        job_id = f"J{next(self._numbers)}"
        self._inputs[job_id] = inputs or {}
        payload = BlockPayload(
            session_id="S",
            executor_name="python",
            job_id=job_id,
            stacks=[StackFrame(f"F{level}", "flow.oo.yaml", "node") for level in range(depth)],
            dir=str(self.directory),
            executor=ExecutorSpec("python", PythonOptions("main.py", function)),
            outputs={"out": {"handle": "out", **handle}},
            identifier="I",
        )
        self.bus.publish_nowait(topics.run_block(), encode_message(payload))
        return job_id

    async def run_task(self, function: str, inputs: Json | None = None, **options: Any) -> Json:
        """Run a function of main.py to its end; options are those of `start_task`."""
        return await self.end_of(self.start_task(function, inputs, **options))

    async def until(self, found: Callable[[], Any], within: float = 20.0) -> Any:
        """Wait until something is found; it is looked for after each message."""
        async with asyncio.timeout(within):
            while not (result := found()):
                self._changed.clear()
                await self._changed.wait()
        return result

    def of(self, topic: str) -> list[Json]:
        """Return the messages of a topic."""
        return [body for name, body in self.seen if name == topic]

    def ends_of(self, job_id: str) -> list[Json]:
        """Return result and error of each BlockFinished of a job."""
        bodies = [body for body in self.of("session/S") + self.of("session/S2") if body.get("type") == "BlockFinished"]
        return [
            {key: body[key] for key in ("result", "error") if key in body}
            for body in bodies
            if body["job_id"] == job_id
        ]

    async def end_of(self, job_id: str) -> Json:
        """Wait for the BlockFinished of a job."""
        found: Json = (await self.until(lambda: self.ends_of(job_id)))[0]
        return found

    def finish_flow(self, flow_job_id: str) -> None:
        """Report the end of a flow of session S."""
        body = {"session_id": "S", "job_id": flow_job_id, "flow_path": "f", "stacks": [], "finish_at": 0}
        self.publish("report", {"type": "FlowFinished", **body})

    def finish_session(self, session_id: str = "S") -> None:
        """Report the end of a session."""
        self.publish("report", {"type": "SessionFinished", "session_id": session_id, "finish_at": 0, "path": "p"})


def _decode(payload: bytes) -> Json:
    """Return an object; anything else becomes one."""
    try:
        body: Any = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        body = payload.decode()
    return body if isinstance(body, dict) else {"body": body}


@contextlib.asynccontextmanager
async def running_engine(directory: Path) -> AsyncIterator[Engine]:
    """Run an engine for session S, whose services lie in a directory."""
    one = Engine(directory)
    watch = asyncio.create_task(one.watch())
    yield one
    watch.cancel()
    await asyncio.wait([watch])
    one.bus.close()
