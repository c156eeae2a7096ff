"""The queues, remembered values and run slots of one node in one flow job (flow-format.md 5.1-5.5)."""

from __future__ import annotations

from collections import deque

from msgspec import Raw

from oocana_async.engine.flow.plan import NodePlan

__all__ = ["NodeState"]


class NodeState:
    """What waits for a node, and how many of its runs are active.

    A complete set is one value for each counted handle. Their number is kept up to date at each value, so that no
    operation looks at more than the handles of this node, and most look at one.

    Attributes:
        active: runs that occupy a slot.
        pending: runs that wait for a slot.
    """

    __slots__ = ("_ahead", "_complete", "_kept", "_queues", "active", "pending", "plan")

    def __init__(self, plan: NodePlan) -> None:
        self.plan = plan
        self.active = 0
        self.pending = 0
        # Bound: none, as in the reference (a bound would deadlock loops and fan-ins); drained by `take`.
        self._queues: dict[str, deque[Raw]] = {}
        self._kept: dict[str, Raw] = {}
        self._complete = 0
        self._ahead = 0  # counted handles that hold more values than there are complete sets

    @property
    def is_satisfied(self) -> bool:
        """True when a run could take its inputs now."""
        plan = self.plan
        if not plan.can_start or (plan.counted and not self._complete):
            return False
        return not plan.needed or all(self._queues.get(h) or h in self._kept for h in plan.needed)

    @property
    def has_slot(self) -> bool:
        """True when the node's concurrency allows one more run."""
        limit = self.plan.concurrency
        return self.active < limit or limit < 0

    def push(self, handle: str, value: Raw) -> bool:
        """Append a value to a queue.

        Returns:
            True when the number of complete input sets grew by it.
        """
        queue = self._queues.get(handle)
        counted = self.plan.counted
        if not counted:
            return self._push_undeclared(handle, value)
        if queue is None:
            queue = self._queues[handle] = deque()
        queue.append(value)
        if handle not in counted or len(queue) != self._complete + 1:
            return False
        self._ahead += 1
        if self._ahead < len(counted):
            return False
        self._complete += 1
        self._ahead = sum(len(self._queues[name]) > self._complete for name in counted)
        return True

    def _push_undeclared(self, handle: str, value: Raw) -> bool:
        """Without counted handles every value of another handle may start a run (flow-format.md 2.3)."""
        before = self._loose_sets()
        self._queues.setdefault(handle, deque()).append(value)
        return self._loose_sets() > before

    def _loose_sets(self) -> int:
        remembered = self.plan.remembered
        return min((len(queue) for handle, queue in self._queues.items() if handle not in remembered), default=0)

    def take(self) -> dict[str, Raw]:
        """Take the inputs of one run: one value of each queue, remembered values and static ones."""
        inputs = dict(self.plan.static)
        remembered = self.plan.remembered
        for handle, queue in self._queues.items():
            if queue:
                value = inputs[handle] = queue.popleft()
                if handle in remembered:
                    self._kept[handle] = value
            elif handle in self._kept:
                inputs[handle] = self._kept[handle]
        if self.plan.counted:
            self._complete -= 1
        return inputs
