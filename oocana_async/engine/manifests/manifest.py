"""What is written in manifests, before anything is looked up or connected (flow-format.md 1.1, 2, 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from msgspec import UNSET, UnsetType

from oocana_async.engine.manifests.blocks import ConditionBlock, ServiceExecutor, TaskExecutor
from oocana_async.wire.messages.shared import HandlePatch, InputHandle, OutputHandle

Spot: TypeAlias = tuple[int, int]
"""1-based line and column."""

Inputs: TypeAlias = Mapping[str, InputHandle]
Outputs: TypeAlias = Mapping[str, OutputHandle]


@dataclass(frozen=True, slots=True)
class FromNode:
    """A connection from an output of a node."""

    node_id: str
    output_handle: str
    at: Spot


@dataclass(frozen=True, slots=True)
class FromFlow:
    """A connection from an input of the flow itself."""

    input_handle: str
    at: Spot


@dataclass(frozen=True, slots=True)
class InputFrom:
    """One entry of `inputs_from` or `outputs_from`; `value` is UNSET when nothing is given."""

    handle: str
    at: Spot
    value: Any | UnsetType = UNSET
    from_node: tuple[FromNode, ...] = ()
    from_flow: tuple[FromFlow, ...] = ()
    patches: tuple[HandlePatch, ...] = ()
    serialize_for_cache: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """A block that is named, not written inline."""

    text: str
    at: Spot


@dataclass(frozen=True, slots=True)
class TaskManifest:
    """A task block, from a file or inline."""

    executor: TaskExecutor
    at: Spot
    inputs_def: Inputs | None = None
    outputs_def: Outputs | None = None
    additional_inputs: bool = False
    additional_outputs: bool = False
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Inject:
    """`inject` of a task node."""

    package: str | None = None
    node_id: str | None = None
    script: str | None = None


@dataclass(frozen=True, slots=True)
class TaskPart:
    """What only a task node has."""

    task: Reference | TaskManifest
    inputs_def: Inputs | None = None
    outputs_def: Outputs | None = None
    inject: Inject | None = None


@dataclass(frozen=True, slots=True)
class SlotEntry:
    """One entry of `slots`: `kind` is "task", "subflow" or "slotflow"."""

    slot_node_id: str
    kind: str
    reference: Reference
    at: Spot
    inputs_def: Inputs | None = None
    inputs_from: tuple[InputFrom, ...] = ()


@dataclass(frozen=True, slots=True)
class SubflowPart:
    """What only a subflow node has."""

    subflow: Reference
    slots: tuple[SlotEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class SlotPart:
    """What only a slot node has."""

    inputs_def: Inputs | None = None
    outputs_def: Outputs | None = None


@dataclass(frozen=True, slots=True)
class ServicePart:
    """What only a service node has."""

    service: Reference


@dataclass(frozen=True, slots=True)
class ConditionPart:
    """What only a condition node has."""

    conditions: ConditionBlock
    inputs_def: Inputs | None = None


@dataclass(frozen=True, slots=True)
class ValuePart:
    """What only a value node has."""

    values: Inputs


Part: TypeAlias = TaskPart | SubflowPart | SlotPart | ServicePart | ConditionPart | ValuePart


@dataclass(frozen=True, slots=True)
class NodeManifest:
    """One entry of `nodes`."""

    node_id: str
    part: Part
    at: Spot
    inputs_from: tuple[InputFrom, ...] = ()
    concurrency: int = 1
    timeout: int | None = None
    weight: float = 1.0
    ignore: bool = False
    description: str | None = None


@dataclass(frozen=True, slots=True)
class FlowManifest:
    """A flow, subflow or slotflow file."""

    path: Path
    nodes: tuple[NodeManifest, ...] = ()
    inputs_def: Inputs | None = None
    outputs_def: Outputs | None = None
    outputs_from: tuple[InputFrom, ...] = ()
    description: str | None = None
    injection: Mapping[str, str] = field(default_factory=dict)
    forward_previews: tuple[str, ...] = ()

    def live(self) -> Iterator[NodeManifest]:
        """Yield the nodes that can run: neither ignored nor value nodes."""
        return (node for node in self.nodes if not node.ignore and not isinstance(node.part, ValuePart))

    def value_nodes(self) -> dict[str, ValuePart]:
        """Return the value nodes that are not ignored."""
        return {node.node_id: node.part for node in self.nodes if isinstance(node.part, ValuePart) and not node.ignore}


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """One entry of `blocks` in a service file."""

    name: str
    inputs_def: Inputs | None = None
    outputs_def: Outputs | None = None


@dataclass(frozen=True, slots=True)
class ServiceManifest:
    """A service file; `executor` is None when its name is missing, then no block of it can run."""

    path: Path
    executor: ServiceExecutor | None
    blocks: Mapping[str, ServiceEntry]


@dataclass(frozen=True, slots=True)
class PackageManifest:
    """What is read of a package file."""

    name: str | None = None
    version: str | None = None
    dependencies: Mapping[str, str] = field(default_factory=dict)
