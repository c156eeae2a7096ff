"""The definitions that a block sees are its own: what it does with them changes nothing about its handles."""

from __future__ import annotations

from typing import Any

import pytest

from oocana_async import Context
from oocana_async.testing import run_scriptlet_sync
from tests.context.bench import Bench

VAR = {"handle": "frame", "json_schema": {"contentMediaType": "oomol/var"}}


def pops(params: dict[str, Any], context: Context) -> dict[str, Any]:
    """Do what a block in the wild does."""
    context.outputs_def["frame"]["json_schema"].pop("contentMediaType")
    context.inputs_def["size"].pop("handle")
    return {"frame": NotJson()}


async def pops_async(params: dict[str, Any], context: Context) -> dict[str, Any]:
    context.outputs_def["frame"]["json_schema"].pop("contentMediaType")
    await context.output("frame", NotJson())
    return {}


class NotJson:
    """Travels by reference only."""


@pytest.mark.parametrize("block", [pops, pops_async])
def test_output_travels_as_the_manifest_says_whatever_the_block_does_to_its_schema(block: Any) -> None:
    record = run_scriptlet_sync(block, {"size": 1}, outputs_def=[VAR])
    assert record.warnings == []
    sent = [one.value for one in record.outputs] or [(record.result or {})["frame"]]
    assert [type(one) for one in sent] == [NotJson]


@pytest.mark.anyio
async def test_block_sees_its_own_changes_and_nobody_else_does(bench: Bench) -> None:
    parts = bench.parts("out")
    one, other = Context(parts), Context(parts)
    one.outputs_def["out"]["handle"] = "changed"
    one.inputs_def["width"]["more"] = [1]
    assert one.outputs_def == {"out": {"handle": "changed"}}
    assert (other.outputs_def, other.inputs_def) == ({"out": {"handle": "out"}}, {"width": {"handle": "width"}})
