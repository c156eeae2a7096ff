"""The state of one flow job: takes what happened, returns what to do; no I/O, no clock (flow-format.md 5, 9).

Duties of whoever uses it: start it once; tell it every value, progress and end of the jobs that it asked for; carry
out the actions that it returns in their order and before those of later calls; and stop the jobs that still run when
an action says that the flow is over, or after `drop`. `SessionRunner` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Raw

from oocana_async.engine.flow.actions import Action, EmitOutput, FinishFlow, ReportProgress, StartJob
from oocana_async.engine.flow.node_state import NodeState
from oocana_async.engine.flow.plan import FlowPlan
from oocana_async.engine.flow.progress import FlowProgress
from oocana_async.engine.graph.graph import FlowTarget, Target
from oocana_async.errors import StateError
from oocana_async.wire.messages.shared import OutputTarget

__all__ = ["FlowState"]

# Values stay encoded on their way through the engine: each consumer decodes a copy of its own, so that blocks share no
# objects here that they would not share on the real engine.
_Values = Mapping[str, Raw]


class FlowState:
    """Queues, running jobs and progress of one run of a flow, subflow or slotflow.

    Each call returns the actions that follow from it, in order. The cost of a call does not depend on the size of the
    flow. Messages for jobs that are not running here are ignored, as is everything after the flow's end.

    Args:
        plan: the flow.
        new_job_id: makes job ids.
        preloaded: node id -> handle -> value that waits there from the start.
        keep_latest: whether to keep the last value of each node input, for the cache.

    Attributes:
        running: jobs of this flow; the value is None for children that a block started.
        latest: node id -> handle -> last value that was delivered, when `keep_latest`.
    """

    __slots__ = (
        "_allowed",
        "_is_over",
        "_is_started",
        "_new_job_id",
        "_nodes",
        "_progress",
        "_worked",
        "latest",
        "plan",
        "running",
    )

    def __init__(
        self,
        plan: FlowPlan,
        new_job_id: Callable[[], str],
        *,
        preloaded: Mapping[str, _Values] | None = None,
        keep_latest: bool = False,
    ) -> None:
        self.plan = plan
        self.running: dict[str, NodeState | None] = {}
        self.latest: dict[str, dict[str, Raw]] | None = {} if keep_latest else None
        self._new_job_id = new_job_id
        self._allowed: frozenset[str] | None = None
        self._nodes: dict[str, NodeState] = {}
        self._progress = FlowProgress(plan)
        self._is_started = False
        self._is_over = False
        self._worked = False
        self._preload(preloaded or {})

    def _preload(self, preloaded: Mapping[str, _Values]) -> None:
        for node_id, values in preloaded.items():
            if node_id in self.plan.nodes:
                for handle, value in values.items():
                    self._node(node_id).push(handle, value)
                if self.latest is not None:
                    self.latest[node_id] = dict(values)

    @property
    def is_over(self) -> bool:
        """True after the flow has ended."""
        return self._is_over

    def satisfied(self) -> list[str]:
        """Return the nodes that could run now, allowed or not, in file order."""
        if not self._nodes:
            return [plan.node_id for plan in self.plan.start]
        return [node_id for node_id in self.plan.nodes if self._node(node_id).is_satisfied]

    def allow_only(self, node_ids: frozenset[str]) -> None:
        """Let only these nodes run; values for others are dropped, or remembered for the cache."""
        self._allowed = node_ids

    def start(self, inputs: _Values) -> list[Action]:
        """Start every satisfied node once, then deliver the flow's inputs.

        Raises:
            StateError: The flow has been started before.
        """
        if self._is_started:
            raise StateError(f"the flow {self.plan.path} is started; a flow job starts once")
        self._is_started = True
        out: list[Action] = []
        for node_id in self.satisfied():
            if self._allowed is None or node_id in self._allowed:
                self._start_run(self._node(node_id), out)
        for handle, value in inputs.items():
            self._deliver(self.plan.graph.input_targets.get(handle, ()), value, out)
        self._check_end(out)
        return out

    def on_output(self, job_id: str, handle: str, value: Raw, target: OutputTarget | None = None) -> list[Action]:
        """Deliver one value of a running job; `target` selects connections of the handle."""
        out: list[Action] = []
        node = self.running.get(job_id)
        if node is not None:
            targets = self.plan.graph.targets.get((node.plan.node_id, handle))
            if targets:
                self._deliver(targets if target is None else _select(targets, target), value, out)
        return out

    def on_outputs(self, job_id: str, values: _Values) -> list[Action]:
        """Deliver values on several handles of a running job."""
        out: list[Action] = []
        node = self.running.get(job_id)
        if node is not None:
            self._deliver_all(node, values, out)
        return out

    def on_end(
        self, job_id: str, result: _Values | None = None, error: str | None = None, *, instant: bool = False
    ) -> list[Action]:
        """End a job: start a run that waited for it, deliver its result; a failing node ends the flow.

        Args:
            job_id: the job.
            result: last outputs.
            error: the error text of a failed job.
            instant: the job was never really run (too deep, an unfilled slot, nothing to do): it moves no progress.
        """
        if job_id not in self.running:
            return []
        node = self.running[job_id]
        if node is not None and error is not None:
            return self._fail(node, error)
        out: list[Action] = []
        if node is not None:
            # Instant jobs, too: the reference keeps their run for ever, and such a node never runs again; not copied.
            self._release(node, out)  # before its result is delivered, as the reference does (flow-format.md 5.4)
            if not instant:
                self._worked = True
                self._send(self._progress.finish(node.plan.node_id), out)
            if result:
                self._deliver_all(node, result, out)
        del self.running[job_id]
        self._check_end(out)
        return out

    def on_progress(self, job_id: str, progress: float) -> list[Action]:
        """Take the progress of a running job, 0 to 100."""
        out: list[Action] = []
        node = self.running.get(job_id)
        if node is not None:
            self._send(self._progress.report(node.plan.node_id, progress), out)
        return out

    def set_weight(self, node_id: str, weight: float) -> list[Action]:
        """Change the progress weight of a node; unknown nodes are ignored."""
        out: list[Action] = []
        if not self._is_over:
            self._send(self._progress.set_weight(node_id, weight), out)
        return out

    def add_child(self, job_id: str) -> None:
        """Register a job that a block started: its values go nowhere here, but the flow does not end before it."""
        if not self._is_over:
            self.running[job_id] = None

    def drop(self) -> None:
        """End the flow from outside; nothing follows."""
        self._is_over = True
        self.running.clear()

    def _node(self, node_id: str) -> NodeState:
        node = self._nodes.get(node_id)
        if node is None:
            node = self._nodes[node_id] = NodeState(self.plan.nodes[node_id])
        return node

    def _start_run(self, node: NodeState, out: list[Action]) -> None:
        node.active += 1
        job_id = self._new_job_id()
        self.running[job_id] = node
        out.append(StartJob(job_id, node.plan, node.take()))

    def _release(self, node: NodeState, out: list[Action]) -> None:
        node.active -= 1
        if node.pending and node.has_room:
            node.pending -= 1
            self._start_run(node, out)

    def _deliver_all(self, node: NodeState, values: _Values, out: list[Action]) -> None:
        targets, node_id = self.plan.graph.targets, node.plan.node_id
        for handle, value in values.items():
            found = targets.get((node_id, handle))
            if found:
                self._deliver(found, value, out)

    def _deliver(self, targets: tuple[Target, ...], value: Raw, out: list[Action]) -> None:
        for target in targets:
            if isinstance(target, FlowTarget):
                out.append(EmitOutput(target.output_handle, value))
            else:
                self._feed(target.node_id, target.input_handle, value, out)

    def _feed(self, node_id: str, handle: str, value: Raw, out: list[Action]) -> None:
        if self.latest is not None:
            self.latest.setdefault(node_id, {})[handle] = value
        node = self._nodes.get(node_id) or self._node(node_id)
        if not node.plan.can_start or (self._allowed is not None and node_id not in self._allowed):
            return
        grew = node.push(handle, value)
        # One value starts at most one run, also when it completes several sets at once (flow-format.md 5.3).
        if node.is_satisfied:
            if node.has_room:  # then it runs although this value completed no set: one that was left waits there
                self._start_run(node, out)
            elif grew:
                node.pending += 1

    def _send(self, progress: float | None, out: list[Action]) -> None:
        if progress is not None:
            out.append(ReportProgress(progress))

    def _fail(self, node: NodeState, error: str) -> list[Action]:
        # The reference still starts a run that waits at the failed node and drops it with the rest; a BlockStarted
        # without an end helps nobody, so that is not copied (flow-format.md 5.8).
        self.drop()
        return [FinishFlow(node.plan.node_id, error)]

    def _check_end(self, out: list[Action]) -> None:
        # Only jobs count: nodes that never ran and values that are left over are no error (flow-format.md 5.4, 5.8).
        if not self.running and not self._is_over:
            self._is_over = True
            out.append(FinishFlow(instant=not self._worked))


def _select(targets: tuple[Target, ...], chosen: OutputTarget) -> tuple[Target, ...]:
    """Return the connections that an output takes (flow-format.md 5.7)."""
    # A list that is missing means none of that kind, not all of them.
    nodes = {(item.node_id, item.input_handle) for item in chosen.to_node or ()}
    flows = {item.output_handle for item in chosen.to_flow or ()}
    return tuple(
        item
        for item in targets
        if (item.output_handle in flows if isinstance(item, FlowTarget) else (item.node_id, item.input_handle) in nodes)
    )
