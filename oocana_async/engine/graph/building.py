"""Building graphs from manifests: one per flow file, and one more per subflow node that fills slots.

All files are read before anything is built, so a subflow may contain itself: its node has the inputs that the file
declares. What a node adds to a slot (flow-format.md 2.5) goes into a graph of that node's own, never into the one that
other nodes share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from oocana_async.engine.graph.connections import Connections, connect, runtime_handle
from oocana_async.engine.graph.graph import (
    FlowKind,
    Graph,
    GraphReference,
    Node,
    NodeTarget,
    Scope,
    SlotBlock,
    SubflowBlock,
    Target,
)
from oocana_async.engine.graph.nodes import (
    Shape,
    added_inputs,
    added_outputs,
    condition_outputs,
    make_node,
    serialised_outputs,
)
from oocana_async.engine.graph.slots import (
    Fill,
    added_definitions,
    added_feeds,
    outer_inputs,
    slot_parts,
    slotflow_inputs,
    usable_entries,
    warn_about_strays,
)
from oocana_async.engine.manifests.blocks import NodeExecutor, Place, PythonExecutor, TaskBlock
from oocana_async.engine.manifests.findings import Finding
from oocana_async.engine.manifests.lookup import Form, Kind, parse_reference
from oocana_async.engine.manifests.manifest import (
    ConditionPart,
    FlowManifest,
    Inputs,
    NodeManifest,
    Reference,
    ServicePart,
    SlotEntry,
    SlotPart,
    Spot,
    SubflowPart,
    TaskPart,
)
from oocana_async.engine.manifests.packages import package_root
from oocana_async.engine.manifests.sources import Sources, task_block
from oocana_async.suggestions import suggest

_NO_FILLS: Final[Mapping[str, Fill]] = {}


@dataclass(frozen=True, slots=True)
class _Use:
    """Which graph is meant: that of a file, or the one that a node of another file has for itself.

    Attributes:
        owner: file and node id of the node whose slots are filled.
        slot: the slot that the file fills, for a slotflow.
        wired: added inputs that really are connected; the same node may differ where its own flow fills a slot.
    """

    path: Path
    owner: tuple[Path, str] | None = None
    slot: str | None = None
    wired: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Changes:
    """How a graph differs from what its file says."""

    fills: Mapping[str, Fill] = field(default_factory=dict)
    inputs_def: Inputs | None = None


def build_root(path: Path, sources: Sources) -> Graph:
    """Build the graph of a flow file and of everything that it contains.

    Args:
        path: a file which `sources` has read, with all that it refers to and without faults.
        sources: the files; warnings of building are added to its faults.
    """
    builder = _Builder(sources)
    reference = builder.plain(path)
    builder.run()
    return reference.graph


def flow_kind(path: Path) -> FlowKind:
    """Return the flavour of a flow by its file name (flow-format.md 7.1)."""
    name = path.name.removesuffix(path.suffix)
    if name.endswith("subflow.oo"):
        return "subflow"
    if name.endswith("slotflow.oo"):
        return "slotflow"
    return "flow" if name.endswith("flow.oo") else "slotflow"


class _Builder:
    """Builds every graph that is asked for, once."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._references: dict[_Use, GraphReference] = {}
        self._waiting: deque[tuple[GraphReference, _Changes]] = deque()
        self._warned: set[Path] = set()

    def reference(self, use: _Use, changes: _Changes) -> GraphReference:
        """Return the reference to a graph, which is built later if it is new."""
        reference = self._references.get(use)
        if reference is None:
            reference = self._references[use] = GraphReference(use.path)
            self._waiting.append((reference, changes))
        return reference

    def plain(self, path: Path) -> GraphReference:
        """Return the reference to the graph of a file as it stands."""
        return self.reference(_Use(path), _Changes(inputs_def=self.sources.flows[path].inputs_def))

    def run(self) -> None:
        """Build what has been asked for, and what that asks for."""
        while self._waiting:
            reference, changes = self._waiting.popleft()
            flow = self.sources.flows[reference.path]
            reference.complete(_FlowBuilder(self, flow, changes, self._warner(flow.path)).build())

    def _warner(self, path: Path) -> Callable[[Spot, str, str, str], None]:
        """Return what takes the warnings about a file; graphs of the same file say nothing a second time."""
        quiet = path in self._warned
        self._warned.add(path)

        def warn(at: Spot, code: str, message: str, hint: str) -> None:
            if not quiet:
                self.sources.faults.warnings.append(Finding("warning", code, path, *at, message, hint))

        return warn


