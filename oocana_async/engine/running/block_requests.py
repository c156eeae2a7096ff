"""Answers what running blocks ask the engine (flow-format.md 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from oocana_async.engine.flow.plan import TaskWire
from oocana_async.engine.graph.graph import FlowTarget, Graph, NodeTarget, Target
from oocana_async.engine.hosts.scopes import RunScope
from oocana_async.engine.manifests.blocks import SearchContext, TaskBlock
from oocana_async.engine.manifests.lookup import parse_reference
from oocana_async.engine.running.child_start import Child, Refused, prepare_child
from oocana_async.engine.running.jobs import FlowRun, Job
from oocana_async.engine.running.outside.vault import VaultError, query_vault
from oocana_async.engine.running.runner import SessionRunner
from oocana_async.engine.running.starting import MAX_DEPTH, Starter
from oocana_async.engine.target import resolve_block
from oocana_async.errors import LoadError
from oocana_async.wire import topics
from oocana_async.wire.messages import encode_message, session
from oocana_async.wire.messages.dispatch import RequestResponse
from oocana_async.wire.messages.shared import NULL, StackFrame

__all__ = ["Requests"]


class Requests:
    """Handles BlockRequest messages.

    Args:
        runner: keeps the books.
        starter: starts child blocks.

    Attributes:
        handlers: type of request -> handler of asking job and request.
    """

    def __init__(self, runner: SessionRunner, starter: Starter) -> None:
        self._runner = runner
        self._starter = starter
        self._resolved: dict[tuple[Path, str], TaskBlock | Graph] = {}
        self.handlers: Mapping[type[Any], Callable[[Job, Any], None]] = {
            session.RunBlock: self._run_block,
            session.QueryBlock: self._query_block,
            session.QueryDownstream: self._query_downstream,
            session.Preview: self._preview,
            session.QueryAuth: self._query_auth,
            session.UpdateNodeWeight: self._update_weight,
        }

    def _answer(self, request: session.Request, result: Any = None, error: str | None = None) -> None:
        answer = RequestResponse(
            session_id=request.session_id,
            job_id=request.job_id,
            request_id=request.request_id,
            result=NULL if result is None else Raw(msgspec.json.encode(result)),
            error=error,
        )
        self._runner.publish(topics.response(request.session_id, request.request_id), encode_message(answer))

    def _resolve(self, job: Job, block: str) -> TaskBlock | Graph:
        """Load a block once per session; the flow's directory counts, whatever package the asking block lives in."""
        where: Graph | SearchContext
        if job.flow is not None:
            where, base = job.flow.plan.graph, job.flow.plan.graph.directory
        else:
            assert self._runner.root_task is not None
            where, base = self._runner.root_task.search, self._runner.root_task.search.base
        found = self._resolved.get((base, block))
        if found is None:
            found = self._resolved[base, block] = resolve_block(block, where)
        return found

    def _run_block(self, job: Job, request: session.RunBlock) -> None:
        try:
            block, child = self._prepare(job, request)
        except Refused as reason:
            self._answer(request, error=f"Run block failed: {reason}. Block: {request.block}")
            return
        flow_job_id, path, scope = self._around(job)
        frame = StackFrame(flow_job_id, path, f"run_block::{request.block}")
        new = Job(request.block_job_id, job.flow, [*request.stacks, frame], inputs=child.inputs, is_child=True)
        if job.flow is not None:
            job.flow.state.add_child(new.job_id)
        self._start(new, block, child, _child_scope(request.block, block, scope), scope)

    def _prepare(self, job: Job, request: session.RunBlock) -> tuple[TaskBlock | Graph, Child]:
        if request.block_job_id in self._runner.jobs:
            raise Refused(f"the job id {request.block_job_id} is in use, expected a new one")
        try:
            block = self._resolve(job, request.block)
        except LoadError as error:
            raise Refused(f"Failed to read block or subflow: {request.block}") from error
        return block, prepare_child(block, request)

    def _start(self, job: Job, block: TaskBlock | Graph, child: Child, scope: RunScope, outer: RunScope) -> None:
        runner = self._runner
        if len(job.stacks) >= MAX_DEPTH:
            runner.register(job)
            runner.finish(job, error=f"Maximum recursion depth exceeded: {len(job.stacks)} (limit: {MAX_DEPTH})")
        elif isinstance(block, TaskBlock):
            self._starter.run_task(job, TaskWire(block, child.inputs_def, child.outputs_def), scope)
        else:
            self._starter.run_flow(job, block, scope, outer)

    def _around(self, job: Job) -> tuple[str, str, RunScope]:
        """Return job id and path of what is around a job, and its scope."""
        if job.flow is not None:
            return job.flow.job_id, job.flow.plan.path, job.flow.scope
        assert self._runner.root_task is not None
        return self._runner.root_task.job_id, self._runner.root_task.path, self._runner.root_task.scope

    def _query_block(self, job: Job, request: session.QueryBlock) -> None:
        try:
            block = self._resolve(job, request.block)
        except LoadError:
            self._answer(request, error=f"Failed to find {request.block} for block or subflow")
            return
        described = {
            "description": block.description,
            "inputs_def": block.inputs_def,
            "outputs_def": block.outputs_def,
        }
        result: dict[str, Any] = {key: value for key, value in described.items() if value is not None}
        if isinstance(block, TaskBlock):
            result |= {
                "type": "task",
                "additional_inputs": block.additional_inputs,
                "additional_outputs": block.additional_outputs,
            }
        else:
            result |= {"type": "subflow", "has_slot": block.has_slot}
        self._answer(request, result)

    def _query_downstream(self, job: Job, request: session.QueryDownstream) -> None:
        wanted = request.outputs if request.outputs is not None else request.handles
        found: dict[str, dict[str, list[dict[str, Any]]]] = {}
        if job.flow is not None and (wanted is None or wanted):
            # A child's last frame, `run_block::...`, names no node of the graph, so nothing is connected to it.
            found = _downstream(job.flow, job.stacks[-1].node_id, wanted)
        self._answer(request, found)

    def _preview(self, job: Job, request: session.Preview) -> None:
        self._runner.report.preview(job, request.payload)
        flow = job.flow
        if flow is None or flow.plan.graph.kind == "flow":
            return
        node_id = job.stacks[-1].node_id
        if node_id in flow.plan.graph.forward_previews:
            self._runner.report.forwarded_preview(flow, node_id, request.payload)

    def _update_weight(self, job: Job, request: session.UpdateNodeWeight) -> None:
        if job.flow is not None:
            self._runner.act(job.flow, job.flow.state.set_weight(request.node_id, request.weight))
        self._answer(request)

    def _query_auth(self, job: Job, request: session.QueryAuth) -> None:
        async def ask() -> None:
            try:
                self._answer(request, await query_vault(msgspec.json.decode(request.payload)))
            except VaultError as error:
                self._answer(request, error=str(error))

        self._runner.tasks.start_soon(f"credential for {job.job_id}", ask)


