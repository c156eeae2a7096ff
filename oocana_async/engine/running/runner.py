"""Keeps the books of one session: its jobs and flow jobs, and carries out what flow states ask for.

All decisions about nodes are made by `FlowState`. What a block needs to start is in `starting`, messages of executors
come through `intake`, what blocks ask for is in `block_requests`: these know the runner, it does not know them.

Duties: each job that is registered is ended or dropped exactly once, which withdraws its timer and stops what runs for
it; actions of one flow are carried out in the order in which they were asked for, and none after the flow is over;
the outcome is told once. Nothing here waits, except for the large rest of actions that one message may lead to.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from anyio.lowlevel import checkpoint
from msgspec import Raw

from oocana_async.channel.bus import Bus
from oocana_async.engine.flow.actions import Action, EmitOutput, FinishFlow, ReportProgress, StartJob
from oocana_async.engine.graph.upstream import Selection
from oocana_async.engine.hosts.scopes import ExecutorHost, ScopeMap
from oocana_async.engine.running.executors import Executors
from oocana_async.engine.running.jobs import FlowRun, Job, RootTask
from oocana_async.engine.running.records import RunRecord
from oocana_async.engine.running.report_events import Reporter
from oocana_async.engine.running.tasks import Tasks
from oocana_async.wire import topics
from oocana_async.wire.messages.shared import OutputTarget, RawMap, StackFrame

__all__ = ["SessionOutcome", "SessionRunner", "job_ids"]

_SLICE = 256
"""Actions that are carried out before the loop gets its turn: a wide flow asks for thousands of starts at once, and
slow readers of the report are waited for in between."""


class SessionOutcome(msgspec.Struct, frozen=True):
    """How a session ended: `error` as in SessionFinished, `cause` and `stack` of the block that failed."""

    error: str | None = None
    cause: str | None = None
    stack: list[StackFrame] = []


class SessionRunner:
    """The flow jobs and jobs of one session.

    Args:
        session_id: goes into all topics and messages.
        bus: where executors are reached and events are published.
        host: starts executors.
        scopes: says how.
        tasks: owner of tasks and timers.
        record: what the caller gets to know at the end.
        new_job_id: makes job ids, random UUIDs when None.
        now_ms: milliseconds since the epoch.
    """

    def __init__(
        self,
        session_id: str,
        bus: Bus,
        host: ExecutorHost,
        scopes: ScopeMap,
        tasks: Tasks,
        *,
        record: RunRecord,
        new_job_id: Callable[[], str] | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.session_id = session_id
        self.new_job_id = new_job_id if new_job_id is not None else job_ids()
        self.now_ms = now_ms
        self.record = record
        self.tasks = tasks
        self.outcome: SessionOutcome | None = None
        self.on_outcome: Callable[[SessionOutcome], None] = lambda outcome: None
        self.publish = bus.publish_nowait
        self.report = Reporter(session_id, self.publish, now_ms)
        self.executors = Executors(host, scopes, tasks, publish=self.publish, fail=self.fail_jobs)
        self.jobs: dict[str, Job] = {}
        self.root: FlowRun | None = None
        self.root_task: RootTask | None = None
        self._bus = bus
        self._root_job: Job | None = None
        self._loose: set[str] = set()
        # Lined up, and not carried out where they arise: the start of a condition node or of an empty subflow ends it
        # within the same call, which starts the next one, and a long chain would nest deeper with each.
        # Bound: what one message leads to; drained by `drain`, a slice at a time.
        self._work: deque[tuple[FlowRun, Action]] = deque()
        self._is_draining = False
        self._is_continuing = False
        self._perform: dict[type[Any], Callable[[FlowRun, Any], None]] = {
            EmitOutput: self._emit,
            ReportProgress: self._progress,
            FinishFlow: self._finish_flow,
        }

    def connect(self, start_node: Callable[[FlowRun, StartJob], None]) -> None:
        """Say what starts the runs of nodes; the `Starter` does, when it is made."""
        self._perform[StartJob] = start_node

    def drain(self) -> None:
        """Carry out what flow states asked for; a large rest goes on in a task, slice by slice."""
        if self._is_draining:
            return
        self._is_draining = True
        work, perform = self._work, self._perform
        try:
            for _ in range(_SLICE):
                if not work:
                    return
                flow, action = work.popleft()
                if not flow.is_over:
                    perform[type(action)](flow, action)
        finally:
            self._is_draining = False
        if work and not self._is_continuing:
            self._is_continuing = True
            self.tasks.start_soon(f"actions of {self.session_id}", self._continue)

    async def wait_for_readers(self) -> None:
        """Wait while a report subscriber that wants to be waited for is full."""
        await self._bus.wait_for_room(topics.REPORT)

    async def _continue(self) -> None:
        """Carry out a large rest of actions, slice by slice; slow report subscribers are waited for."""
        try:
            while self._work:
                await self.wait_for_readers()
                await checkpoint()
                self.drain()
        finally:
            self._is_continuing = False

    def act(self, flow: FlowRun, actions: list[Action]) -> None:
        """Line up the actions of a flow."""
        for action in actions:
            self._work.append((flow, action))

    # -- what intake, starter and requests use ----------------------------------------------------------------------

    def register(self, job: Job) -> None:
        """Take a job into the books; its messages are listened to from now on."""
        self.jobs[job.job_id] = job
        if job.flow is not None:
            job.flow.jobs[job.job_id] = job
        else:
            self._loose.add(job.job_id)

    def begin(self, job: Job) -> None:
        """Register a job and report its start."""
        self.register(job)
        self.record.started(job, self.now_ms())
        self.report.block_started(job)

    def begin_flow(self, flow: FlowRun, inputs: RawMap | None, selection: Selection | None = None) -> None:
        """Report the start of a flow job and start what can run in it."""
        self.report.flow_started(flow, inputs)
        if flow.plan.graph.kind == "flow":
            self.report.nodes_will_run(flow, *_nodes_will_run(flow, selection))
        self.act(flow, flow.state.start(inputs or {}))

    def start_root_flow(self, flow: FlowRun, inputs: RawMap | None, selection: Selection | None) -> None:
        """Run the target, a flow."""
        self.root = flow
        self.begin_flow(flow, inputs, selection)

    def take_root_task(self, job: Job, root: RootTask) -> None:
        """Take a task that is about to run as the target; the session ends with it and its children."""
        self._root_job = job
        self.root_task = root

    def end(
        self,
        job: Job,
        result: RawMap | None = None,
        error: str | None = None,
        *,
        stack: list[StackFrame] | None = None,
        instant: bool = False,
    ) -> None:
        """End a job that has been reported as finished; its flow decides what follows."""
        self._remove(job, self.now_ms(), error)
        flow = job.flow
        if flow is None:
            self._end_loose(job, result, error)
            return
        if error is not None and not job.is_child and not flow.state.is_over:
            flow.error_stack = stack or job.stacks
        self.act(flow, flow.state.on_end(job.job_id, result, error, instant=instant))

    def finish(self, job: Job, result: RawMap | None = None, error: str | None = None) -> None:
        """Report a job as finished and end it."""
        self.report.block_finished(job, result, error)
        self.end(job, None if error is not None else result, error)

    def fail_jobs(self, job_ids: list[str], error: str) -> None:
        """End jobs whose executor is gone."""
        for job_id in job_ids:
            job = self.jobs.get(job_id)
            if job is not None:
                self.finish(job, error=error)
        self.drain()

    def time_out(self, job: Job, seconds: int) -> None:
        """End a job whose time is up; the report of it makes the executor cancel the block."""
        # No BlockFinished is reported, as in the reference (flow-format.md 5.8).
        if self.jobs.get(job.job_id) is job:
            self.report.block_error(job, f"{job.job_id} timeout after {seconds}s")
            self.end(job, error="Timeout")
            self.drain()

    def output(self, job: Job, handle: str, value: Raw, target: OutputTarget | None = None) -> None:
        """Report and deliver one value of a block."""
        self.report.block_output(job, handle, value)
        if job.flow is None:
            self._record_output(job, {handle: value})
        else:
            self.act(job.flow, job.flow.state.on_output(job.job_id, handle, value, target))

    def outputs(self, job: Job, values: RawMap) -> None:
        """Report and deliver values on several handles of a block."""
        self.report.block_outputs(job, values)
        if job.flow is None:
            self._record_output(job, values)
        else:
            self.act(job.flow, job.flow.state.on_outputs(job.job_id, values))

    def close(self, outcome: SessionOutcome) -> None:
        """End the session: everything that still runs is dropped."""
        if self.outcome is not None:
            return
        self.outcome = outcome
        if self.root is not None:
            self.root.is_over = True
            self.root.state.drop()
        for job in list(self.jobs.values()):
            self._drop(job)
        self._work.clear()
        self.on_outcome(outcome)

    # -- actions of flow states --------------------------------------------------------------------------------------

    def _emit(self, flow: FlowRun, action: EmitOutput) -> None:
        self.report.flow_output(flow, action.handle, action.value)
        job = flow.job
        if job is None:
            self.record.output(action.handle, action.value)
        elif job.flow is not None:
            self.act(job.flow, job.flow.state.on_output(job.job_id, action.handle, action.value))

    def _progress(self, flow: FlowRun, action: ReportProgress) -> None:
        self.report.flow_progress(flow, action.progress)
        job = flow.job
        if job is not None and job.flow is not None:
            self.act(job.flow, job.flow.state.on_progress(job.job_id, action.progress))

    def _finish_flow(self, flow: FlowRun, action: FinishFlow) -> None:
        flow.is_over = True
        self._drop_jobs(flow)
        # Three texts for one failure, as in the reference (flow-format.md 5.8): the report names the node, the parent
        # flow gets the text of the block, the session names the flow.
        error = None if action.error is None else f"[node id: {action.node_id}] failed"
        self.report.flow_finished(flow, error, flow.error_stack)
        if flow.job is not None:
            self.end(flow.job, error=action.error, stack=flow.error_stack, instant=action.instant)
        elif error is None:
            self.close(SessionOutcome())
        else:
            self.close(SessionOutcome(f"flow {flow.plan.path} failed.", action.error, flow.error_stack))

    # -- books -------------------------------------------------------------------------------------------------------

    def _remove(self, job: Job, at: int | None, error: str | None) -> None:
        self.jobs.pop(job.job_id, None)
        if job.flow is not None:
            job.flow.jobs.pop(job.job_id, None)
        job.cancel_timer()
        job.stop()
        self.executors.forget(job.identifier, job.job_id)
        self.record.ended(job.job_id, at, error)

    def _drop(self, job: Job) -> None:
        """Forget a job without a word; its later messages find nobody."""
        # The protocol has no message that cancels a job: executors learn it from the end of the flow.
        if self.jobs.get(job.job_id) is not job:
            return
        self._remove(job, None, None)
        if job.inner is not None:
            job.inner.is_over = True
            job.inner.state.drop()
            self._drop_jobs(job.inner)

    def _drop_jobs(self, flow: FlowRun) -> None:
        for job in list(flow.jobs.values()):
            self._drop(job)

    def _record_output(self, job: Job, values: RawMap) -> None:
        if job is self._root_job:
            for handle, value in values.items():
                self.record.output(handle, value)

    def _end_loose(self, job: Job, result: RawMap | None, error: str | None) -> None:
        """End a task that was run directly, or a child of it; the session ends with the last of them."""
        self._loose.discard(job.job_id)
        if job is self._root_job:
            self._record_output(job, result or {})
            if error is not None:
                self.close(SessionOutcome(error, error))
                return
            self._root_job = None
        if not self._loose and self._root_job is None:
            self.close(SessionOutcome())


def job_ids() -> Callable[[], str]:
    """Return a maker of random UUIDs (version 4) that asks the system for randomness once only."""
    bits = random.Random(random.SystemRandom().getrandbits(256)).getrandbits  # noqa: S311 - names, no secrets

    def make() -> str:
        text = f"{bits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[bits(2)]}{text[17:20]}-{text[20:]}"

    return make


def _nodes_will_run(flow: FlowRun, selection: Selection | None) -> tuple[list[str], list[str], list[str]]:
    """Return start, mid and end nodes of a flow (flow-format.md 7.1)."""
    if selection is not None:
        return list(selection.start), list(selection.mid), list(selection.end)
    start = flow.state.satisfied()
    at_once = frozenset(start)
    return start, [node_id for node_id in flow.plan.nodes if node_id not in at_once], []
