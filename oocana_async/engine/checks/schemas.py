"""Values that contradict the json_schema of their handle; without the extra `schema` the commonest keywords count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET

from oocana_async.engine.checks.json_schema import first_fault
from oocana_async.engine.checks.subject import Subject, at_place
from oocana_async.engine.graph.graph import Graph
from oocana_async.engine.manifests.blocks import TaskBlock
from oocana_async.engine.manifests.findings import Finding
from oocana_async.wire.messages.shared import InputHandle

_NOT_FETCHED: Final = "is not fetched while a flow is checked"


def check_values(subject: Subject) -> Iterator[Finding]:
    """Yield the static values of nodes that their handle does not allow."""
    for node in subject.graph.nodes.values():
        for handle, value in node.static.items():
            definition = (node.inputs_def or {})[handle]
            reason = "" if handle in node.patches else contradiction(definition, value)
            if reason:
                message = (
                    f'the value of input "{handle}" of node "{node.node_id}" contradicts its json_schema: {reason}'
                )
                yield subject.finding("warning", "schema", subject.entry_spot(node, handle), message)


def check_defaults(block: Graph | TaskBlock) -> Iterator[Finding]:
    """Yield the defaults of a block that its own handles do not allow."""
    path = block.path if isinstance(block, Graph) else (block.path or block.directory)
    place = None if isinstance(block, Graph) else block.source
    for handle, definition in (block.inputs_def or {}).items():
        reason = contradiction(definition, definition.value) if definition.value is not UNSET else ""
        if reason:
            message = f'the default of input "{handle}" contradicts its json_schema: {reason}'
            yield at_place(place, path, "warning", "schema", message)


def contradiction(definition: InputHandle, value: Any) -> str:
    """Return why a handle does not allow a value, an empty text when it does or nobody can tell."""
    schema = definition.json_schema
    if not isinstance(schema, Mapping) or (value is None and definition.nullable):
        return ""
    if str(schema.get("contentMediaType", "")).startswith("oomol/"):
        return ""
    try:
        import jsonschema_rs
    except ImportError:
        return first_fault(schema, value) or ""
    try:
        validator = jsonschema_rs.validator_for(dict(schema), retriever=_refuse)
    except ValueError as error:
        if _NOT_FETCHED in str(error):
            return ""
        return f"the json_schema itself is wrong: {str(error).splitlines()[0]}"
    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        return str(error.message)
    return ""


def _refuse(address: str) -> Any:
    raise ValueError(f"{address} {_NOT_FETCHED}")
