"""Which nodes run when only some are asked for (flow-format.md 5.12)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from oocana_async.engine.graph import Graph, NodeTarget
from oocana_async.engine.plan import FlowPlan

__all__ = ["Selection", "select_nodes"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Nodes of a partial run, each list in file order.

    Attributes:
        start: what starts at once.
        mid: what the requested nodes need and must itself wait.
        end: the requested nodes as given.
    """

    start: tuple[str, ...]
    mid: tuple[str, ...]
    end: tuple[str, ...]

    @property
    def allowed(self) -> frozenset[str]:
        """All nodes that may run."""
        return frozenset((*self.start, *self.mid, *self.end))


def select_nodes(
    plan: FlowPlan, requested: Sequence[str], satisfied: Collection[str], filled: Collection[tuple[str, str]] = ()
) -> Selection:
    """Return the requested nodes and what they need.

    Args:
        plan: the flow.
        requested: node ids, unknown ones have no effect.
        satisfied: nodes that could run now.
        filled: inputs (node id, handle) that hold a value of an earlier run.
    """
    ready, full = set(satisfied), set(filled)
    sources = _sources(plan.graph)
    seen: set[str] = set()
    todo = [node_id for node_id in requested if node_id in plan.nodes]
    while todo:
        node_id = todo.pop()
        if node_id not in seen:
            seen.add(node_id)
            if node_id not in ready:
                todo += [source for handle, source in sources.get(node_id, ()) if (node_id, handle) not in full]
    wanted = set(requested)
    return Selection(
        start=tuple(node_id for node_id in plan.nodes if node_id in seen and node_id in ready),
        mid=tuple(n for n in plan.nodes if n in seen and n not in ready and n not in wanted),
        end=tuple(requested),
    )


def _sources(graph: Graph) -> dict[str, list[tuple[str, str]]]:
    """Return for each node its (input handle, source node) pairs."""
    found: dict[str, list[tuple[str, str]]] = {}
    for (source, _), targets in graph.targets.items():
        for target in targets:
            if isinstance(target, NodeTarget):
                found.setdefault(target.node_id, []).append((target.input_handle, source))
    return found
