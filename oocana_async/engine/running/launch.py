"""Starts the target of a session: a flow, whole or in part, or a task that is run directly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Raw

from oocana_async.engine.directories import workspace_scope
from oocana_async.engine.flow.flow_state import FlowState
from oocana_async.engine.flow.plan import TaskWire
from oocana_async.engine.graph.graph import Graph
from oocana_async.engine.graph.upstream import Selection, select_upstream
from oocana_async.engine.manifests.blocks import SearchContext, TaskBlock
from oocana_async.engine.running.jobs import FlowRun, Job, RootTask
from oocana_async.engine.running.starting import Starter
from oocana_async.wire.messages.shared import RawMap

__all__ = ["start_flow", "start_task"]


def start_task(starter: Starter, task: TaskBlock, path: Path, inputs: RawMap | None, search: SearchContext) -> None:
    """Run a task directly.

    Args:
        starter: starts it.
        task: the target.
        path: its file as resolved.
        inputs: encoded inputs, defaults filled in.
        search: for the references in its requests.
    """
    runner = starter.runner
    job = Job(runner.new_job_id(), None, [], inputs=inputs)
    root = RootTask(job.job_id, str(path), search, workspace_scope(task))
    runner.take_root_task(job, root)
    starter.run_task(job, TaskWire(task, task.inputs_def, task.outputs_def), root.scope)


def start_flow(
    starter: Starter,
    graph: Graph,
    inputs: RawMap | None,
    *,
    nodes: Sequence[str] | None = None,
    cached: Mapping[str, Mapping[str, Raw]] | None = None,
    keep_latest: bool = False,
) -> None:
    """Run a flow or subflow.

    Args:
        starter: has the plan of the graph.
        graph: the target.
        inputs: encoded inputs, defaults filled in.
        nodes: run only these and what they need.
        cached: node id -> handle -> value of an earlier run.
        keep_latest: whether to note the last input values.
    """
    runner, plan = starter.runner, starter.plan(graph)
    preloaded = {node_id: dict(values) for node_id, values in (cached or {}).items()}
    selection: Selection | None = None
    if nodes:
        selection = select_upstream(graph, nodes, preloaded)
        for node_id, handle in selection.stale:
            preloaded[node_id].pop(handle, None)
    state = FlowState(plan, runner.new_job_id, preloaded=preloaded, keep_latest=keep_latest)
    if selection is not None:
        state.allow_only(selection.allowed)
    scope = workspace_scope(graph)
    flow = FlowRun(runner.new_job_id(), plan, state, job=None, scope=scope, outer=scope)
    runner.start_root_flow(flow, inputs, selection)
