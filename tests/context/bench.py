"""A job on a bench: its contexts, and everything that it sends, decoded."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from oocana_async.channel.bus import Bus
from oocana_async.channel.sender import Outbox
from oocana_async.context import Context, ContextParts
from oocana_async.context.messenger import JobIdentity, JobMessenger, Surroundings
from oocana_async.context.requests import PendingRequests
from oocana_async.context.sync import SyncContext
from oocana_async.errors import TransportError
from oocana_async.testing.clock import ManualClock
from oocana_async.transport.base import Subscription, Transport
from oocana_async.transport.memory import MemoryTransport
from oocana_async.wire.encoding import encode
from oocana_async.wire.envelope import Outgoing
from oocana_async.wire.messages.dispatch import RequestResponse
from oocana_async.wire.messages.report import ReportEvent
from oocana_async.wire.messages.session import RunBlock
from oocana_async.wire.messages.shared import StackFrame

STACK = StackFrame("F1", "/w/flows/main/flow.oo.yaml", "resize")


class GateTransport(Transport):
    """Records what it is given; holds batches back while its gate is shut, and can break."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.taken: list[Outgoing] = []
        self.batches: list[int] = []
        self.flushes = 0
        self.failure: Exception | None = None
        self.reached = asyncio.Event()
        self._gate = asyncio.Event()
        if is_open:
            self._gate.set()

    async def __aenter__(self) -> Self:
        return self

    def open(self) -> None:
        self._gate.set()

    def shut(self) -> None:
        self._gate.clear()

    async def publish(self, batch: Sequence[Outgoing]) -> None:
        self.reached.set()
        await self._gate.wait()
        if self.failure is not None:
            raise self.failure
        self.taken.extend(batch)
        self.batches.append(len(batch))

    async def subscribe(self, *filters: str) -> Subscription:
        raise NotImplementedError

    async def flush(self) -> None:
        self.flushes += 1

    async def aclose(self) -> None:
        return

    def statistics(self) -> Mapping[str, Any]:
        return {}


class Exchange:
    """Answers of an engine, given by the test."""

    def __init__(self, outbox: Outbox, clock: ManualClock) -> None:
        self.pending = PendingRequests(clock)
        self.listeners: dict[str, Callable[[ReportEvent], object]] = {}
        self._outbox = outbox

    def start_child(
        self, message: Outgoing, request: RunBlock, listener: Callable[[ReportEvent], object]
    ) -> Callable[[], object]:
        self.listeners[request.block_job_id] = listener
        self._outbox.append(message)
        return lambda: self.listeners.pop(request.block_job_id, None)

    def answer(self, request: Mapping[str, Any], result: Any = None, error: str | None = None) -> bool:
        response = RequestResponse("S1", "J1", request["request_id"], encode(result), error)  # type: ignore[arg-type]
        return self.pending.resolve(response)


class Bench:
    """One job over the memory transport."""

    def __init__(self, outbox: Outbox, sent: Subscription) -> None:
        self.outbox = outbox
        self.clock = ManualClock()
        self.exchange = Exchange(outbox, self.clock)
        self.loop_thread = threading.get_ident()
        self.secret: str | None = None
        self.link = self.new_link()
        self._sent = sent
        self._received: list[tuple[str, dict[str, Any]]] = []

    def new_link(self, stacks: Iterable[StackFrame] = (STACK,)) -> JobMessenger:
        identity = JobIdentity("S1", "J1", tuple(stacks), "/w/tasks/resize/task.oo.yaml")
        return JobMessenger(identity, self.outbox, self.clock, redact=self._redact)

    def _redact(self, text: str) -> str:
        return text if self.secret is None else text.replace(self.secret, "***")

    def parts(self, *handles: str, variables: Mapping[str, str] | None = None) -> ContextParts:
        return ContextParts(
            link=self.link,
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
        await self.outbox.flush()
        self._received += [(one.topic, json.loads(one.payload)) for one in self._sent.receive_many_nowait()]
        return [message for _, message in self._received if not types or message["type"] in types]

    async def topics(self) -> list[str]:
        await self.messages()
        return [topic for topic, _ in self._received]

    async def outputs(self) -> list[Any]:
        return [message["output"] for message in await self.messages("BlockOutput")]

    async def warnings(self) -> list[str]:
        return [message["warning"] for message in await self.messages("BlockWarning")]


async def open_bench(bus: Bus) -> tuple[MemoryTransport, Subscription]:
    transport = MemoryTransport(bus)
    return transport, await transport.subscribe("#")


def broken(text: str = "gone") -> TransportError:
    return TransportError(text)
