"""What the analyses look at: every graph that a target reaches, and where things are written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from oocana_async.engine.graph.graph import Block, Graph, Node, SlotBlock, SubflowBlock
from oocana_async.engine.manifests.blocks import Place, TaskBlock
from oocana_async.engine.manifests.findings import Finding, Severity
from oocana_async.engine.manifests.manifest import FlowManifest, InputFrom, NodeManifest, Spot


@dataclass(frozen=True, slots=True)
class Subject:
    """One graph under analysis.

    Attributes:
        graph: the graph.
        manifest: what its file says.
        written: its nodes that can run, as the file says, by id.
        is_root: whether it is the target itself, whose open inputs can be given from outside.
    """

    graph: Graph
    manifest: FlowManifest
    written: Mapping[str, NodeManifest]
    is_root: bool

    def finding(self, severity: Severity, code: str, at: Spot, message: str, hint: str = "") -> Finding:
        """Return a finding at a place of the graph's file."""
        return Finding(severity, code, self.graph.path, *at, message, hint)

    def about(self, node: Node, severity: Severity, code: str, message: str, hint: str = "") -> Finding:
        """Return a finding at the place of a node."""
        return at_place(node.source, self.graph.path, severity, code, message, hint)

    def entry_spot(self, node: Node, handle: str) -> Spot:
        """Return where an input is fed, or the place of the node when it is not mentioned."""
        written = self.written[node.node_id]
        return next((entry.at for entry in written.inputs_from if entry.handle == handle), written.at)


def at_place(place: Place | None, path: Path, severity: Severity, code: str, message: str, hint: str = "") -> Finding:
    """Return a finding at a place that may be unknown."""
    if place is None:
        return Finding(severity, code, path, None, None, message, hint)
    return Finding(severity, code, place.path, place.line, place.column, message, hint)


def subjects(root: Graph, flows: Mapping[Path, FlowManifest]) -> list[Subject]:
    """Return every graph that `root` reaches as a subject, itself first, each once."""
    return [_subject(graph, flows[graph.path], is_root=graph is root) for graph in reached_graphs(root)]


def reached_graphs(root: Graph) -> list[Graph]:
    """Return every graph that `root` reaches, itself first, each once; a subflow may contain itself."""
    found: dict[int, Graph] = {}
    waiting = deque([root])
    while waiting:
        graph = waiting.popleft()
        if id(graph) not in found:
            found[id(graph)] = graph
            waiting += inner_graphs(graph)
    return list(found.values())


def _subject(graph: Graph, manifest: FlowManifest, *, is_root: bool) -> Subject:
    return Subject(graph, manifest, {node.node_id: node for node in manifest.live()}, is_root)


def inner_graphs(graph: Graph) -> Iterator[Graph]:
    """Yield the graphs that the nodes of a graph run."""
    for node in graph.nodes.values():
        block = block_of(node)
        if isinstance(block, SubflowBlock):
            yield block.graph


def block_of(node: Node) -> Block | None:
    """Return what a node runs: its block, or what fills it if it is a slot; None for a slot that nobody fills."""
    return node.block.provider if isinstance(node.block, SlotBlock) else node.block


def task_of(node: Node) -> TaskBlock | None:
    """Return the task that a node runs, also as the provider of a slot."""
    block = block_of(node)
    return block if isinstance(block, TaskBlock) else None


def connections_of(entries: tuple[InputFrom, ...]) -> Iterator[tuple[str, str, str, Spot]]:
    """Yield (input handle, node id, output handle, place) of all connections from nodes."""
    for entry in entries:
        for source in entry.from_node:
            yield entry.handle, source.node_id, source.output_handle, source.at
