"""What a loaded target is: graphs, nodes, blocks and connections, immutable, ready to be run.

Everything here is decided at load time (flow-format.md 1-4). One `Graph` serves any number of runs. A subflow node with
slots has a graph of its own, in which the slot nodes carry their providers; the shared one stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from oocana_async.engine.manifests.blocks import ConditionBlock, Place, SearchContext, ServiceBlock, TaskBlock
from oocana_async.wire.messages.shared import HandlePatch, InputHandle, OutputHandle

FlowKind: TypeAlias = Literal["flow", "subflow", "slotflow"]


@dataclass(frozen=True, slots=True)
class NodeTarget:
    """A connection that ends at an input handle of a node."""

    node_id: str
    input_handle: str


@dataclass(frozen=True, slots=True)
class FlowTarget:
    """A connection that ends at an output handle of the flow itself."""

    output_handle: str


Target: TypeAlias = NodeTarget | FlowTarget


@dataclass(frozen=True, slots=True)
class Scope:
    """In which process, and with which package path, a node's block runs (flow-format.md 4.2).

    Attributes:
        kind: "flow" is the scope of the flow run, "slot" that of the run which holds the subflow node, "package" that
            of the package `path`.
        node_id: the `spawn: true` node whose own process is used, None for the shared process of the scope.
        name: the package's name as written in the reference, for kind "package".
        path: the package's directory, for kind "package".
    """

    kind: Literal["flow", "slot", "package"] = "flow"
    node_id: str | None = None
    name: str | None = None
    path: Path | None = None


class GraphReference:
    """A reference to a graph that may still be under construction, so that a subflow can contain itself.

    Graphs do not change once they are built, so one that contains itself cannot be made in one piece: its node gets
    this reference, which is completed when the graph is there.
    """

    __slots__ = ("_graph", "path")

    def __init__(self, path: Path, graph: Graph | None = None) -> None:
        self.path = path
        self._graph = graph

    @property
    def graph(self) -> Graph:
        """The graph; complete as soon as loading has ended."""
        assert self._graph is not None, f"{self.path} is not loaded yet"
        return self._graph

    def complete(self, graph: Graph) -> None:
        """Set the graph, once, when it is built."""
        self._graph = graph

    def __repr__(self) -> str:
        return f"GraphReference({str(self.path)!r})"


@dataclass(frozen=True, slots=True)
class SubflowBlock:
    """A subflow in the shape that its node uses: slots that the node fills are filled in `graph`."""

    reference: GraphReference

    @property
    def graph(self) -> Graph:
        """The graph that one run of the node runs."""
        return self.reference.graph

    @property
    def path(self) -> Path:
        """The subflow file as resolved."""
        return self.reference.path


@dataclass(frozen=True, slots=True)
class SlotBlock:
    """A hole in a subflow, and what fills it in this use of the subflow.

    Attributes:
        provider: the task (run with the slot *node's* definitions), or the graph of a subflow or slotflow; None when
            nobody fills the slot, which is then reported as finished with an error and the flow carries on.
        scope: where the provider runs.
    """

    provider: TaskBlock | SubflowBlock | None = None
    scope: Scope = Scope("slot")


Block: TypeAlias = TaskBlock | SubflowBlock | SlotBlock | ServiceBlock | ConditionBlock


@dataclass(frozen=True, slots=True)
class Node:
    """One node that can run; value nodes and ignored nodes do not exist any more here.

    Attributes:
        concurrency: most runs at once; 0 means at flow start only, negative means unlimited.
        timeout: seconds, None for no limit.
        weight: share in the flow's progress, 0 for condition nodes.
        inputs_def: what the block declares, with the node's additions; None when nothing is declared.
        static: the value of declared handles without a real connection, if one was given.
        queued: handles with at least one real connection, declared or not.
        remembered: handles whose last value serves again when their queue is empty (flow-format.md 5.5).
        patches: `inputs_def_patch` per handle.
        inject_node: the node whose process this node joins, as written.
        scope: where its block runs; for slot nodes see `SlotBlock.scope`.
        source: where the node is written.
    """

    node_id: str
    block: Block
    concurrency: int = 1
    timeout: int | None = None
    weight: float = 1.0
    description: str | None = None
    inputs_def: Mapping[str, InputHandle] | None = None
    outputs_def: Mapping[str, OutputHandle] | None = None
    static: Mapping[str, Any] = field(default_factory=dict)
    queued: frozenset[str] = frozenset()
    remembered: frozenset[str] = frozenset()
    patches: Mapping[str, tuple[HandlePatch, ...]] = field(default_factory=dict)
    inject_node: str | None = None
    scope: Scope = Scope()
    source: Place | None = None

    @property
    def unfed(self) -> tuple[str, ...]:
        """Declared handles with neither a value nor a connection; with one of these the node never runs."""
        return tuple(h for h in self.inputs_def or () if h not in self.static and h not in self.queued)


@dataclass(frozen=True, slots=True)
class Graph:
    """One flow, subflow or slotflow.

    Attributes:
        path: the file as resolved, for `flow_path`, `block_path` and stacks.
        kind: by the file's name, decides the flavour of the report events (flow-format.md 7.1).
        directory: directory of the file.
        package_path: two levels above that directory.
        inputs_def: None when the file has none; a slotflow in a slot has the slot's.
        nodes: in file order.
        targets: (node id, output handle) -> flow outputs first, then node inputs in file order, repeats kept.
        input_targets: input handle of the flow -> the same.
        forward_previews: nodes whose previews are shown as the flow's own.
        has_slot: whether it contains slot nodes, filled or not.
        unfilled_slots: slot nodes without a provider in this use.
        injection: package name -> shell script, of the layer feature.
        prepared: what the first run has made of the graph, for all further ones (`FlowPlan.of`).
        search: for references that running blocks send.
    """

    path: Path
    kind: FlowKind
    directory: Path
    package_path: Path
    search: SearchContext
    description: str | None = None
    inputs_def: Mapping[str, InputHandle] | None = None
    outputs_def: Mapping[str, OutputHandle] | None = None
    nodes: Mapping[str, Node] = field(default_factory=dict)
    targets: Mapping[tuple[str, str], tuple[Target, ...]] = field(default_factory=dict)
    input_targets: Mapping[str, tuple[Target, ...]] = field(default_factory=dict)
    forward_previews: frozenset[str] = frozenset()
    has_slot: bool = False
    unfilled_slots: frozenset[str] = frozenset()
    injection: Mapping[str, str] = field(default_factory=dict)
    prepared: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)
