"""The state of a run as people see it: takes events, keeps nodes, says what is worth a line. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

import msgspec
from msgspec import Raw

from oocana_async.watching.entries import Entry, EntryKind
from oocana_async.watching.node_view import NodePhase, NodeView
from oocana_async.watching.preview_text import describe
from oocana_async.watching.text import brief, clock, printable
from oocana_async.wire.messages import report
from oocana_async.wire.messages.shared import StackFrame

__all__ = ["RunView"]

CANCELLED = "Cancelled"
"""Error of a session that was ended from outside, as the engine writes it."""

_RUNS_TOLD = 3
"""Runs of one node whose end is told; of later ones only the 10th, 100th, 1000th and so on."""

_Started = report.SubflowBlockStarted | report.SlotflowStarted
_Output = report.SubflowBlockOutput | report.SlotflowOutput
_Finished = report.SubflowBlockFinished | report.SlotflowFinished
_Said = report.BlockLog | report.BlockLogJSON | report.BlockWarning | report.BlockErrorEvent


class RunView:
    """Everything that is shown of one run.

    Attributes:
        path: the manifest that runs.
        nodes: in the order in which they became known, those of the root flow first.
        warnings: warnings so far.
        error: why the run failed, None while it has not.
        cause: the original error of the failing block, often a traceback.
        failed_node: the node that made the run fail.
        failed_at: flow file and node id of it.
        place_of: says where a node of a flow file stands, None when that is not known.
        told: error texts of nodes that were told already.
        outputs: values that left the root subflow.
        started_at: milliseconds since the epoch.
        finished_at: the same, None while it runs.
    """

    def __init__(self) -> None:
        self.path = ""
        self.nodes: dict[tuple[str, ...], NodeView] = {}
        self.warnings = 0
        self.error: str | None = None
        self.cause: str | None = None
        self.failed_node = ""
        self.failed_at: tuple[str, str] | None = None
        self.place_of: Callable[[str, str], str | None] = _nowhere
        self.outputs: dict[str, Any] = {}
        self.started_at: int | None = None
        self.finished_at: int | None = None
        self.told: set[str] = set()
        self._jobs: dict[str, tuple[NodeView, int]] = {}

    @property
    def was_interrupted(self) -> bool:
        """Whether the run was ended from outside, once it is over."""
        return self.finished_at is None or self.error == CANCELLED

    def elapsed(self, now: int) -> int:
        """Return the milliseconds from the start to the end, or to now while it runs."""
        if self.started_at is None:
            return 0
        return max(0, (now if self.finished_at is None else self.finished_at) - self.started_at)

    def count(self, *phases: NodePhase) -> int:
        """Return how many nodes are in one of these phases."""
        return sum(node.phase in phases for node in self.nodes.values())

    def nested(self) -> list[NodeView]:
        """Return the nodes with those inside a node right behind it, else in the order in which they became known."""
        order = {key: number for number, key in enumerate(self.nodes)}
        ranks = {key: [order.get(key[:length], -1) for length in range(1, len(key) + 1)] for key in self.nodes}
        return [self.nodes[key] for key in sorted(self.nodes, key=ranks.__getitem__)]

    def apply(self, event: report.ReportEvent) -> tuple[Entry, ...]:
        """Take an event.

        Returns:
            What is worth telling about it, in order; often nothing.
        """
        match event:
            case report.SessionStarted() | report.SessionFinished():
                self._take_session(event)
            case report.FlowNodesWillRun():
                self._take_plan(event)
            case report.BlockStarted() | report.SubflowBlockStarted() | report.SlotflowStarted():
                return self._take_start(event)
            case report.BlockFinishedEvent() | report.SubflowBlockFinished() | report.SlotflowFinished():
                return self._take_end(event)
            case report.BlockProgressEvent():
                self._take_progress(event)
            case report.BlockOutputEvent() | report.SubflowBlockOutput() | report.SlotflowOutput():
                self._take_output(event)
            case report.BlockOutputsEvent():
                self._node(event.stacks, event.block_path).outputs.update(event.outputs)
            case _:
                return self._take_words(event)
        return ()

    # -- session and flow ---------------------------------------------------------------------------------------

    def _take_session(self, event: report.SessionStarted | report.SessionFinished) -> None:
        if isinstance(event, report.SessionStarted):
            self.path, self.started_at = event.path, event.create_at
            return
        if isinstance(event.job_id, str):
            return
        self.finished_at = event.finish_at
        self.error = event.error if isinstance(event.error, str) else None
        if isinstance(event.error_info, report.ErrorInfo):
            self.cause = event.error_info.message
            stack = event.error_info.stack or ()
            self.failed_node = "/".join(frame.node_id for frame in stack)
            self.failed_at = (stack[-1].flow, stack[-1].node_id) if stack else None
        for node in self.nodes.values():
            node.close(event.finish_at)

    def _take_plan(self, event: report.FlowNodesWillRun) -> None:
        for node_id in dict.fromkeys((*event.start_nodes, *event.mid_nodes, *event.end_nodes)):
            self._named((*(frame.node_id for frame in event.stacks), node_id))

    # -- jobs ---------------------------------------------------------------------------------------------------

    def _take_start(self, event: report.BlockStarted | _Started) -> tuple[Entry, ...]:
        if not event.stacks and not isinstance(event, report.BlockStarted):
            return ()
        node = self._node(event.stacks, event.block_path)
        if event.job_id in self._jobs:
            return ()
        self._jobs[event.job_id] = (node, event.create_at)
        node.begin(event.create_at)
        return (Entry(EntryKind.STARTED, node.name),) if node.started == 1 else ()

    def _take_end(self, event: report.BlockFinishedEvent | _Finished) -> tuple[Entry, ...]:
        node, began = self._jobs.pop(event.job_id, (None, 0))
        if node is None:
            return ()
        error = event.error if isinstance(event.error, str) else None
        if isinstance(event, report.BlockFinishedEvent) and isinstance(event.result, dict):
            node.outputs.update(event.result)
        node.end(event.finish_at, failed=error is not None)
        took = clock(event.finish_at - began)
        if error is not None:
            self.told.add(error)
            return (_failure(node, took, error),)
        return (Entry(EntryKind.FINISHED, node.name, (_ending(node, took),)),) if _is_told(node.finished) else ()

    def _take_progress(self, event: report.BlockProgressEvent) -> None:
        """Note progress; that of a root subflow, which is no node, is not shown."""
        if event.stacks or event.job_id in self._jobs:
            self._node(event.stacks, event.block_path).progress = min(100.0, max(0.0, event.progress))

    def _take_output(self, event: report.BlockOutputEvent | _Output) -> None:
        if event.stacks or isinstance(event, report.BlockOutputEvent):
            self._node(event.stacks, event.block_path).outputs[event.handle] = event.output
        else:
            self.outputs[event.handle] = event.output

    # -- words --------------------------------------------------------------------------------------------------

    def _take_words(self, event: report.ReportEvent) -> tuple[Entry, ...]:
        match event:
            case report.BlockPreview():
                return (self._preview(event),)
            case report.BlockMessage():
                node = self._node(event.stacks, event.block_path)
                return (Entry(EntryKind.MESSAGE, node.name, (brief(event.payload, 200),)),)
            case report.BlockLog() | report.BlockLogJSON() | report.BlockWarning() | report.BlockErrorEvent():
                return (self._said(event),)
            case _:
                return ()

    def _preview(self, event: report.BlockPreview) -> Entry:
        node = self._node(event.stacks, event.block_path)
        text = describe(_decoded(event.payload))
        return Entry(EntryKind.PREVIEW, node.name, (text.title, *text.lines), text.table)

    def _said(self, event: _Said) -> Entry:
        node = self._node(event.stacks, event.block_path)
        match event:
            case report.BlockWarning():
                node.warnings += 1
                self.warnings += 1
                return Entry(EntryKind.WARNING, node.name, _split(event.warning))
            case report.BlockErrorEvent():
                return Entry(EntryKind.ERROR, node.name, _split(event.error))
            case report.BlockLogJSON():
                return Entry(EntryKind.LOG, node.name, (brief(event.json, 200),))
            case _:
                lines = _split(event.log)
                node.last_line = lines[-1]
                return Entry(EntryKind.LOG, node.name, lines, stream=_stream(event))

    # -- nodes --------------------------------------------------------------------------------------------------

    def _node(self, stacks: Sequence[StackFrame], block_path: Any) -> NodeView:
        if stacks:
            return self._named(tuple(frame.node_id for frame in stacks))
        node = self._named(())
        if not node.name:
            node.name = PurePath(block_path).parent.name if isinstance(block_path, str) else PurePath(self.path).stem
        return node

    def _named(self, key: tuple[str, ...]) -> NodeView:
        node = self.nodes.get(key)
        if node is None:
            name = "/".join(printable(part) for part in key)
            node = self.nodes[key] = NodeView(name, max(0, len(key) - 1), session_over=self.finished_at is not None)
        return node


def _is_told(finished: int) -> bool:
    return finished <= _RUNS_TOLD or (finished % 10 == 0 and str(finished).strip("0") == "1")


def _failure(node: NodeView, took: str, error: str) -> Entry:
    lines = tuple(printable(line) for line in error.rstrip().splitlines()) or ("no reason was given",)
    return Entry(EntryKind.FAILED, node.name, (f"after {took}", *lines))


def _ending(node: NodeView, took: str) -> str:
    count = f", run {node.finished}" if node.finished > 1 else ""
    result = node.result()
    return f"in {took}{count}" + (f": {result}" if result else "")


def _split(text: str) -> tuple[str, ...]:
    return tuple(printable(line) for line in text.rstrip("\n").split("\n"))


def _stream(event: report.BlockLog) -> str:
    return "stderr" if event.stdio == "stderr" or isinstance(event.stderr, str) else "stdout"


def _decoded(raw: Raw) -> Any:
    return msgspec.json.decode(raw)


def _nowhere(flow: str, node_id: str) -> None:
    """Know no place."""
