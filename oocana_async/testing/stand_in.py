"""The engine's stand-in: hands one job to an executor, answers its questions and records what it sends."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Self

from msgspec import Raw

from oocana_async.channel.bus import Bus, BusMessage, BusSubscription
from oocana_async.executor.loading.tracebacks import format_exception
from oocana_async.handles.output_values import define_output
from oocana_async.testing.answers import Answers, Child, NoAnswer, RefusedError
from oocana_async.testing.recorder import Recorder
from oocana_async.testing.values import Values
from oocana_async.wire import topics
from oocana_async.wire.encoding import encode
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.dispatch import BlockInputs, BlockPayload, RequestResponse
from oocana_async.wire.messages.report import (
    BlockFinishedEvent,
    BlockMessage,
    BlockOutputEvent,
    BlockPreview,
    BlockProgressEvent,
    BlockStarted,
    FlowFinished,
    JobEvent,
    decode_report,
)
from oocana_async.wire.messages.session import (
    BlockReady,
    ExecutorReady,
    Preview,
    Request,
    RunBlock,
    decode_session,
)
from oocana_async.wire.messages.shared import NULL, RawMap, StackFrame

__all__ = ["JobPlan", "StandIn"]


@dataclass(frozen=True)
class JobPlan:
    """The job to run: what the engine would say about it."""

    payload: BlockPayload
    inputs: BlockInputs


class StandIn:
    """Speaks the engine's side of the protocol on a bus; use it as an async context manager.

    Args:
        bus: where the executor listens.
        incoming: what it sends to the session and to the report.
        plan: the one job.
        answers: what it is told when it asks.
        recorder: takes what it sends.
        values: encodes what its children send.
    """

    def __init__(
        self,
        bus: Bus,
        incoming: BusSubscription,
        plan: JobPlan,
        answers: Answers,
        recorder: Recorder,
        values: Values,
    ) -> None:
        self._bus = bus
        self._plan = plan
        self._answers = answers
        self._recorder = recorder
        self._values = values
        self._session_id = plan.payload.session_id
        self._job_id = plan.payload.job_id
        self._incoming = incoming
        self._children: set[asyncio.Task[None]] = set()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._read(), name="oocana-testing-reader")
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the reading, and the children that still run."""
        self._incoming.close()
        for child in self._children:
            child.cancel()
        tasks = self._children if self._reader is None else {self._reader, *self._children}
        if tasks:
            await asyncio.wait(tasks)

    def catch_up(self) -> None:
        """Take what has arrived and was not looked at yet."""
        self._take_all(self._incoming.receive_many_nowait())

    def cancel(self) -> None:
        """Cancel the job the way the engine does: its flow ends."""
        frame = self._plan.payload.stacks[0]
        self._report(
            FlowFinished(
                session_id=self._session_id,
                job_id=frame.flow_job_id,
                flow_path=frame.flow,
                stacks=[],
                finish_at=_now(),
            )
        )

    # -- what comes in ------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while batch := await self._incoming.receive_many():
                self._take_all(batch)
        except Exception as error:  # noqa: BLE001 - whoever waits for the record gets it
            self._recorder.fail(error)

    def _take_all(self, batch: list[BusMessage]) -> None:
        for one in batch:
            message = decode_report(one.payload) if one.topic == topics.REPORT else decode_session(one.payload)
            if isinstance(message, ExecutorReady):
                self._publish(topics.run_block(), self._plan.payload)
            elif message is not None and getattr(message, "job_id", None) == self._job_id:
                self._recorder.take(message)
                self._act(message)
        if batch:
            self._recorder.wake()

    def _act(self, message: Any) -> None:
        match message:
            case BlockReady():
                self._publish(topics.inputs(self._session_id, self._job_id), self._plan.inputs)
            case RunBlock():
                task = asyncio.create_task(self._run_child(message), name=f"oocana-testing-child {message.block}")
                self._children.add(task)
                task.add_done_callback(self._children.discard)
            case Request() if not isinstance(message, Preview):
                self._answer(message)
            case _:
                pass

    # -- answers ------------------------------------------------------------------------------------------------

    def _answer(self, request: Request) -> None:
        try:
            found = self._answers.query(request)
            if not isinstance(found, NoAnswer):
                self._respond(request, result=NULL if found is None else Raw(encode(found)))
        except RefusedError as refused:
            self._respond(request, error=str(refused))

    def _respond(self, request: Request, *, result: Raw = NULL, error: str | None = None) -> None:
        response = RequestResponse(self._session_id, self._job_id, request.request_id, result, error)
        self._publish(topics.response(self._session_id, request.request_id), response)

    async def _run_child(self, request: RunBlock) -> None:
        inputs = request.payload.inputs or {}
        try:
            child = await self._answers.child(request, self._values.decode_all(inputs))
            if not isinstance(child, NoAnswer):
                self._play(child, request, inputs)
        except RefusedError as refused:
            self._respond(request, error=str(refused))
        except Exception as error:  # noqa: BLE001 - the test's function stands for the child's code
            self._child_event(request, BlockFinishedEvent, error=format_exception(error), finish_at=_now())

    def _play(self, child: Child, request: RunBlock, inputs: RawMap) -> None:
        outputs = [(handle, self._child_value(request, handle, value)) for handle, value in child.pairs()]
        result = {key: self._child_value(request, key, value) for key, value in (child.result or {}).items()}
        previews = [Raw(encode(payload)) for payload in child.previews]
        messages = [Raw(encode(payload)) for payload in child.messages]
        self._child_event(request, BlockStarted, inputs=inputs, create_at=_now())
        for progress in child.progress:
            self._child_event(request, BlockProgressEvent, progress=progress)
        for payload in previews:
            self._child_event(request, BlockPreview, payload=payload)
        for payload in messages:
            self._child_event(request, BlockMessage, payload=payload)
        for handle, output in outputs:
            self._child_event(request, BlockOutputEvent, handle=handle, output=output)
        end: dict[str, Any] = {"result": result} if child.error is None else {"error": child.error}
        self._child_event(request, BlockFinishedEvent, finish_at=_now(), **end)

    def _child_value(self, request: RunBlock, handle: str, value: Any) -> Raw:
        return self._values.encode(request.block_job_id, handle, value, define_output(handle, value))

    def _child_event(self, request: RunBlock, kind: type[JobEvent], **fields: Any) -> None:
        own = request.stacks[-1]
        frame = StackFrame(own.flow_job_id, own.flow, f"run_block::{request.block}")
        stacks = [*request.stacks, frame]
        self._report(kind(session_id=self._session_id, job_id=request.block_job_id, stacks=stacks, **fields))

    # -- what goes out ------------------------------------------------------------------------------------------

    def _report(self, event: Any) -> None:
        self._publish(topics.REPORT, event)

    def _publish(self, topic: str, message: Any) -> None:
        self._bus.publish_nowait(topic, encode_message(message))


def _now() -> int:
    return time.time_ns() // 1_000_000