class _FlowBuilder:
    """Builds one graph."""

    def __init__(
        self, builder: _Builder, flow: FlowManifest, changes: _Changes, warn: Callable[[Spot, str, str, str], None]
    ) -> None:
        self._builder = builder
        self._sources = builder.sources
        self._flow = flow
        self._changes = changes
        self._warn = warn
        self._connections: Connections = connect(flow, changes.inputs_def, warn)
        self._live = {node.node_id for node in flow.live()}

    def build(self) -> Graph:
        flow, path = self._flow, self._flow.path
        cached = serialised_outputs(self._connections.feeds)
        nodes: dict[str, Node] = {}
        for manifest in flow.live():
            place = Place(path, *manifest.at)
            nodes[manifest.node_id] = make_node(
                manifest, place, self._shape(manifest), cached.get(manifest.node_id, ())
            )
        slots = [node_id for node_id, node in nodes.items() if isinstance(node.block, SlotBlock)]
        return Graph(
            path,
            flow_kind(path),
            path.parent,
            package_root(path),
            self._sources.context(path),
            flow.description,
            self._changes.inputs_def,
            flow.outputs_def,
            nodes,
            {key: tuple(targets) for key, targets in self._connections.targets.items()},
            self._input_targets(),
            frozenset(flow.forward_previews),
            bool(slots),
            frozenset(node_id for node_id in slots if node_id not in self._changes.fills),
            flow.injection,
        )

    def _input_targets(self) -> dict[str, tuple[Target, ...]]:
        found = {handle: tuple(targets) for handle, targets in self._connections.input_targets.items()}
        for node_id, fill in self._changes.fills.items():
            for handle in fill.remembered:
                found[runtime_handle(node_id, handle)] = (NodeTarget(node_id, handle),)
        return found

    def _shape(self, manifest: NodeManifest) -> Shape:
        feeds = self._connections.feeds.get(manifest.node_id, {})
        part = manifest.part
        if isinstance(part, TaskPart):
            return self._task(manifest, part)
        if isinstance(part, SubflowPart):
            return self._subflow(manifest, part)
        if isinstance(part, SlotPart):
            return self._slot(manifest, part)
        if isinstance(part, ServicePart):
            service = self._sources.service_block(self._flow.path, part.service)
            assert service is not None, "faults are raised before building"
            return Shape(service, service.inputs_def, service.outputs_def, feeds=feeds)
        assert isinstance(part, ConditionPart), "value nodes are not live"
        outputs = condition_outputs(part.conditions, part.inputs_def)
        return Shape(part.conditions, part.inputs_def, outputs, weight=0.0, feeds=feeds)

    def _task(self, manifest: NodeManifest, part: TaskPart) -> Shape:
        if isinstance(part.task, Reference):
            task = self._sources.referred_task(self._flow.path, part.task)
            assert task is not None, "faults are raised before building"
        else:
            task = task_block(part.task, self._flow.path, inline=True)
        return Shape(
            task,
            added_inputs(task.inputs_def, part, allowed=task.additional_inputs),
            added_outputs(task.outputs_def, part, allowed=task.additional_outputs),
            self._task_scope(manifest, part, task),
            inject_node=part.inject.node_id if part.inject is not None else None,
            feeds=self._connections.feeds.get(manifest.node_id, {}),
        )

    def _task_scope(self, manifest: NodeManifest, part: TaskPart, task: TaskBlock) -> Scope:
        """A spawned inline task has a process of its own, others may join it (flow-format.md 4.2)."""
        if isinstance(part.task, Reference):
            if parse_reference(part.task.text).form is Form.PACKAGE:
                return Scope()
        elif isinstance(task.executor, PythonExecutor | NodeExecutor) and task.executor.spawn:
            return Scope(node_id=manifest.node_id)
        if part.inject is None or part.inject.package is not None or part.inject.node_id is None:
            return Scope()
        if part.inject.node_id not in self._live:
            message = f'the flow has no node "{part.inject.node_id}", "inject" is ignored'
            self._warn(manifest.at, "unknown-node", message, suggest(part.inject.node_id, sorted(self._live)))
            return Scope()
        return Scope(node_id=part.inject.node_id)

    def _slot(self, manifest: NodeManifest, part: SlotPart) -> Shape:
        feeds = self._connections.feeds.get(manifest.node_id, {})
        fill = self._changes.fills.get(manifest.node_id)
        if fill is None:
            return Shape(SlotBlock(), part.inputs_def, part.outputs_def, feeds=feeds)
        inputs_def = {**(part.inputs_def or {}), **fill.added} if fill.added else part.inputs_def
        feeds = {**feeds, **fill.inner_feeds()}
        return Shape(fill.block, inputs_def, part.outputs_def, remembered=fill.remembered, feeds=feeds)

    def _subflow(self, manifest: NodeManifest, part: SubflowPart) -> Shape:
        path = self._path(Kind.SUBFLOW, part.subflow)
        subflow = self._sources.flows[path]
        scope = self._package_scope(part.subflow.text, package_root(path)) or Scope()
        feeds = self._connections.feeds.get(manifest.node_id, {})
        entries = usable_entries(part.slots, slot_parts(subflow), self._warn)
        if not entries:
            return Shape(
                SubflowBlock(self._builder.plain(path)), subflow.inputs_def, subflow.outputs_def, scope, feeds=feeds
            )
        fills = {entry.slot_node_id: self._fill(manifest, entry, slot) for entry, slot in entries}
        use = _Use(path, (self._flow.path, manifest.node_id), wired=_wired(fills))
        reference = self._builder.reference(use, _Changes(fills, subflow.inputs_def))
        added = {name: d for slot_id, fill in fills.items() for name, d in outer_inputs(slot_id, fill.added).items()}
        own = subflow.inputs_def or {}
        inputs_def = {**own, **{h: d for h, d in added.items() if h not in own}} if added else subflow.inputs_def
        return Shape(SubflowBlock(reference), inputs_def, subflow.outputs_def, scope, feeds=feeds)

    def _fill(self, manifest: NodeManifest, entry: SlotEntry, slot: SlotPart) -> Fill:
        text = entry.reference.text
        if entry.kind == "task":
            task = self._sources.referred_task(self._flow.path, entry.reference)
            assert task is not None, "faults are raised before building"
            return Fill(SlotBlock(task, self._package_scope(text, task.package_path) or Scope("slot")))
        kind = Kind.SUBFLOW if entry.kind == "subflow" else Kind.SLOTFLOW
        path = self._path(kind, entry.reference)
        scope = self._package_scope(text, package_root(path)) or Scope("slot")
        if kind is Kind.SUBFLOW:
            if slot_parts(self._sources.flows[path]):
                message = f'the subflow "{text}" has slots, which stay unfilled'
                self._warn(entry.at, "unfilled-slot", message, "")
            return Fill(SlotBlock(SubflowBlock(self._builder.plain(path)), scope))
        added = added_definitions(entry, slot)
        warn_about_strays(entry, added, self._warn)
        feeds = added_feeds(entry, added, self._connections.feeds.get(manifest.node_id, {}), self._warn)
        use = _Use(path, (self._flow.path, manifest.node_id), entry.slot_node_id)
        reference = self._builder.reference(use, _Changes(inputs_def=slotflow_inputs(entry, slot)))
        return Fill(SlotBlock(SubflowBlock(reference), scope), added, feeds)

    def _path(self, kind: Kind, reference: Reference) -> Path:
        path = self._sources.find(self._flow.path, kind, reference)
        assert path is not None, "faults are raised before building"
        return path

    def _package_scope(self, text: str, path: Path) -> Scope | None:
        parsed = parse_reference(text)
        return Scope("package", None, parsed.package, path) if parsed.form is Form.PACKAGE else None


def _wired(fills: Mapping[str, Fill]) -> frozenset[str]:
    return frozenset(runtime_handle(slot, handle) for slot, fill in fills.items() for handle in fill.remembered)
