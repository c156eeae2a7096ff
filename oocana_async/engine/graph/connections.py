"""Who is connected to whom in one flow file, and which values are fixed at load time (flow-format.md 2.3, 2.4)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET, UnsetType

from oocana_async.engine.graph.graph import FlowTarget, NodeTarget, Target
from oocana_async.engine.manifests.manifest import (
    FlowManifest,
    FromFlow,
    FromNode,
    InputFrom,
    Inputs,
    SlotEntry,
    Spot,
    SubflowPart,
)
from oocana_async.suggestions import suggest

Warn = Callable[[Spot, str, str, str], None]
"""Called with place, code, message and hint of what is ignored."""


def runtime_handle(slot_node_id: str, handle: str) -> str:
    """Return the name under which an added input of a slot travels through the subflow (flow-format.md 2.5)."""
    return f"runtime::{slot_node_id}-{handle}"


@dataclass(slots=True)
class Feed:
    """What feeds one input handle of one node.

    Attributes:
        own: the `value` of its first entry, UNSET when none is given.
        from_values: what connected value nodes hold, UNSET for a handle without value.
        sources: (node id, output handle) of real connections.
        from_flow: how many real connections come from the flow's inputs.
        cached: whether `serialize_for_cache` is set.
    """

    own: Any | UnsetType = UNSET
    from_values: list[Any] = field(default_factory=list)
    sources: list[tuple[str, str]] = field(default_factory=list)
    from_flow: int = 0
    cached: bool = False

    @property
    def connected(self) -> bool:
        """Whether there is a real connection: the handle has a queue then."""
        return bool(self.sources) or self.from_flow > 0

    @property
    def static(self) -> Any | UnsetType:
        """The fixed value, UNSET when there is none: a single value node beats the entry's own value."""
        if self.connected:
            return UNSET
        return self.from_values[0] if len(self.from_values) == 1 else self.own


@dataclass(slots=True)
class Connections:
    """All connections of a flow.

    Attributes:
        feeds: node id -> input handle -> what feeds it, for every handle that is mentioned.
        targets: (node id, output handle) -> where its values go, flow outputs first.
        input_targets: the same for the flow's inputs.
    """

    feeds: dict[str, dict[str, Feed]] = field(default_factory=dict)
    targets: dict[tuple[str, str], list[Target]] = field(default_factory=dict)
    input_targets: dict[str, list[Target]] = field(default_factory=dict)


def connect(flow: FlowManifest, inputs_def: Inputs | None, warn: Warn) -> Connections:
    """Connect the nodes of a flow whose inputs are `inputs_def`; what cannot be connected is warned about."""
    return _Connecting(flow, inputs_def or {}, warn).run()


class _Connecting:
    def __init__(self, flow: FlowManifest, flow_inputs: Inputs, warn: Warn) -> None:
        self._flow = flow
        self._flow_inputs = flow_inputs
        self._warn = warn
        self._live = {node.node_id for node in flow.live()}
        self._values = flow.value_nodes()
        self._ignored = {node.node_id for node in flow.nodes if node.ignore}
        self._found = Connections()

    def run(self) -> Connections:
        for entry in self._flow.outputs_from:
            self._connect_output(entry)
        for node in self._flow.live():
            for entry in node.inputs_from:
                self._connect_input(node.node_id, entry.handle, entry)
            if isinstance(node.part, SubflowPart):
                self._connect_slots(node.node_id, node.part.slots)
        return self._found

    def _connect_slots(self, node_id: str, slots: Iterable[SlotEntry]) -> None:
        for slot in slots:
            for entry in slot.inputs_from:
                self._connect_input(node_id, runtime_handle(slot.slot_node_id, entry.handle), entry)

    def _connect_output(self, entry: InputFrom) -> None:
        target = FlowTarget(entry.handle)
        for source in entry.from_node:
            if source.node_id in self._live:
                self._found.targets.setdefault((source.node_id, source.output_handle), []).append(target)
            else:
                self._warn_unknown(source)
        for start in entry.from_flow:
            self._found.input_targets.setdefault(start.input_handle, []).append(target)

    def _connect_input(self, node_id: str, handle: str, entry: InputFrom) -> None:
        feeds = self._found.feeds.setdefault(node_id, {})
        feed = feeds.get(handle)
        if feed is None:
            feed = feeds[handle] = Feed(own=entry.value)
        feed.cached = feed.cached or entry.serialize_for_cache
        target = NodeTarget(node_id, handle)
        for source in entry.from_node:
            self._connect_node(feed, source, target)
        for start in entry.from_flow:
            self._connect_flow(feed, start, target)

    def _connect_node(self, feed: Feed, source: FromNode, target: NodeTarget) -> None:
        value_node = self._values.get(source.node_id)
        if value_node is not None:
            definition = value_node.values.get(source.output_handle)
            if definition is None:
                message = f'the value node "{source.node_id}" has no handle "{source.output_handle}"'
                hint = suggest(source.output_handle, value_node.values)
                self._warn(source.at, "unknown-handle", f"{message}, the connection is ignored", hint)
            else:
                feed.from_values.append(definition.value)
        elif source.node_id in self._live:
            key = (source.node_id, source.output_handle)
            feed.sources.append(key)
            self._found.targets.setdefault(key, []).append(target)
        else:
            self._warn_unknown(source)

    def _connect_flow(self, feed: Feed, start: FromFlow, target: NodeTarget) -> None:
        if start.input_handle in self._flow_inputs:
            feed.from_flow += 1
            self._found.input_targets.setdefault(start.input_handle, []).append(target)
            return
        message = f'the flow has no input "{start.input_handle}", the connection is ignored'
        self._warn(start.at, "unknown-flow-input", message, suggest(start.input_handle, self._flow_inputs))

    def _warn_unknown(self, source: FromNode) -> None:
        if source.node_id in self._ignored:
            message = f'the node "{source.node_id}" is ignored, and so is the connection from it'
            self._warn(source.at, "ignored-node", message, "")
            return
        if source.node_id in self._values:
            message = f'the value node "{source.node_id}" cannot feed an output of the flow, the connection is ignored'
            self._warn(source.at, "value-node-output", message, "")
            return
        known: Collection[str] = [*self._live, *self._values]
        message = f'the flow has no node "{source.node_id}", the connection is ignored'
        self._warn(source.at, "unknown-node", message, suggest(source.node_id, sorted(known)))
