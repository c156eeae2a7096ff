"""What a condition node decides, given its inputs (flow-format.md 5.9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from oocana_async.engine.graph.graph import Node
from oocana_async.engine.manifests.blocks import ConditionBlock, ConditionCase, Expression
from oocana_async.engine.manifests.operators import OPERATORS
from oocana_async.wire.messages.shared import RawMap


def holds(expression: Expression, inputs: Mapping[str, Any]) -> bool:
    """Tell whether one expression is true; an input that is missing counts as null."""
    return OPERATORS[expression.operator](inputs.get(expression.input_handle), expression.value)


def matches(case: ConditionCase, inputs: Mapping[str, Any]) -> bool:
    """Tell whether a case is chosen; one without expressions never is."""
    if not case.expressions:
        return False
    combine = all if case.logical == "AND" else any
    return combine(holds(expression, inputs) for expression in case.expressions)


def choose(block: ConditionBlock, inputs: Mapping[str, Any]) -> str | None:
    """Return the output handle of the first case that matches, the default's, or None."""
    return next((case.handle for case in block.cases if matches(case, inputs)), block.default)


def evaluate(node: Node, inputs: RawMap) -> RawMap | None:
    """Return what a condition node emits: `{output handle: value of its first declared input}`.

    The value is passed on as it came, not decoded and encoded again: a whole number beyond what JSON readers keep
    exactly, or the order of keys, must not change on the way.

    Returns:
        None when nothing matches, no input is declared, or the first one has no value.
    """
    assert isinstance(node.block, ConditionBlock), f"{node.node_id} is not a condition node"
    handle = choose(node.block, {name: msgspec.json.decode(value) for name, value in inputs.items()})
    # The first one, whatever the expressions looked at, as in the reference.
    first = next(iter(node.inputs_def or ()), None)
    if handle is None or first is None or first not in inputs:
        return None
    return {handle: inputs[first]}
