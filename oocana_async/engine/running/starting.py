"""Starts jobs: tasks at executors, subflows, slots, services, conditions, shell commands (flow-format.md 4, 5)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from oocana_async.engine.checks.unsupported import hidden_source, obstacle
from oocana_async.engine.flow.actions import StartJob
from oocana_async.engine.flow.flow_state import FlowState
from oocana_async.engine.flow.plan import FlowPlan, NodePlan, TaskWire
from oocana_async.engine.graph.conditions import evaluate
from oocana_async.engine.graph.graph import Graph, SlotBlock, SubflowBlock
from oocana_async.engine.hosts.scopes import RunScope, ScopeMap
from oocana_async.engine.manifests.blocks import (
    ConditionBlock,
    ConnectorExecutor,
    PythonExecutor,
    ServiceBlock,
    ShellExecutor,
    TaskBlock,
)
from oocana_async.engine.running.jobs import FlowRun, Job
from oocana_async.engine.running.outside.connector import call_connector
from oocana_async.engine.running.outside.shell import ShellJob
from oocana_async.engine.running.runner import SessionRunner
from oocana_async.wire import topics
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.dispatch import BlockPayload, ServiceBlockPayload
from oocana_async.wire.messages.shared import StackFrame

__all__ = ["MAX_DEPTH", "Starter"]

MAX_DEPTH = 50
"""A job with so many levels in its stacks is not run (flow-format.md 5.8)."""


class Starter:
    """Turns the decision that a block is to run into messages, processes and flow jobs.

    Args:
        runner: keeps the books; from now on it starts the runs of nodes here.
        env: variables for shell commands, beside the inherited ones.
    """

    def __init__(self, runner: SessionRunner, *, env: Mapping[str, str]) -> None:
        self.runner = runner
        self._env = env
        self._kinds: dict[type[Any], Callable[[FlowRun, Job, NodePlan], None]] = {
            TaskBlock: self._start_task,
            SubflowBlock: self._start_subflow,
            SlotBlock: self._start_slot,
            ServiceBlock: self._start_service,
            ConditionBlock: self._start_condition,
        }
        runner.connect(self.start_node)

    def plan(self, graph: Graph) -> FlowPlan:
        """Return the plan of a graph."""
        return FlowPlan.of(graph)

    def start_node(self, flow: FlowRun, action: StartJob) -> None:
        """Start the run of a node, unless its flow has dropped it meanwhile."""
        if action.job_id not in flow.state.running:
            return
        node = action.node
        stacks = [*flow.stacks, StackFrame(flow.job_id, flow.plan.path, node.node_id)]
        job = Job(action.job_id, flow, stacks, inputs=action.inputs or None)
        if len(stacks) >= MAX_DEPTH:
            self._refuse(flow, job, f"Maximum recursion depth exceeded: {len(stacks)} (limit: {MAX_DEPTH})")
            return
        self._kinds[type(node.node.block)](flow, job, node)

    def run_task(
        self, job: Job, wire: TaskWire, scope: RunScope, *, own_node: str | None = None, timeout: int | None = None
    ) -> None:
        """Run a task block as a job.

        Args:
            job: the job, not registered yet.
            wire: the task and its definitions.
            scope: where it runs.
            own_node: the node whose own process it runs in.
            timeout: seconds until it is ended.
        """
        runner, block = self.runner, wire.block
        job.wire, job.block_path = wire, wire.block_path
        runner.begin(job)
        if timeout is not None:
            job.cancel_timer = runner.tasks.call_later(timeout, lambda: runner.time_out(job, timeout))
        assert isinstance(block, TaskBlock), "services have a way of their own"
        # The reference skips such nodes in silence when it has no remote service; here they fail, with the reason.
        refusal = hidden_source(block) or obstacle(block, os.environ)
        if refusal is not None:
            runner.finish(job, error=str(refusal))
        elif isinstance(block.executor, PythonExecutor):
            self._dispatch(job, wire, block, scope, own_node)
        elif isinstance(block.executor, ShellExecutor):
            shell = ShellJob(self.runner, job, block, self._env)
            job.stop = runner.tasks.start_soon(f"shell {job.job_id}", shell.run)
        else:
            assert isinstance(block.executor, ConnectorExecutor), "others are refused above"
            action, outputs = block.executor.action, tuple(block.outputs_def or ())
            job.stop = runner.tasks.start_soon(
                f"connector {job.job_id}", lambda: call_connector(runner, job, action, outputs, timeout)
            )

    def run_flow(self, job: Job, graph: Graph, scope: RunScope, outer: RunScope) -> None:
        """Run a graph as a job of another flow."""
        runner = self.runner
        plan = self.plan(graph)
        runner.register(job)
        inputs, job.inputs = job.inputs, None
        job.inner = FlowRun(job.job_id, plan, FlowState(plan, runner.new_job_id), job=job, scope=scope, outer=outer)
        runner.begin_flow(job.inner, inputs)

    def _refuse(self, flow: FlowRun, job: Job, error: str) -> None:
        """Report that a job is not run; its flow carries on."""
        # An unfilled slot and too many levels are no failures in the reference either: the report has the error, and
        # the flow may still succeed (flow-format.md 5.8).
        self.runner.report.block_finished(job, None, error)
        self.runner.act(flow, flow.state.on_end(job.job_id, instant=True))

    def _start_task(self, flow: FlowRun, job: Job, node: NodePlan) -> None:
        scope = node.node.scope
        self.run_task(
            job,
            node.wire,
            ScopeMap.resolve(scope, flow.scope, flow.outer),
            own_node=scope.node_id,
            timeout=node.node.timeout,
        )

    def _start_subflow(self, flow: FlowRun, job: Job, node: NodePlan) -> None:
        block = node.node.block
        assert isinstance(block, SubflowBlock)
        self.run_flow(job, block.graph, ScopeMap.resolve(node.node.scope, flow.scope, flow.outer), flow.scope)

    def _start_slot(self, flow: FlowRun, job: Job, node: NodePlan) -> None:
        slot = node.node.block
        assert isinstance(slot, SlotBlock)
        scope = ScopeMap.resolve(slot.scope, flow.scope, flow.outer)
        if slot.provider is None:
            self._refuse(flow, job, "Cannot run Slot Block directly")
        elif isinstance(slot.provider, SubflowBlock):
            self.run_flow(job, slot.provider.graph, scope, flow.scope)
        else:
            self.run_task(job, node.wire, scope, own_node=slot.scope.node_id, timeout=node.node.timeout)

    def _start_service(self, flow: FlowRun, job: Job, node: NodePlan) -> None:
        runner, wire = self.runner, node.wire
        block = wire.block
        assert isinstance(block, ServiceBlock)
        job.wire = wire
        runner.begin(job)
        job.identifier = runner.executors.identifier(flow.scope)
        payload = ServiceBlockPayload(
            session_id=runner.session_id,
            job_id=job.job_id,
            stacks=job.stacks,
            executor_name="python",
            dir=str(block.directory),
            block_name=block.block_name,
            service_executor=wire.executor,
            service_hash=block.service_hash,
            outputs=wire.outputs_def,
            identifier=job.identifier,
        )
        runner.executors.dispatch(flow.scope, None, job.job_id, topics.run_service_block(), encode_message(payload))

    def _start_condition(self, flow: FlowRun, job: Job, node: NodePlan) -> None:
        self.runner.begin(job)
        result = evaluate(node.node, job.inputs or {})
        self.runner.report.block_finished(job, result, None)
        self.runner.end(job, result, instant=result is None)

    def _dispatch(self, job: Job, wire: TaskWire, block: TaskBlock, scope: RunScope, own_node: str | None) -> None:
        runner = self.runner
        job.identifier = runner.executors.identifier(scope, own_node)
        payload = BlockPayload(
            session_id=runner.session_id,
            executor_name="python",
            job_id=job.job_id,
            stacks=job.stacks,
            dir=str(block.directory),
            executor=wire.executor,
            outputs=wire.outputs_def,
            identifier=job.identifier,
        )
        runner.executors.dispatch(scope, own_node, job.job_id, topics.run_block(), encode_message(payload))
