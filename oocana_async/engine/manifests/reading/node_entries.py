"""Reading the entries of `nodes` (flow-format.md 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from yaml.nodes import MappingNode, Node, ScalarNode

from oocana_async.engine.manifests.blocks import ConditionBlock
from oocana_async.engine.manifests.findings import listed
from oocana_async.engine.manifests.manifest import (
    ConditionPart,
    Inject,
    NodeManifest,
    Part,
    Reference,
    ServicePart,
    SlotEntry,
    SlotPart,
    SubflowPart,
    TaskManifest,
    TaskPart,
    ValuePart,
)
from oocana_async.engine.manifests.reading.block_entries import CONDITION_KEYS, TASK_KEYS, read_conditions, read_task
from oocana_async.engine.manifests.reading.fields import Fields, Keys
from oocana_async.engine.manifests.reading.handle_entries import read_inputs, read_inputs_from, read_outputs
from oocana_async.engine.manifests.yaml import Document, describe, place_of
from oocana_async.suggestions import nearest

_COMMON: Final = ("node_id", "inputs_from", "concurrency", "timeout", "progress_weight", "ignore", "description")
_UNREAD: Final = ("icon", "outputs_def", "inputs_def", "outputs_from")
_INJECT_KEYS: Final = Keys("package", "node_id", "script")
_SLOT_KEYS: Final = Keys("inputs_def", "outputs_def", ignored=("inputs_from", "outputs_from"))
_PROVIDER_KEYS: Final = Keys(
    "slot_node_id", "task", "subflow", "slotflow", "inputs_def", "inputs_from", ignored=("outputs_def",)
)
_PROVIDERS: Final = ("task", "subflow", "slotflow")


def read_node(doc: Document, node: Node) -> NodeManifest | None:
    """Read one entry of `nodes`, None after a fault that leaves no node."""
    if not isinstance(node, MappingNode):
        doc.fault(node, f"a node must be a mapping, found {describe(node)}")
        return None
    doc.untagged(node)
    written = {key.value for key, _ in node.value if isinstance(key, ScalarNode)}
    kind = next((kind for kind in _KINDS if kind in written), None)
    if kind is None:
        _refuse(doc, node, written)
        return None
    keys, read_part = _KINDS[kind]
    fields = Fields(doc, node, keys)
    part = read_part(fields)
    node_id = fields.text("node_id")
    if kind == "values":
        return NodeManifest(node_id, part, place_of(node), ignore=fields.flag("ignore")) if part is not None else None
    found = _read_common(fields, node_id, part)
    _warn_second_kind(fields, kind)
    return found


def _read_common(fields: Fields, node_id: str, part: Part | None) -> NodeManifest | None:
    inputs_from = read_inputs_from(fields, "inputs_from")
    concurrency = fields.int32("concurrency", 1)
    timeout = fields.seconds("timeout")
    weight = fields.number("progress_weight", 1.0)
    ignore = fields.flag("ignore")
    description = fields.optional_text("description")
    if part is None:
        return None
    return NodeManifest(
        node_id, part, place_of(fields.node), inputs_from, concurrency, timeout, weight, ignore, description
    )


def _refuse(doc: Document, node: MappingNode, written: set[str]) -> None:
    name = next((v.value for k, v in node.value if k.value == "node_id" and isinstance(v, ScalarNode)), None)
    subject = f'the node "{name}"' if name is not None else "a node"
    known = frozenset(_COMMON)
    others = sorted(key for key in written if key not in known)
    found = f"found {', '.join(others)}" if others else "found none of them"
    near = ((other, nearest(other, tuple(_KINDS))) for other in others)
    hint = next((f'is "{other}" meant to be "{kind}"?' for other, kind in near if kind is not None), "")
    doc.fault(node, f"{subject} has no kind, expected one of the keys {listed(tuple(_KINDS))}; {found}", hint)


def _warn_second_kind(fields: Fields, kind: str) -> None:
    second = [other for other in _KINDS if other != kind and other in fields]
    if second:
        fields.doc.warn(fields.node, "two-kinds", f"this is a {kind} node, its key {listed(second)} is ignored")


def _reference(fields: Fields, key: str) -> Reference | None:
    node = fields.require(key)
    text = fields.as_text(key, node) if node is not None else None
    return Reference(text, place_of(node)) if text is not None and node is not None else None


def _read_task_part(fields: Fields) -> TaskPart | None:
    task = _read_task_reference(fields)
    inputs_def = read_inputs(fields, "inputs_def")
    outputs_def = read_outputs(fields, "outputs_def")
    node = fields.option("inject")
    inject = fields.mapping("inject", node, _INJECT_KEYS) if node is not None else None
    found = _read_inject(inject) if inject is not None else None
    return TaskPart(task, inputs_def, outputs_def, found) if task is not None else None


def _read_task_reference(fields: Fields) -> Reference | TaskManifest | None:
    node = fields.get("task")
    if isinstance(node, MappingNode):
        inline = fields.mapping("task", node, TASK_KEYS)
        return read_task(inline) if inline is not None else None
    if isinstance(node, ScalarNode) and isinstance(text := fields.doc.scalar(node), str):
        return Reference(text, place_of(node))
    if node is not None:
        fields.wrong("task", node, "a reference (text) or an inline task (a mapping with executor)")
    return None


def _read_inject(fields: Fields) -> Inject:
    return Inject(fields.optional_text("package"), fields.optional_text("node_id"), fields.optional_text("script"))


def _read_subflow_part(fields: Fields) -> SubflowPart | None:
    subflow = _reference(fields, "subflow")
    slots = fields.each("slots", _PROVIDER_KEYS, _read_slot_entry) or ()
    return SubflowPart(subflow, tuple(slots)) if subflow is not None else None


def _read_slot_entry(fields: Fields) -> SlotEntry | None:
    slot_node_id = fields.text("slot_node_id")
    kind = next((kind for kind in _PROVIDERS if kind in fields), None)
    if kind is None:
        fields.doc.fault(fields.node, f"the slot has no provider, expected one of the keys {listed(_PROVIDERS)}")
        return None
    reference = _reference(fields, kind)
    if reference is None:
        return None
    if kind != "slotflow":
        return SlotEntry(slot_node_id, kind, reference, place_of(fields.node))
    inputs_def, inputs_from = read_inputs(fields, "inputs_def"), read_inputs_from(fields, "inputs_from")
    return SlotEntry(slot_node_id, kind, reference, place_of(fields.node), inputs_def, inputs_from)


def _read_slot_part(fields: Fields) -> SlotPart | None:
    node = fields.require("slot")
    slot = fields.mapping("slot", node, _SLOT_KEYS) if node is not None else None
    if slot is None:
        return None
    return SlotPart(read_inputs(slot, "inputs_def", groups=True), read_outputs(slot, "outputs_def", groups=True))


def _read_service_part(fields: Fields) -> ServicePart | None:
    service = _reference(fields, "service")
    return ServicePart(service) if service is not None else None


def _read_condition_part(fields: Fields) -> ConditionPart:
    inputs_def = read_inputs(fields, "inputs_def")
    node = fields.require("conditions")
    conditions = fields.mapping("conditions", node, CONDITION_KEYS) if node is not None else None
    return ConditionPart(read_conditions(conditions) if conditions is not None else ConditionBlock(), inputs_def)


def _read_value_part(fields: Fields) -> ValuePart:
    node = fields.get("values")
    if node is not None and fields.option("values") is None:
        fields.wrong("values", node, "a list")
    return ValuePart(read_inputs(fields, "values") or {})


_KINDS: Final[Mapping[str, tuple[Keys, Callable[[Fields], Part | None]]]] = {
    "task": (Keys(*_COMMON, "task", "inputs_def", "outputs_def", "inject", ignored=_UNREAD), _read_task_part),
    "subflow": (Keys(*_COMMON, "subflow", "slots", ignored=_UNREAD), _read_subflow_part),
    "slot": (Keys(*_COMMON, "slot", ignored=_UNREAD), _read_slot_part),
    "service": (Keys(*_COMMON, "service", ignored=_UNREAD), _read_service_part),
    "conditions": (Keys(*_COMMON, "conditions", "inputs_def", ignored=_UNREAD), _read_condition_part),
    "values": (Keys("node_id", "values", "ignore", "description", ignored=(*_COMMON, *_UNREAD)), _read_value_part),
}
"""The key that marks a kind, in the order in which they are tried, to the keys and the reader of that kind."""
