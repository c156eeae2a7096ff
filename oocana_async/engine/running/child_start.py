"""Decides whether a block may be started by another block, and with which inputs (flow-format.md 5.6, 6.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw

from oocana_async.engine.checks.json_schema import first_fault
from oocana_async.engine.graph.graph import Graph
from oocana_async.engine.manifests.blocks import TaskBlock
from oocana_async.wire.encoding import encode
from oocana_async.wire.messages.session import RunBlock
from oocana_async.wire.messages.shared import NULL, InputHandle, OutputHandle, RawMap

__all__ = ["Child", "Refused", "fill_inputs", "prepare_child"]

_Inputs = Mapping[str, InputHandle]


class Refused(Exception):  # noqa: N818 - an answer, not a fault of ours
    """The child is not started; the text says why."""


class Child(NamedTuple):
    """A block that may be started."""

    inputs: RawMap
    inputs_def: Mapping[str, InputHandle] | None
    outputs_def: Mapping[str, OutputHandle] | None


def fill_inputs(given: RawMap, inputs_def: _Inputs | None) -> RawMap:
    """Return the given inputs with defaults, and null for nullable handles, where they are missing."""
    filled = dict(given)
    for handle, definition in (inputs_def or {}).items():
        if handle not in filled:
            if definition.value is not UNSET:
                filled[handle] = Raw(encode(definition.value))
            elif definition.nullable:
                filled[handle] = NULL
    return filled


def prepare_child(block: TaskBlock | Graph, request: RunBlock) -> Child:
    """Return the inputs and definitions of a child block.

    Raises:
        Refused: Inputs are missing, or do not fit their schemas in a strict request.
    """
    kind = "Task block" if isinstance(block, TaskBlock) else "Subflow block"
    inputs_def, outputs_def = block.inputs_def, block.outputs_def
    if isinstance(block, TaskBlock):
        payload = request.payload
        inputs_def = _extend(inputs_def, payload.additional_inputs_def, InputHandle)
        outputs_def = _extend(outputs_def, payload.additional_outputs_def, OutputHandle)
    inputs = fill_inputs(request.payload.inputs or {}, inputs_def)
    missing = [handle for handle in block.inputs_def or () if handle not in inputs]
    if missing:
        # In the words of the reference, which prints its own type names here (flow-format.md 6.1).
        names = ", ".join(f'HandleName("{handle}")' for handle in missing)
        raise Refused(f"{kind} {request.block} inputs missing these input handles: [{names}]")
    faults = list(_faults(inputs, inputs_def or {})) if request.strict else []
    if faults:
        raise Refused("\n".join([f"{kind} {request.block} has some invalid inputs:", *faults]))
    return Child(inputs, inputs_def, outputs_def)


def _faults(inputs: RawMap, inputs_def: _Inputs) -> Iterable[str]:
    for handle, value in inputs.items():
        schema = inputs_def[handle].json_schema if handle in inputs_def else None
        if schema is not None:
            fault = first_fault(schema, msgspec.json.decode(value))
            if fault is not None:
                text = bytes(value).decode()
                yield f"{handle}: value ({text}) is not valid. validation error: {fault}"


def _extend(own: Mapping[str, Any] | None, more: list[dict[str, Any]] | None, kind: type[Any]) -> Any:
    """Add definitions to a block's own ones; those that do not parse are skipped, as is all if it has none."""
    if own is None:
        return None
    added: dict[str, Any] = {}
    for entry in more or ():
        try:
            handle = msgspec.convert({**entry, "is_additional": True}, kind)
        except msgspec.ValidationError:
            continue
        if handle.nullable and getattr(handle, "value", None) is UNSET:
            handle = msgspec.structs.replace(handle, value=None)
        added.setdefault(handle.handle, handle)
    return {**added, **own}
