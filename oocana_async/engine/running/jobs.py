"""What the runner knows about a running job and about a running flow."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Raw

from oocana_async.engine.flow.flow_state import FlowState
from oocana_async.engine.flow.plan import FlowPlan, TaskWire
from oocana_async.engine.hosts.scopes import RunScope
from oocana_async.engine.manifests.blocks import SearchContext
from oocana_async.wire.messages.shared import StackFrame

__all__ = ["FlowRun", "Job", "RootTask", "nothing"]


def nothing() -> None:
    """Do nothing: there is nothing to withdraw or to stop."""


class Job:
    """One run of one block.

    Attributes:
        flow: the flow job that it is part of, None for a task that is run directly and its children.
        stacks: from the root flow to this job.
        block_path: for reports, None when the block has no file of its own.
        wire: constant parts of its messages, None for jobs that run inside the engine.
        inputs: until they are sent.
        inputs_sent: whether an executor has got them: the first BlockReady of a job is answered, repeats are not.
        identifier: the executor that runs it.
        cancel_timer: withdraws its time-out.
        stop: ends what runs for it inside the engine.
        inner: the flow job that it runs, for subflows.
        is_child: started by a block with run_block.
    """

    __slots__ = (
        "block_path",
        "cancel_timer",
        "flow",
        "identifier",
        "inner",
        "inputs",
        "inputs_sent",
        "is_child",
        "job_id",
        "stacks",
        "stop",
        "wire",
    )

    def __init__(
        self,
        job_id: str,
        flow: FlowRun | None,
        stacks: list[StackFrame],
        *,
        inputs: dict[str, Raw] | None = None,
        wire: TaskWire | None = None,
        block_path: str | None = None,
        is_child: bool = False,
    ) -> None:
        self.job_id = job_id
        self.flow = flow
        self.stacks = stacks
        self.block_path = block_path
        self.wire = wire
        self.inputs = inputs
        self.inputs_sent = False
        self.identifier: str | None = None
        self.cancel_timer: Callable[[], None] = nothing
        self.stop: Callable[[], object] = nothing
        self.inner: FlowRun | None = None
        self.is_child = is_child


class FlowRun:
    """One flow job.

    Attributes:
        job: the job of the parent flow that it runs for, None for the root flow.
        scope: where its blocks run.
        outer: scope of the flow job around it.
        jobs: what runs in it.
        error_stack: from the root to the block that made it fail.
    """

    __slots__ = ("error_stack", "is_over", "job", "job_id", "jobs", "outer", "plan", "scope", "stacks", "state")

    def __init__(
        self,
        job_id: str,
        plan: FlowPlan,
        state: FlowState,
        *,
        job: Job | None,
        scope: RunScope,
        outer: RunScope,
    ) -> None:
        self.job_id = job_id
        self.plan = plan
        self.state = state
        self.job = job
        self.stacks: list[StackFrame] = job.stacks if job is not None else []
        self.scope = scope
        self.outer = outer
        self.jobs: dict[str, Job] = {}
        self.error_stack: list[StackFrame] = []
        self.is_over = False


class RootTask(msgspec.Struct, frozen=True):
    """Stands in for the flow when a task is run directly: what its children need.

    Attributes:
        job_id: the task's job.
        path: its file.
        search: for the references in its requests.
        scope: where its children run.
    """

    job_id: str
    path: str
    search: SearchContext
    scope: RunScope
