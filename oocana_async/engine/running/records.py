"""What a run leaves for its caller: status, outputs and runs of blocks, bounded in memory."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from oocana_async.engine.running.jobs import Job
from oocana_async.errors import FlowError
from oocana_async.wire.messages.shared import StackFrame

__all__ = ["BlockRun", "RunRecord", "RunResult", "Status"]


class Status(enum.StrEnum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class BlockRun:
    """One run of one block.

    Attributes:
        job_id: its job id.
        node_ids: the nodes from the root flow down to this one; empty for a task that was run directly.
        block_path: the block's file, None when it has none.
        started_at: milliseconds since the epoch.
        finished_at: milliseconds since the epoch; None when its flow ended before it did.
        error: the error text, None when it ended well or not at all.
    """

    job_id: str
    node_ids: tuple[str, ...]
    block_path: str | None
    started_at: int
    finished_at: int | None = None
    error: str | None = None

    @property
    def duration(self) -> float | None:
        """Seconds from start to end, None when it never ended."""
        return None if self.finished_at is None else (self.finished_at - self.started_at) / 1000


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run of a flow, subflow or task ended.

    Attributes:
        status: "succeeded", "failed" or "cancelled".
        session_id: the session.
        path: the manifest as resolved.
        outputs: output handle of the flow (or of the task that was run directly) -> its values in order, decoded;
            the last ones when there were more than `keep` of `open_session` allows.
        output_counts: output handle -> how many values there were in all.
        runs: runs of blocks in the order of their starts; the last ones, as for `outputs`.
        run_count: how many runs there were in all.
        error: the error text of the session, None when it succeeded.
        cause: the error text of the block that failed, when a block did.
        stack: frames `{flow_job_id, flow, node_id}` from the root flow to that block.
        started_at: milliseconds since the epoch.
        finished_at: milliseconds since the epoch.
    """

    status: Status
    session_id: str
    path: Path
    outputs: Mapping[str, list[Any]] = field(default_factory=dict)
    output_counts: Mapping[str, int] = field(default_factory=dict)
    runs: tuple[BlockRun, ...] = ()
    run_count: int = 0
    error: str | None = None
    cause: str | None = None
    stack: tuple[StackFrame, ...] = ()
    started_at: int = 0
    finished_at: int = 0

    def output(self, handle: str) -> Any:
        """Return the last value of an output handle.

        Raises:
            KeyError: It never had one.
        """
        values = self.outputs.get(handle)
        if not values:
            raise KeyError(f"no value left {self.path} on the handle {handle}")
        return values[-1]

    def raise_for_status(self) -> RunResult:
        """Return the result itself when the run succeeded.

        Raises:
            FlowError: The run failed or was cancelled.
        """
        if self.status is Status.SUCCEEDED:
            return self
        stack = [{"flow_job_id": f.flow_job_id, "flow": f.flow, "node_id": f.node_id} for f in self.stack]
        cause = f" {self.cause}" if self.cause and self.cause != self.error else ""
        raise FlowError(f"{self.error}{cause}", stack=stack)


class RunRecord:
    """Collects what the result will hold while a run goes on.

    Args:
        keep: most values per output handle, and most runs, that are kept; older ones are only counted.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        # Bound: `keep` each, the oldest is dropped; read once, by `result`.
        self._outputs: dict[str, deque[Raw]] = {}
        self._runs: deque[BlockRun] = deque(maxlen=keep)
        self._open: dict[str, BlockRun] = {}
        self.output_counts: dict[str, int] = {}
        self.run_count = 0

    def started(self, job: Job, at: int) -> None:
        """Note the start of a job."""
        run = BlockRun(job.job_id, tuple([frame.node_id for frame in job.stacks]), job.block_path, at)
        self._runs.append(run)
        self._open[job.job_id] = run
        self.run_count += 1

    def ended(self, job_id: str, at: int | None, error: str | None) -> None:
        """Note the end of a job; `at` is None when it was dropped."""
        run = self._open.pop(job_id, None)
        if run is not None:
            run.finished_at, run.error = at, error

    def output(self, handle: str, value: Raw) -> None:
        """Note a value that left the target."""
        values = self._outputs.get(handle)
        if values is None:
            values = self._outputs[handle] = deque(maxlen=self._keep)
        values.append(value)
        self.output_counts[handle] = self.output_counts.get(handle, 0) + 1

    @property
    def outputs(self) -> dict[str, list[Any]]:
        """The values that are kept, decoded."""
        return {h: [msgspec.json.decode(value) for value in values] for h, values in self._outputs.items()}

    @property
    def runs(self) -> tuple[BlockRun, ...]:
        """The runs that are kept."""
        return tuple(self._runs)
