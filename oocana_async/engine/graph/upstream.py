"""Which nodes run when only some are asked for: these, and what they still need (flow-format.md 5.12)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from oocana_async.engine.graph.graph import Graph, Node, NodeTarget

Cached: TypeAlias = Mapping[str, Collection[str]]
"""Node id to the input handles that a cache already has values for."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The nodes of a partial run.

    Attributes:
        start: nodes whose inputs are complete now, `start_nodes` of FlowNodesWillRun.
        mid: needed nodes that have to wait, without the requested ones.
        end: the requested ids as given, unknown ones included.
        upstream: needed nodes that were not requested, `start` and `mid` together less the requested ones.
        allowed: all nodes that may run.
        unknown: requested ids that the flow does not have.
        stale: (node id, input handle) whose cached value must not be used, because a requested node delivers a new one.
    """

    start: tuple[str, ...]
    mid: tuple[str, ...]
    end: tuple[str, ...]
    upstream: tuple[str, ...]
    allowed: frozenset[str]
    unknown: tuple[str, ...]
    stale: tuple[tuple[str, str], ...] = ()


def select_upstream(graph: Graph, nodes: Iterable[str], cached: Cached | None = None) -> Selection:
    """Choose what runs when `nodes` are asked for.

    Args:
        graph: the flow.
        nodes: requested node ids; the order is kept, repeats are dropped.
        cached: inputs that need no node to run; those that a requested node feeds do not count.
    """
    end = tuple(dict.fromkeys(nodes))
    requested = [node_id for node_id in end if node_id in graph.nodes]
    choice = _Choice(graph, cached or {})
    start, upstream = choice.of(requested)
    outside = [node_id for node_id in graph.nodes if node_id in upstream]
    start += [node_id for node_id in outside if choice.complete(node_id)]
    mid = [node_id for node_id in outside if not choice.complete(node_id)]
    unknown = tuple(node_id for node_id in end if node_id not in graph.nodes)
    allowed = frozenset((*requested, *outside))
    return Selection(tuple(start), tuple(mid), end, tuple(outside), allowed, unknown, tuple(choice.stale))


class _Choice:
    def __init__(self, graph: Graph, cached: Cached) -> None:
        self._graph = graph
        self._cached = {node_id: set(handles) for node_id, handles in cached.items()}
        self._sources = _sources(graph)
        self.stale: list[tuple[str, str]] = []

    def of(self, requested: list[str]) -> tuple[list[str], set[str]]:
        """Return the requested nodes that are complete now, and the nodes outside that the others need."""
        start: list[str] = []
        upstream: set[str] = set()
        for node_id in requested:
            others = set(requested) - {node_id}
            was_complete = self.complete(node_id)
            needed = self._needed(node_id)
            self._forget(node_id, needed & others)
            if self.complete(node_id):
                start.append(node_id)
            elif not was_complete:
                upstream |= needed - set(requested)
        return start, upstream

    def complete(self, node_id: str) -> bool:
        """Tell whether every declared input has a value."""
        return all(self._has_value(self._graph.nodes[node_id], h) for h in self._graph.nodes[node_id].inputs_def or ())

    def _has_value(self, node: Node, handle: str) -> bool:
        return (handle in node.static and handle not in node.queued) or handle in self._cached.get(node.node_id, ())

    def _needed(self, node_id: str) -> set[str]:
        """Return a node and all nodes before it that have to run for it."""
        needed: set[str] = set()
        waiting = [node_id]
        while waiting:
            current = waiting.pop()
            if current in needed:
                continue
            needed.add(current)
            node = self._graph.nodes[current]
            for handle in node.inputs_def or ():
                if not self._has_value(node, handle):
                    waiting += self._sources.get((current, handle), ())
        return needed

    def _forget(self, node_id: str, runs_anyway: set[str]) -> None:
        """Drop cached inputs which a requested node will deliver anew."""
        for handle in list(self._cached.get(node_id, ())):
            if runs_anyway.intersection(self._sources.get((node_id, handle), ())):
                self._cached[node_id].discard(handle)
                self.stale.append((node_id, handle))


def _sources(graph: Graph) -> dict[tuple[str, str], list[str]]:
    """Return (node id, input handle) -> the nodes that feed it."""
    found: dict[tuple[str, str], list[str]] = {}
    for (source, _), targets in graph.targets.items():
        for target in targets:
            if isinstance(target, NodeTarget):
                found.setdefault((target.node_id, target.input_handle), []).append(source)
    return found
