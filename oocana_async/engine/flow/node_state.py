"""The values that wait for one node in one flow job, and how many of its runs go on (flow-format.md 5.1-5.5).

Duties of whoever uses it: push each value that arrives, take only while the node is satisfied, and count active and
pending runs. `FlowState` does.
"""

from __future__ import annotations

from collections import deque

from msgspec import Raw

from oocana_async.engine.flow.plan import NodePlan

__all__ = ["NodeState"]


class NodeState:
    """The queues of a node's input handles, and its runs.

    Each handle with a connection has a queue. A run takes one value from the front of each, so values of two handles
    pair by their position. A *complete set* is one value for each counted handle (a declared one that does not repeat
    its last value): as many sets are complete as the shortest of those queues is long.

    Attributes:
        active: runs that go on now.
        pending: runs that wait until fewer than `concurrency` go on. They are counted and not found by looking at the
            queues, because a value that completes no set starts no run later either (flow-format.md 5.3).
    """

    __slots__ = ("_ahead", "_complete", "_kept", "_queues", "active", "pending", "plan")

    def __init__(self, plan: NodePlan) -> None:
        self.plan = plan
        self.active = 0
        self.pending = 0
        # Bound: none, as in the reference (a bound would deadlock loops and fan-ins); drained by `take`.
        self._queues: dict[str, deque[Raw]] = {}
        # Only for handles that a slotflow adds: one value from outside serves every run of the slot (2.5, 5.5).
        self._kept: dict[str, Raw] = {}
        # The number of complete sets is not computed as the shortest queue at each value, which would cost a node with
        # a thousand handles a thousand looks per value. It is kept, with the number of counted handles that already
        # hold a value for the set that is completed next.
        self._complete = 0
        self._ahead = 0

    @property
    def is_satisfied(self) -> bool:
        """True when a run could take its inputs now."""
        plan = self.plan
        if not plan.can_start or (plan.counted and not self._complete):
            return False
        return not plan.needed or all(self._queues.get(h) or h in self._kept for h in plan.needed)

    @property
    def has_room(self) -> bool:
        """True when the node's concurrency allows one more run."""
        # Negative means no limit. With 0 a node runs at the flow's start only, where nobody asks for room; what arrives
        # later piles up, as in the reference (flow-format.md 5.4).
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
            return False  # its values reach beyond the next set: nothing is new for that one
        self._ahead += 1
        if self._ahead < len(counted):
            return False
        self._complete += 1
        # The only place that looks at all queues: once per complete set, as taking that set will do anyway.
        self._ahead = sum(len(self._queues[name]) > self._complete for name in counted)
        return True

    def _push_undeclared(self, handle: str, value: Raw) -> bool:
        """Append a value to a node of which no declared handle is counted (flow-format.md 2.3).

        Values of undeclared handles start runs then: sets are counted over all handles that ever received one. That is
        rare and such nodes have few handles, so here the shortest queue is looked for.
        """
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
                    self._kept[handle] = value  # the newest value that was taken is the one that serves again
            elif handle in self._kept:
                inputs[handle] = self._kept[handle]
        if self.plan.counted:
            self._complete -= 1  # each counted queue is one shorter as well, so `_ahead` stays as it is
        return inputs
