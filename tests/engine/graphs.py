"""Builds graphs in memory, and plays flow states by hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from oocana_async.engine.flow.actions import Action, EmitOutput, FinishFlow, ReportProgress, StartJob
from oocana_async.engine.flow.flow_state import FlowState
from oocana_async.engine.flow.plan import FlowPlan
from oocana_async.engine.graph.graph import Block, FlowTarget, Graph, Node, NodeTarget, Target
from oocana_async.engine.manifests.blocks import PythonExecutor, SearchContext, TaskBlock
from oocana_async.wire.messages.shared import InputHandle, OutputTarget

HERE = Path("/ws/flows/main")
TASK = TaskBlock(None, HERE, Path("/ws"), PythonExecutor())

Sources = Mapping[str, Sequence[tuple[str, str]]]
"""Input handle -> (node, output handle) pairs; a node id of "" is the flow itself."""


def node(
    node_id: str,
    sources: Sources | None = None,
    *,
    static: Mapping[str, Any] | None = None,
    declared: Iterable[str] | None = None,
    block: Block = TASK,
    **more: Any,
) -> tuple[Node, Sources]:
    """Return a node, declaring all its handles unless told otherwise, and its connections."""
    handles = declared if declared is not None else [*(sources or {}), *(static or {})]
    loaded = Node(
        node_id,
        block,
        inputs_def={handle: InputHandle(handle) for handle in handles} or None,
        static=static or {},
        queued=frozenset(sources or {}),
        **more,
    )
    return loaded, sources or {}


def graph(*nodes: tuple[Node, Sources], outputs: Sources | None = None, kind: Any = "flow") -> Graph:
    """Return a graph of nodes; `outputs` maps flow outputs to their sources."""
    targets: dict[tuple[str, str], list[Target]] = {}
    ends: list[tuple[Target, tuple[str, str]]] = [
        (FlowTarget(handle), source) for handle, found in (outputs or {}).items() for source in found
    ]
    for loaded, sources in nodes:
        ends += [(NodeTarget(loaded.node_id, handle), s) for handle, found in sources.items() for s in found]
    for target, source in ends:
        targets.setdefault(source, []).append(target)
    return Graph(
        HERE / "flow.oo.yaml",
        kind,
        HERE,
        Path("/ws"),
        SearchContext(HERE),
        nodes={loaded.node_id: loaded for loaded, _ in nodes},
        targets={source: tuple(found) for source, found in targets.items() if source[0]},
        input_targets={source[1]: tuple(found) for source, found in targets.items() if not source[0]},
    )


def raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def plain(value: Raw) -> Any:
    return msgspec.json.decode(value)


class Play:
    """A flow state whose jobs are named like their node and run number; keeps what it was told to do."""

    def __init__(self, *nodes: tuple[Node, Sources], outputs: Sources | None = None, **more: Any) -> None:
        self.plan = FlowPlan(graph(*nodes, outputs=outputs))
        numbers = itertools.count(1)
        self.state = FlowState(self.plan, lambda: f"job{next(numbers)}", **more)
        self.inputs: dict[str, dict[str, Any]] = {}
        self.running: list[str] = []
        self.outputs: list[tuple[str, Any]] = []
        self.progress: list[float] = []
        self.finish: FinishFlow | None = None
        self._ids: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def start(self, **inputs: Any) -> list[str]:
        return self._take(self.state.start({handle: raw(value) for handle, value in inputs.items()}))

    def output(self, job: str, handle: str, value: Any, target: OutputTarget | None = None) -> list[str]:
        return self._take(self.state.on_output(self._ids[job], handle, raw(value), target))

    def end(
        self, job: str, result: Mapping[str, Any] | None = None, error: str | None = None, **more: Any
    ) -> list[str]:
        self.running.remove(job)
        encoded = {handle: raw(value) for handle, value in (result or {}).items()}
        return self._take(self.state.on_end(self._ids[job], encoded, error, **more))

    def report(self, job: str, progress: float) -> list[float]:
        return self._sent(lambda: self.state.on_progress(self._ids[job], progress))

    def weigh(self, node_id: str, weight: float) -> list[float]:
        return self._sent(lambda: self.state.set_weight(node_id, weight))

    def _sent(self, call: Any) -> list[float]:
        before = len(self.progress)
        self._take(call())
        return self.progress[before:]

    def _take(self, actions: list[Action]) -> list[str]:
        """Note the actions and return the names of the jobs that start."""
        started = []
        for action in actions:
            assert self.finish is None, "something follows the end of the flow"
            if isinstance(action, StartJob):
                started.append(self._name(action))
            elif isinstance(action, EmitOutput):
                self.outputs.append((action.handle, plain(action.value)))
            elif isinstance(action, ReportProgress):
                self.progress.append(action.progress)
            else:
                self.finish = action
        self.running += started
        return started

    def _name(self, action: StartJob) -> str:
        number = self._counts[action.node.node_id] = self._counts.get(action.node.node_id, 0) + 1
        name = f"{action.node.node_id}{number}"
        self._ids[name] = action.job_id
        self.inputs[name] = {handle: plain(value) for handle, value in action.inputs.items()}
        return name
