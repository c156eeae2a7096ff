"""Reading handle definitions and connections (flow-format.md 2.3, 3)."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from oocana_async.engine.manifests.manifest import FromFlow, FromNode, InputFrom, Inputs, Outputs
from oocana_async.engine.manifests.reading.fields import Fields, Keys
from oocana_async.engine.manifests.yaml import place_of
from oocana_async.wire.messages.shared import HandlePatch, InputHandle, OutputHandle

INPUT_KEYS: Final = Keys(
    "handle", "description", "json_schema", "kind", "nullable", "value", ignored=("group", "cache", "executor_name")
)
OUTPUT_KEYS: Final = Keys(
    "handle",
    "description",
    "json_schema",
    "kind",
    "nullable",
    "is_additional",
    "_serialize_for_cache",
    ignored=("group", "executor_name", "value"),
)
INPUT_FROM_KEYS: Final = Keys(
    "handle",
    "value",
    "schema_overrides",
    "from_flow",
    "from_node",
    "serialize_for_cache",
    ignored=("nullable", "json_schema"),
)
_FROM_NODE_KEYS: Final = Keys("node_id", "output_handle")
_FROM_FLOW_KEYS: Final = Keys("input_handle")
_PATCH_KEYS: Final = Keys("path", "schema")
_SECRET: Final = "oomol/secret"  # noqa: S105 - a content media type


def read_inputs(fields: Fields, key: str, *, groups: bool = False) -> Inputs | None:
    """Read a list of input handles, None when the key is absent or null."""
    found: dict[str, InputHandle] = {}
    for entry in _entries(fields, key, INPUT_KEYS, groups=groups):
        handle = entry.text("handle")
        _warn_repeated(entry, handle, found)
        nullable = entry.optional_flag("nullable")
        value = entry.json("value") if "value" in entry else (None if nullable else UNSET)
        found[handle] = InputHandle(
            handle,
            entry.optional_text("description"),
            entry.json("json_schema"),
            entry.optional_text("kind"),
            nullable,
            value,
        )
    return None if fields.option(key) is None else found


def read_outputs(fields: Fields, key: str, *, groups: bool = False) -> Outputs | None:
    """Read a list of output handles, None when the key is absent or null."""
    found: dict[str, OutputHandle] = {}
    for entry in _entries(fields, key, OUTPUT_KEYS, groups=groups):
        handle = entry.text("handle")
        _warn_repeated(entry, handle, found)
        found[handle] = OutputHandle(
            handle,
            entry.optional_text("description"),
            entry.json("json_schema"),
            entry.optional_text("kind"),
            entry.optional_flag("nullable"),
            entry.flag("is_additional"),
            entry.flag("_serialize_for_cache"),
        )
    return None if fields.option(key) is None else found


def _entries(fields: Fields, key: str, keys: Keys, *, groups: bool) -> list[Fields]:
    found = []
    for item in fields.items(key, fields.option(key)):
        entry = fields.mapping(f"an entry of {key}", item, keys)
        if entry is None or (groups and _is_group(entry)):
            continue
        if "group" in entry and "handle" not in entry:
            fields.doc.fault(item, f'"{key}" may not have group entries here, expected handles only')
            continue
        found.append(entry)
    return found


def _is_group(entry: Fields) -> bool:
    node = entry.get("group")
    return "handle" not in entry and isinstance(node, ScalarNode) and isinstance(entry.doc.scalar(node), str)


def _warn_repeated(entry: Fields, handle: str, found: dict[str, Any]) -> None:
    if handle in found:
        entry.doc.warn(entry.node, "repeated-handle", f'the handle "{handle}" is declared twice, the last one counts')


def read_inputs_from(fields: Fields, key: str) -> tuple[InputFrom, ...]:
    """Read a list of `inputs_from` entries, empty when the key is absent or null."""
    return tuple(fields.each(key, INPUT_FROM_KEYS, _read_input_from) or ())


def _read_input_from(entry: Fields) -> InputFrom:
    return InputFrom(
        entry.text("handle"),
        place_of(entry.node),
        entry.json("value") if "value" in entry else UNSET,
        tuple(entry.each("from_node", _FROM_NODE_KEYS, _read_from_node) or ()),
        tuple(entry.each("from_flow", _FROM_FLOW_KEYS, _read_from_flow) or ()),
        tuple(entry.each("schema_overrides", _PATCH_KEYS, _read_patch) or ()),
        entry.flag("serialize_for_cache"),
    )


def _read_from_node(entry: Fields) -> FromNode:
    return FromNode(entry.text("node_id"), entry.text("output_handle"), place_of(entry.node))


def _read_from_flow(entry: Fields) -> FromFlow:
    return FromFlow(entry.text("input_handle"), place_of(entry.node))


def _read_patch(entry: Fields) -> HandlePatch | None:
    """Return the override if it is one that reaches the executor: a secret somewhere in the value."""
    path = _read_path(entry)
    node = entry.option("schema")
    if node is None:
        return None
    if not isinstance(node, MappingNode):
        entry.wrong("schema", node, "a mapping")
        return None
    schema = entry.doc.json(node)
    if schema.get("contentMediaType") != _SECRET:
        return None
    return HandlePatch(path, {"contentMediaType": _SECRET})


def _read_path(entry: Fields) -> str | int | list[str | int] | None:
    node = entry.option("path")
    if node is None:
        return None
    if isinstance(node, SequenceNode):
        return [step for item in node.value if (step := _read_step(entry, item)) is not None]
    return _read_step(entry, node)


def _read_step(entry: Fields, node: Node) -> str | int | None:
    value = entry.doc.scalar(node) if isinstance(node, ScalarNode) else None
    if isinstance(value, str) or (type(value) is int and value >= 0):
        return value
    entry.wrong("path", node, "a key, an index of at least 0, or a list of these")
    return None
