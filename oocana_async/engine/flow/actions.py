"""What a flow's state asks its runner to do, as immutable records."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import Raw

from oocana_async.engine.flow.plan import NodePlan

__all__ = ["Action", "EmitOutput", "FinishFlow", "ReportProgress", "StartJob"]


class StartJob(msgspec.Struct, frozen=True, gc=False):
    """Run a node once with these inputs; exactly one `on_end` must follow unless the flow ends before."""

    job_id: str
    node: NodePlan
    inputs: dict[str, Raw]


class EmitOutput(msgspec.Struct, frozen=True, gc=False):
    """A value leaves the flow."""

    handle: str
    value: Raw


class ReportProgress(msgspec.Struct, frozen=True, gc=False):
    """The progress of the flow, 0 to 95."""

    progress: float


class FinishFlow(msgspec.Struct, frozen=True, gc=False):
    """The flow is over; nothing follows.

    Attributes:
        node_id: the node that made it fail, empty when it ended well.
        error: the error text of that node's job, None when the flow ended well.
        instant: nothing ever really ran in the flow, so it moves nobody's progress.
    """

    node_id: str = ""
    error: str | None = None
    instant: bool = False


Action: TypeAlias = StartJob | EmitOutput | ReportProgress | FinishFlow
