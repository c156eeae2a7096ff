"""A job on a bench: its contexts, and everything that it sends, decoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from oocana_async.channel.bus import Bus
from oocana_async.channel.channel import Channel
from oocana_async.channel.sender import Sender
from oocana_async.context import Context, ContextParts
from oocana_async.context.block_job import BlockJob
from oocana_async.context.messenger import JobIdentity, JobMessenger, Surroundings
from oocana_async.context.requests import PendingRequests
from oocana_async.context.sync import SyncContext
from oocana_async.handles import Redactor
from oocana_async.testing.manual_clock import ManualClock
from oocana_async.transport.base import Subscription
from oocana_async.transport.memory import MemoryTransport
from oocana_async.wire.encoding import encode
from oocana_async.wire.envelope import Delivery, Outgoing
from oocana_async.wire.messages.dispatch import RequestResponse
from oocana_async.wire.messages.report import ReportEvent, decode_report
from oocana_async.wire.messages.session import RunBlock
from oocana_async.wire.messages.shared import StackFrame

STACK = StackFrame("F1", "/w/flows/main/flow.oo.yaml", "resize")


class Exchange:
    """Answers of an engine, given by the test."""

    def __init__(self, channel: Channel, clock: ManualClock) -> None:
        self.pending = PendingRequests(clock)
        self.listeners: dict[str, Callable[[ReportEvent], object]] = {}
        self._channel = channel

    def start_child(
        self, message: Outgoing, request: RunBlock, listener: Callable[[ReportEvent], object]
    ) -> Callable[[], object]:
        self.listeners[request.block_job_id] = listener
        self._channel.append(message)
        return lambda: self.listeners.pop(request.block_job_id, None)

    def answer(self, request: Mapping[str, Any], result: Any = None, error: str | None = None) -> bool:
        response = RequestResponse("S1", "J1", request["request_id"], encode(result), error)  # type: ignore[arg-type]
        return self.pending.resolve(response)


class MarkedTransport(MemoryTransport):
    """The memory transport; remembers as what each message was marked."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self.marked: list[tuple[str, Delivery]] = []

    async def publish(self, batch: Sequence[Outgoing]) -> None:
        self.marked += [(json.loads(one.payload)["type"], one.delivery) for one in batch]
        await super().publish(batch)

    def publish_many_nowait(self, batch: Sequence[Outgoing]) -> bool:
        is_taken = super().publish_many_nowait(batch)
        if is_taken:
            self.marked += [(json.loads(one.payload)["type"], one.delivery) for one in batch]
        return is_taken


class Child:
    """A child block, played by the test."""

    def __init__(self, bench: Bench, job: BlockJob) -> None:
        self.job = job
        self._listener = bench.exchange.listeners[job.job_id]

    def __call__(self, kind: str, **fields: Any) -> None:
        """Send an event; the block hears it, even when it has stopped to listen."""
        event = decode_report(encode({"type": kind, "session_id": "S1", "job_id": self.job.job_id, **fields}))
        assert event is not None
        self._listener(event)


class Bench:
    """One job over the memory transport."""

    def __init__(self, channel: Channel, sender: Sender, transport: MarkedTransport, sent: Subscription) -> None:
        self.channel = channel
        self.sender = sender
        self.clock = ManualClock()
        self.exchange = Exchange(channel, self.clock)
        self.redactor = Redactor()
        self.messenger = self.new_messenger()
        self._transport = transport
        self._sent = sent
        self._received: list[tuple[str, dict[str, Any]]] = []

    def new_messenger(self, stacks: Iterable[StackFrame] = (STACK,)) -> JobMessenger:
        identity = JobIdentity("S1", "J1", tuple(stacks), "/w/tasks/resize/task.oo.yaml")
        return JobMessenger(identity, self.channel, self.sender, self.clock, redactor=self.redactor)

    def parts(self, *handles: str, variables: Mapping[str, str] | None = None) -> ContextParts:
        return ContextParts(
            messenger=self.messenger,
            inputs={"width": 640},
            inputs_def={"width": {"handle": "width"}},
            outputs_def={handle: {"handle": handle} for handle in handles},
            surroundings=Surroundings("/session", "/tmp/flow", "tools", "/data/tools", variables or {}),
            encoder=lambda handle, value: encode(value),
            exchange=self.exchange,
            declared=frozenset(handles),
        )

    def context(self, *handles: str, variables: Mapping[str, str] | None = None) -> Context:
        return Context(self.parts(*(handles or ("out",)), variables=variables))

    def sync_context(self, *handles: str) -> SyncContext:
        return SyncContext(self.parts(*(handles or ("out",))))

    async def messages(self, *types: str) -> list[dict[str, Any]]:
        """Return what the job has sent so far, all of it or messages of some types, in order."""
        await self.sender.flush()
        self._received += [(one.topic, json.loads(one.payload)) for one in self._sent.receive_many_nowait()]
        return [message for _, message in self._received if not types or message["type"] in types]

    async def marked(self, *types: str) -> list[tuple[str, Delivery]]:
        """Return types and marks of what the job has sent so far, in order."""
        await self.sender.flush()
        return [(kind, mark) for kind, mark in self._transport.marked if not types or kind in types]

    async def topics(self) -> list[str]:
        await self.messages()
        return [topic for topic, _ in self._received]

    async def outputs(self) -> list[Any]:
        return [message["output"] for message in await self.messages("BlockOutput")]

    async def warnings(self) -> list[str]:
        return [message["warning"] for message in await self.messages("BlockWarning")]


async def open_bench(bus: Bus) -> tuple[MarkedTransport, Subscription]:
    transport = MarkedTransport(bus)
    return transport, await transport.subscribe("#")