def _child_scope(reference: str, block: TaskBlock | Graph, scope: RunScope) -> RunScope:
    """A block that was named with its package keeps the package's scope (protocol.md 2.1)."""
    package = parse_reference(reference).package
    return RunScope(block.package_path, package) if package else scope


def _downstream(flow: FlowRun, node_id: str, wanted: list[str] | None) -> dict[str, dict[str, list[dict[str, Any]]]]:
    graph = flow.plan.graph
    handles = wanted if wanted is not None else flow.plan.connected_outputs(node_id)
    found = {}
    for handle in handles:
        targets = graph.targets.get((node_id, handle), ())
        if targets:
            found[handle] = _describe(graph, targets)
    return found


def _describe(graph: Graph, targets: tuple[Target, ...]) -> dict[str, list[dict[str, Any]]]:
    flows = [_flow_target(graph, target) for target in targets if isinstance(target, FlowTarget)]
    nodes = [_node_target(graph, target) for target in targets if isinstance(target, NodeTarget)]
    return {key: found for key, found in (("to_flow", flows), ("to_node", nodes)) if found}


def _flow_target(graph: Graph, target: FlowTarget) -> dict[str, Any]:
    definition = (graph.outputs_def or {}).get(target.output_handle)
    entry: dict[str, Any] = {"output_handle": target.output_handle}
    return entry if definition is None else {**entry, "output_handle_def": definition}


def _node_target(graph: Graph, target: NodeTarget) -> dict[str, Any]:
    node = graph.nodes[target.node_id]
    definition = (node.inputs_def or {}).get(target.input_handle)
    entry: dict[str, Any] = {"node_id": target.node_id, "input_handle": target.input_handle}
    if node.description is not None:
        entry["description"] = node.description
    return entry if definition is None else {**entry, "input_handle_def": definition}
