"""An executor host whose blocks are functions of the test, over the same messages as the real one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from oocana_async.channel.bus import Bus, BusMessage
from oocana_async.engine.hosts.scopes import ExecutorHost, ExecutorStart
from oocana_async.wire import topics
from oocana_async.wire.messages import encode_message, session
from oocana_async.wire.messages.dispatch import decode_block_inputs
from oocana_async.wire.messages.shared import OutputOptions, OutputTarget, StackFrame, TargetFlow, TargetNode

Behaviour = Callable[["FakeJob"], Any]


def raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


class FakeJob:
    """One job as its block sees it."""

    def __init__(self, host: FakeHost, payload: dict[str, Any]) -> None:
        self.host = host
        self.payload = payload
        self.job_id: str = payload["job_id"]
        self.stacks = [StackFrame(**frame) for frame in payload["stacks"]]
        self.inputs: dict[str, Any] = {}
        self.is_ended = False
        self._requests = 0

    @property
    def node_id(self) -> str:
        return self.stacks[-1].node_id if self.stacks else ""

    def send(self, message: Any) -> None:
        self.host.bus.publish_nowait(topics.session(self.host.session_id), encode_message(message))

    def output(self, handle: str, value: Any, *, to_node: Any = None, to_flow: Any = None) -> None:
        options = None
        if to_node is not None or to_flow is not None:
            nodes = None if to_node is None else [TargetNode(*pair) for pair in to_node]
            flows = None if to_flow is None else [TargetFlow(name) for name in to_flow]
            options = OutputOptions(OutputTarget(nodes, flows))
        self.send(session.BlockOutput(self.host.session_id, self.job_id, handle, raw(value), options))

    def outputs(self, values: Mapping[str, Any]) -> None:
        encoded = {handle: raw(value) for handle, value in values.items()}
        self.send(session.BlockOutputs(self.host.session_id, self.job_id, encoded))

    def progress(self, value: float) -> None:
        self.send(session.BlockProgress(self.host.session_id, self.job_id, value))

    def finish(self, result: Mapping[str, Any] | None = None, error: str | None = None) -> None:
        self.is_ended = True
        encoded = None if result is None else {handle: raw(value) for handle, value in result.items()}
        self.send(session.BlockFinished(self.host.session_id, self.job_id, encoded, error))

    async def ask(self, kind: type[Any], **fields: Any) -> bytes:
        """Send a request and return the text of the engine's answer."""
        self._requests += 1
        request_id = f"{self.job_id}-{self._requests}"
        answers = self.host.bus.subscribe(topics.response(self.host.session_id, request_id))
        self.tell(kind, request_id=request_id, **fields)
        answer = (await answers.__anext__()).payload
        answers.close()
        return answer

    def tell(self, kind: type[Any], *, request_id: str = "R", **fields: Any) -> None:
        """Send a request without waiting for an answer."""
        self.send(kind(session_id=self.host.session_id, job_id=self.job_id, request_id=request_id, **fields))


class FakeHost:
    """Starts fake executors; jobs run the behaviour named like their node, or like their entry, else `*`."""

    def __init__(self, bus: Bus, behaviours: Mapping[str, Behaviour]) -> None:
        self.bus = bus
        self.session_id = ""
        self.started: list[ExecutorStart] = []
        self.jobs: list[FakeJob] = []
        self.refuse_with: Exception | None = None
        self._behaviours = behaviours
        self._waiting: dict[str, FakeJob] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, spec: ExecutorStart) -> None:
        if self.refuse_with is not None:
            raise self.refuse_with
        self.started.append(spec)
        if not self.session_id:
            self.session_id = spec.session_id
            filters = (topics.run_block(), topics.run_service_block(), topics.inputs(spec.session_id, "+"))
            self.bus.listen(self._hear, *filters)
        ready = session.ExecutorReady(spec.session_id, "python", str(spec.package_path), spec.identifier)
        self.bus.publish_nowait(topics.session(spec.session_id), encode_message(ready))

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _hear(self, message: BusMessage) -> None:
        if message.topic.startswith("executor/"):
            self._take(msgspec.json.decode(message.payload))
            return
        inputs = decode_block_inputs(message.payload)
        job = self._waiting.pop(inputs.job_id)
        job.inputs = {name: msgspec.json.decode(value) for name, value in (inputs.inputs or {}).items()}
        self._run(job)

    def _take(self, payload: dict[str, Any]) -> None:
        job = FakeJob(self, payload)
        self.jobs.append(job)
        self._waiting[job.job_id] = job
        job.send(session.BlockReady(self.session_id, job.job_id))

    def _run(self, job: FakeJob) -> None:
        behaviour = self._behaviours.get(job.node_id) or self._behaviours.get("*", echo)
        result = behaviour(job)
        if inspect.isawaitable(result):
            self._tasks.append(asyncio.ensure_future(self._finish_later(job, result)))
        elif not job.is_ended and result is not KEEP:
            job.finish(result)

    async def _finish_later(self, job: FakeJob, waiting: Awaitable[Any]) -> None:
        result = await waiting
        if not job.is_ended:
            job.finish(result)


KEEP = object()
"""Returned by a behaviour whose job goes on."""


def echo(job: FakeJob) -> dict[str, Any]:
    """Pass the input `x` on as `out`."""
    return {"out": job.inputs.get("x")}


def fake_host(behaviours: Mapping[str, Behaviour] | None = None, made: list[FakeHost] | None = None) -> Any:
    """Return a host factory for `open_session`; the host ends up in `made`."""

    def make(bus: Bus, max_threads: int | None) -> ExecutorHost:
        host = FakeHost(bus, behaviours or {})
        if made is not None:
            made.append(host)
        return host

    return make
