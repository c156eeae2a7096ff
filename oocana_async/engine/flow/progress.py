"""The weighted progress of one flow job (flow-format.md 5.11).

It says what to send, and `FlowState` makes an action of it: a report that changes nothing is not sent.
"""

from __future__ import annotations

from oocana_async.engine.flow.plan import FlowPlan

__all__ = ["FlowProgress"]

_DONE = 100.0
_MOST = 95.0
"""A flow never reports more: it ends with its finished event."""
_DIGITS = 6
"""The kept sum gathers the rounding errors of floats; so many digits after the point, they do not show."""


class FlowProgress:
    """The mean of the progress of all nodes, by their weights.

    The weighted sum is kept and only the change of one node added to it: summing anew at each report would cost a flow
    of 10,000 nodes 10,000 additions for each of its runs. Nodes that never report count with 0.
    """

    __slots__ = ("_nodes", "_plan", "_sum", "_total", "_weights")

    def __init__(self, plan: FlowPlan) -> None:
        self._plan = plan
        self._nodes: dict[str, float] = {}
        self._weights: dict[str, float] = {}
        self._sum = 0.0
        self._total = plan.total_weight

    def report(self, node_id: str, progress: float) -> float | None:
        """Take the progress of a node.

        Returns:
            The flow's progress, or None when there is nothing to send.
        """
        weight = self._weight(node_id)
        old = self._nodes.get(node_id, 0.0)
        progress = min(max(progress, 0.0), _DONE)
        if weight == 0.0 or old >= _DONE or progress == old:
            return None
        if progress > old:  # a node never falls back; but that it reported something lower is still passed on
            self._nodes[node_id] = progress
            self._sum += weight * (progress - old)
        return self.value

    def finish(self, node_id: str) -> float | None:
        """Take the successful end of a run; returns what `report` does."""
        return self.report(node_id, _DONE)

    def set_weight(self, node_id: str, weight: float) -> float | None:
        """Change the weight of a node; returns the flow's progress, None for an unknown node or a sum of zero."""
        if node_id not in self._plan.nodes:
            return None
        change = weight - self._weight(node_id)
        self._weights[node_id] = weight
        self._total += change
        self._sum += change * self._nodes.get(node_id, 0.0)
        # Sent even if nothing changed: the reference answers every change of a weight so (flow-format.md 5.11).
        return self.value

    @property
    def value(self) -> float | None:
        """The flow's progress, 0 to 95; None while no node weighs anything."""
        if self._total <= 0.0:
            return None
        return round(min(max(self._sum / self._total, 0.0), _MOST), _DIGITS)

    def _weight(self, node_id: str) -> float:
        weight = self._weights.get(node_id)
        return self._plan.nodes[node_id].weight if weight is None else weight
