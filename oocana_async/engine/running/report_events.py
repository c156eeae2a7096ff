"""The engine's own events on the report stream, field by field as the reference sends them (flow-format.md 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET, Raw

from oocana_async.engine.graph.graph import FlowKind
from oocana_async.engine.running.jobs import FlowRun, Job
from oocana_async.wire import topics
from oocana_async.wire.messages import encode_message, report
from oocana_async.wire.messages.report import ErrorInfo
from oocana_async.wire.messages.shared import RawMap, StackFrame

__all__ = ["Reporter"]

# By the kind of a flow. Flows name their file `flow_path`, subflows and slotflows, which are blocks, `block_path`.
_STARTED: Mapping[FlowKind, Any] = {
    "flow": report.FlowStarted,
    "subflow": report.SubflowBlockStarted,
    "slotflow": report.SlotflowStarted,
}
_OUTPUT: Mapping[FlowKind, Any] = {"subflow": report.SubflowBlockOutput, "slotflow": report.SlotflowOutput}
_FINISHED: Mapping[FlowKind, Any] = {
    "flow": report.FlowFinished,
    "subflow": report.SubflowBlockFinished,
    "slotflow": report.SlotflowFinished,
}


class Reporter:
    """Builds, encodes and publishes report events.

    Args:
        session_id: goes into every event.
        publish: puts a message on its topic.
        now_ms: milliseconds since the epoch.
    """

    def __init__(self, session_id: str, publish: Callable[[str, bytes], None], now_ms: Callable[[], int]) -> None:
        self._session_id = session_id
        self._publish = publish
        self._now_ms = now_ms

    def _send(self, event: Any) -> None:
        self._publish(topics.REPORT, encode_message(event))

    def session_started(self, path: str, *, partial: bool, cache: bool) -> None:
        """Report that the session begins."""
        at = self._now_ms()
        self._send(
            report.SessionStarted(session_id=self._session_id, create_at=at, path=path, partial=partial, cache=cache)
        )

    def session_finished(
        self, path: str, *, error: str | None, info: ErrorInfo | None, partial: bool, cache: bool
    ) -> None:
        """Report that the session is over."""
        self._send(
            report.SessionFinished(
                session_id=self._session_id,
                finish_at=self._now_ms(),
                path=path,
                error=UNSET if error is None else error,
                error_info=UNSET if info is None else info,
                partial=partial,
                cache=cache,
            )
        )

    def _of_flow(self, flow: FlowRun) -> dict[str, Any]:
        """Return what all events of a flow have in common."""
        path = "flow_path" if flow.plan.graph.kind == "flow" else "block_path"
        return {"session_id": self._session_id, "job_id": flow.job_id, "stacks": flow.stacks, path: flow.plan.path}

    def flow_started(self, flow: FlowRun, inputs: RawMap | None) -> None:
        """Report that a flow, subflow or slotflow begins; a flow does not report what it was given."""
        kind = flow.plan.graph.kind
        given = {} if kind == "flow" else {"inputs": inputs}
        self._send(_STARTED[kind](**self._of_flow(flow), **given, create_at=self._now_ms()))

    def nodes_will_run(self, flow: FlowRun, start: list[str], mid: list[str], end: list[str]) -> None:
        """Report which nodes of a flow run, and when."""
        lists: dict[str, Any] = {"start_nodes": start, "mid_nodes": mid, "end_nodes": end}
        self._send(report.FlowNodesWillRun(**self._of_flow(flow), **lists))

    def flow_output(self, flow: FlowRun, handle: str, value: Raw) -> None:
        """Report a value that leaves a subflow or slotflow; flows have no such event."""
        event = _OUTPUT.get(flow.plan.graph.kind)
        if event is not None:
            self._send(event(**self._of_flow(flow), handle=handle, output=value))

    def flow_progress(self, flow: FlowRun, progress: float) -> None:
        """Report the progress of a subflow; flows and slotflows report none."""
        if flow.plan.graph.kind == "subflow":
            self._send(report.BlockProgressEvent(**self._of_flow(flow), progress=progress, rate=progress))

    def flow_finished(self, flow: FlowRun, error: str | None, stack: list[StackFrame]) -> None:
        """Report that a flow, subflow or slotflow is over."""
        info = UNSET if error is None else ErrorInfo(stack=stack)
        event = _FINISHED[flow.plan.graph.kind]
        self._send(event(**self._of_flow(flow), error=error, error_info=info, finish_at=self._now_ms()))

    def block_started(self, job: Job) -> None:
        """Report that a job begins."""
        self._send(
            report.BlockStarted(
                session_id=self._session_id,
                job_id=job.job_id,
                stacks=job.stacks,
                block_path=job.block_path or UNSET,
                inputs=job.inputs,
                create_at=self._now_ms(),
            )
        )

    def block_output(self, job: Job, handle: str, value: Raw) -> None:
        """Report one value of a block."""
        self._send(
            report.BlockOutputEvent(
                session_id=self._session_id,
                job_id=job.job_id,
                stacks=job.stacks,
                block_path=job.block_path or UNSET,
                handle=handle,
                output=value,
            )
        )

    def block_outputs(self, job: Job, outputs: RawMap) -> None:
        """Report values on several handles of a block."""
        self._send(
            report.BlockOutputsEvent(
                session_id=self._session_id,
                job_id=job.job_id,
                stacks=job.stacks,
                block_path=job.block_path or UNSET,
                outputs=outputs,
            )
        )

    def block_finished(self, job: Job, result: RawMap | None, error: str | None) -> None:
        """Report the end of a job; an error wins over a result."""
        self._send(
            report.BlockFinishedEvent(
                session_id=self._session_id,
                job_id=job.job_id,
                stacks=job.stacks,
                block_path=job.block_path or UNSET,
                result=UNSET if result is None or error is not None else result,
                error=UNSET if error is None else error,
                finish_at=self._now_ms(),
            )
        )

    def block_error(self, job: Job, error: str) -> None:
        """Report an error that does not end the job by itself."""
        self._send(
            report.BlockErrorEvent(
                session_id=self._session_id,
                job_id=job.job_id,
                stacks=job.stacks,
                block_path=job.block_path or UNSET,
                error=error,
            )
        )

    def block_log(self, job: Job, line: str, stdio: str) -> None:
        """Report a line that a block of the engine wrote."""
        self._send(
            report.BlockLog(
                session_id=self._session_id,
                job_id=job.job_id,
                stacks=job.stacks,
                block_path=job.block_path or UNSET,
                log=line,
                stdio=stdio,
            )
        )

    def preview(self, job: Job, payload: Raw) -> None:
        """Report something to look at."""
        self._send(
            report.BlockPreview(
                session_id=self._session_id,
                job_id=job.job_id,
                stacks=job.stacks,
                block_path=job.block_path or UNSET,
                payload=payload,
            )
        )

    def forwarded_preview(self, flow: FlowRun, node_id: str, payload: Raw) -> None:
        """Report a preview of an inner node as the flow's own (flow-format.md 6.4)."""
        self._send(report.BlockPreview(**self._of_flow(flow), payload=payload, node_id=node_id))
