"""A graph prepared for running: static inputs encoded once, the nodes that start at once, and the sum of weights.

One plan serves any number of flow jobs, and must not change while it does. What costs something per node and may
never be needed is made at first use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from oocana_async.engine.graph.graph import Graph, Node, SlotBlock, SubflowBlock
from oocana_async.engine.manifests.blocks import (
    ConditionBlock,
    NodeExecutor,
    PythonExecutor,
    ServiceBlock,
    ServiceExecutor,
    TaskBlock,
)
from oocana_async.wire.encoding import encode

__all__ = ["FlowPlan", "NodePlan", "TaskWire", "encode_map"]


def encode_map(values: Mapping[str, Any] | None) -> Any:
    """Encode a part of a message once; the result stands in for the map in any message."""
    return Raw(msgspec.json.encode(dict(values))) if values is not None else None


class TaskWire:
    """The parts of BlockPayload and BlockInputs that are the same for every run of a task or service block.

    Attributes:
        block: what runs.
        inputs_def: encoded input definitions, None when there are none.
        outputs_def: encoded output definitions, None when there are none.
        patches: encoded `inputs_def_patch`, None when there are none.
        executor: encoded `executor` of the message, None for those that the engine runs itself.
        block_path: path for reports, None when the block has no file of its own.
    """

    __slots__ = ("block", "block_path", "executor", "inputs_def", "outputs_def", "patches")

    def __init__(
        self,
        block: TaskBlock | ServiceBlock,
        inputs_def: Mapping[str, Any] | None,
        outputs_def: Mapping[str, Any] | None,
        patches: Mapping[str, Any] | None = None,
    ) -> None:
        self.block = block
        self.inputs_def = encode_map(inputs_def)
        self.outputs_def = encode_map(outputs_def)
        self.patches = encode_map(patches or None)
        executor, wire = block.executor, None
        if isinstance(executor, PythonExecutor | NodeExecutor | ServiceExecutor):
            wire = executor.to_wire()
        self.executor = encode_map(wire)
        self.block_path = str(block.path) if isinstance(block, TaskBlock) and block.path is not None else None


class NodePlan:
    """One node, ready to be run.

    Attributes:
        node: the loaded node.
        can_start: False when a declared handle has neither a value nor a connection.
        static: encoded values that every run gets.
        counted: declared handles with a queue that is not remembered; one value of each makes a complete set.
        remembered: handles whose last value serves again.
        needed: remembered handles that are declared, so that a run needs a value for them.
    """

    __slots__ = ("_wire", "can_start", "concurrency", "counted", "needed", "node", "node_id", "remembered", "static")

    def __init__(self, node: Node) -> None:
        declared = node.inputs_def or {}
        self.node = node
        self.node_id = node.node_id
        self.concurrency = node.concurrency
        # Defaults and `nullable` fill nothing inside a flow; flows rely on it that such a node does not run
        # (flow-format.md 2.3).
        self.can_start = not node.unfed
        self.static = {handle: Raw(encode(value)) for handle, value in node.static.items()}
        self.remembered = node.remembered
        # Connected handles that the block does not declare are left out: their values are passed on if they have come,
        # and never waited for (flow-format.md 2.3).
        self.counted = frozenset(h for h in node.queued if h in declared and h not in node.remembered)
        self.needed = frozenset(h for h in node.queued if h in declared and h in node.remembered)
        self._wire: TaskWire | None = None

    @property
    def starts_at_once(self) -> bool:
        """True when the node has all it needs before any value was delivered."""
        return self.can_start and not self.counted and not self.needed

    @property
    def weight(self) -> float:
        """Share of the node in the flow's progress; a condition node has none, whatever its file says."""
        return 0.0 if isinstance(self.node.block, ConditionBlock) else self.node.weight

    @property
    def wire(self) -> TaskWire:
        """What the messages of a task, a service or a slot filled by a task have in common; made at first use."""
        if self._wire is None:
            node, block = self.node, self.node.block
            if isinstance(block, SlotBlock):
                provider = block.provider
                assert isinstance(provider, TaskBlock), f"the slot {self.node_id} runs no task"
                block = provider
            assert not isinstance(block, SubflowBlock | ConditionBlock), f"{self.node_id} runs in the engine"
            self._wire = TaskWire(block, node.inputs_def, node.outputs_def, node.patches)
        return self._wire


class FlowPlan:
    """One graph, ready to be run.

    Attributes:
        nodes: node id -> plan, in file order.
        start: nodes that have all they need before any value was delivered.
        total_weight: sum of the weights of all nodes.
    """

    __slots__ = ("_handles", "graph", "nodes", "path", "start", "total_weight")

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.path = str(graph.path)
        self.nodes = {node_id: NodePlan(node) for node_id, node in graph.nodes.items()}
        self.start = tuple(plan for plan in self.nodes.values() if plan.starts_at_once)
        self.total_weight = float(sum(plan.weight for plan in self.nodes.values()))
        self._handles: dict[str, list[str]] | None = None

    @classmethod
    def of(cls, graph: Graph) -> FlowPlan:
        """Return the plan of a graph, made once and kept with it: a graph is often run many times."""
        if not graph.prepared:
            graph.prepared.append(cls(graph))
        plan: FlowPlan = graph.prepared[0]
        return plan

    def connected_outputs(self, node_id: str) -> list[str]:
        """Return the output handles of a node that lead somewhere."""
        if self._handles is None:
            self._handles = {}
            for source, handle in self.graph.targets:
                self._handles.setdefault(source, []).append(handle)
        return self._handles.get(node_id, [])
