"""What one use of a subflow puts into its slots (flow-format.md 2.5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from msgspec import UNSET
from msgspec.structs import replace

from oocana_async.engine.graph.connections import Feed, runtime_handle
from oocana_async.engine.graph.graph import SlotBlock
from oocana_async.engine.manifests.manifest import FlowManifest, Inputs, SlotEntry, SlotPart, Spot
from oocana_async.suggestions import suggest
from oocana_async.wire.messages.shared import InputHandle

Warn = Callable[[Spot, str, str, str], None]


@dataclass(frozen=True, slots=True)
class Fill:
    """What fills one slot.

    Attributes:
        block: the provider and its scope.
        added: inputs that the entry adds to the slot node.
        feeds: what feeds them, seen from the outer flow.
    """

    block: SlotBlock
    added: Mapping[str, InputHandle] = field(default_factory=dict)
    feeds: Mapping[str, Feed] = field(default_factory=dict)

    @property
    def remembered(self) -> frozenset[str]:
        """Added inputs that come through the subflow: one outer value serves every run of the slot."""
        return frozenset(handle for handle in self.added if self.feeds[handle].connected)

    def inner_feeds(self) -> dict[str, Feed]:
        """Return what feeds the added inputs inside the subflow: its own input, or a fixed value."""
        return {
            handle: Feed(from_flow=1) if feed.connected else Feed(own=feed.static)
            for handle, feed in self.feeds.items()
        }


def slot_parts(subflow: FlowManifest) -> dict[str, SlotPart]:
    """Return the slots of a subflow by node id."""
    return {node.node_id: node.part for node in subflow.live() if isinstance(node.part, SlotPart)}


def usable_entries(
    entries: tuple[SlotEntry, ...], slots: Mapping[str, SlotPart], warn: Warn
) -> list[tuple[SlotEntry, SlotPart]]:
    """Return the entries that name a slot of the subflow; the others are warned about."""
    found = []
    for entry in entries:
        slot = slots.get(entry.slot_node_id)
        if slot is None:
            message = f'the subflow has no slot "{entry.slot_node_id}", the entry is ignored'
            warn(entry.at, "unknown-slot", message, suggest(entry.slot_node_id, slots))
        else:
            found.append((entry, slot))
    return found


def added_definitions(entry: SlotEntry, slot: SlotPart) -> Inputs:
    """Return what an entry adds to a slot node: never a handle that the slot has itself."""
    own = slot.inputs_def or {}
    return {h: replace(d, is_additional=True) for h, d in (entry.inputs_def or {}).items() if h not in own}


def slotflow_inputs(entry: SlotEntry, slot: SlotPart) -> Inputs | None:
    """Return the `inputs_def` that a slotflow has in a slot: the slot's, and what the entry adds."""
    if slot.inputs_def is None and entry.inputs_def is None:
        return None
    own = slot.inputs_def or {}
    return {**own, **{h: d for h, d in (entry.inputs_def or {}).items() if h not in own}}


def outer_inputs(slot_node_id: str, added: Mapping[str, InputHandle]) -> Inputs:
    """Return the inputs that the subflow node gets for the added ones."""
    names = {handle: runtime_handle(slot_node_id, handle) for handle in added}
    return {name: replace(added[handle], handle=name) for handle, name in names.items()}


def added_feeds(
    entry: SlotEntry, added: Mapping[str, InputHandle], feeds: Mapping[str, Feed], warn: Warn
) -> dict[str, Feed]:
    """Return what feeds the added inputs in the outer flow; an input without anything is warned about."""
    found = {}
    for handle in added:
        feed = feeds.get(runtime_handle(entry.slot_node_id, handle), Feed())
        if not feed.connected and feed.static is UNSET:
            message = f'the input "{handle}" that is added to the slot "{entry.slot_node_id}" gets no value'
            warn(entry.at, "unfed-slot-input", f"{message}, so the node never runs", "")
        found[handle] = feed
    return found


def warn_about_strays(entry: SlotEntry, added: Mapping[str, InputHandle], warn: Warn) -> None:
    """Warn about connections of a slot entry to inputs that it does not add."""
    for connection in entry.inputs_from:
        if connection.handle not in added:
            message = f'the input "{connection.handle}" is not added to the slot "{entry.slot_node_id}" by "inputs_def"'
            warn(connection.at, "unknown-handle", f"{message}, its value is ignored", suggest(connection.handle, added))
