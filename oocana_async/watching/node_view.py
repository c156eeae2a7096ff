"""The state of one node as people see it: its runs, its progress, its time and what it gave last."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from oocana_async.watching.text import brief, brief_handles

__all__ = ["NodePhase", "NodeView"]


class NodePhase(enum.Enum):
    """Where a node is; the value is what people read."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    """It was running when the run ended."""
    SKIPPED = "not run"
    """It had never been started when the run ended."""


@dataclass(slots=True)
class NodeView:
    """One node over all its runs.

    Attributes:
        name: node ids from the root flow on, joined by `/`; the block's name when a task was run directly.
        depth: 0 for nodes of the root flow.
        started: runs so far.
        running: runs that have not ended.
        progress: 0 to 100 of the run that reported last, None when none did.
        first_start: milliseconds since the epoch, None before the first run.
        last_end: the same for the latest end.
        outputs: last value per handle, still encoded.
        last_line: last line of its log.
    """

    name: str
    depth: int = 0
    started: int = 0
    running: int = 0
    failed: int = 0
    warnings: int = 0
    progress: float | None = None
    first_start: int | None = None
    last_end: int | None = None
    session_over: bool = False
    outputs: dict[str, Any] = field(default_factory=dict)
    last_line: str = ""

    @property
    def phase(self) -> NodePhase:
        """Where the node is now."""
        if self.failed:
            return NodePhase.FAILED
        if self.running:
            return NodePhase.STOPPED if self.session_over else NodePhase.RUNNING
        if self.started:
            return NodePhase.FINISHED
        return NodePhase.SKIPPED if self.session_over else NodePhase.WAITING

    @property
    def finished(self) -> int:
        """Runs that have ended."""
        return self.started - self.running

    def begin(self, at: int) -> None:
        """Note the start of a run."""
        self.started += 1
        self.running += 1
        self.progress = None
        if self.first_start is None:
            self.first_start = at

    def end(self, at: int, *, failed: bool) -> None:
        """Note the end of a run."""
        self.running -= 1
        self.failed += failed
        self.last_end = at
        if not failed and self.progress is not None:
            self.progress = 100.0

    def close(self, at: int) -> None:
        """Note the end of the session; runs that have not ended never will."""
        self.session_over = True
        if self.running:
            self.last_end = at

    def elapsed(self, now: int) -> int | None:
        """Return the milliseconds from the first start to the latest end, or to now while it runs."""
        if self.first_start is None:
            return None
        end = now if self.last_end is None or (self.running and not self.session_over) else self.last_end
        return max(0, end - self.first_start)

    def result(self) -> str:
        """Return the last value of each handle as one short line."""
        return brief_handles({handle: brief(value, 40) for handle, value in self.outputs.items()})
