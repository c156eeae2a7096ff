"""Making the nodes of a graph: definitions after additions, fixed values, queues, patches (flow-format.md 2.2, 2.3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from oocana_async.engine.graph.connections import Feed
from oocana_async.engine.graph.graph import Block, Node, Scope
from oocana_async.engine.manifests.blocks import ConditionBlock, Place
from oocana_async.engine.manifests.manifest import Inputs, NodeManifest, Outputs, TaskPart
from oocana_async.wire.messages.shared import HandlePatch, OutputHandle

HERE: Final = Scope()
"""The shared process of the flow's own scope."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a node of any kind brings along: its block and what that block declares."""

    block: Block
    inputs_def: Inputs | None = None
    outputs_def: Outputs | None = None
    scope: Scope = HERE
    remembered: frozenset[str] = frozenset()
    inject_node: str | None = None
    weight: float | None = None
    feeds: Mapping[str, Feed] = field(default_factory=dict)


def make_node(manifest: NodeManifest, place: Place, shape: Shape, cached_outputs: Collection[str]) -> Node:
    """Return the node of one manifest entry.

    Args:
        manifest: what is written.
        place: where it is written.
        shape: its block, definitions, and what feeds its handles.
        cached_outputs: output handles whose values must be serialised for the cache.
    """
    declared = shape.inputs_def or {}
    static = {handle: feed.static for handle, feed in shape.feeds.items() if handle in declared}
    return Node(
        manifest.node_id,
        shape.block,
        manifest.concurrency,
        manifest.timeout,
        manifest.weight if shape.weight is None else shape.weight,
        manifest.description,
        _with_cache_flags(shape.inputs_def, shape.feeds),
        _serialised(shape.outputs_def, cached_outputs),
        {handle: value for handle, value in static.items() if value is not UNSET},
        frozenset(handle for handle, feed in shape.feeds.items() if feed.connected),
        shape.remembered,
        _patches(manifest),
        shape.inject_node,
        shape.scope,
        place,
    )


def _with_cache_flags(inputs_def: Inputs | None, feeds: Mapping[str, Feed]) -> Inputs | None:
    flagged = [handle for handle, feed in feeds.items() if feed.cached and inputs_def and handle in inputs_def]
    if not flagged or inputs_def is None:
        return inputs_def
    return {**inputs_def, **{handle: replace(inputs_def[handle], deserialize_from_cache=True) for handle in flagged}}


def _serialised(outputs_def: Outputs | None, handles: Collection[str]) -> Outputs | None:
    if not handles or outputs_def is None:
        return outputs_def
    flags = {h: replace(outputs_def[h], serialize_for_cache=True) for h in handles if h in outputs_def}
    return {**outputs_def, **flags}


def _patches(manifest: NodeManifest) -> dict[str, tuple[HandlePatch, ...]]:
    return {entry.handle: entry.patches for entry in manifest.inputs_from if entry.patches}


def added_inputs(block_inputs: Inputs | None, part: TaskPart, *, allowed: bool) -> Inputs | None:
    """Return a task's inputs with what its node adds; the task's own are never replaced."""
    if not allowed or part.inputs_def is None:
        return block_inputs
    own = block_inputs or {}
    return {**own, **{h: replace(d, is_additional=True) for h, d in part.inputs_def.items() if h not in own}}


def added_outputs(block_outputs: Outputs | None, part: TaskPart, *, allowed: bool) -> Outputs | None:
    """Return a task's outputs with what its node adds, which needs a task that declares outputs of its own."""
    if not allowed or part.outputs_def is None or block_outputs is None:
        return block_outputs
    added = {h: replace(d, is_additional=True) for h, d in part.outputs_def.items() if h not in block_outputs}
    return {**block_outputs, **added}


def condition_outputs(block: ConditionBlock, inputs_def: Inputs | None) -> Outputs | None:
    """Return the output handles of a condition node: all of them carry the value of its first input."""
    first = next(iter((inputs_def or {}).values()), None)
    if first is None:
        return None
    handles = [case.handle for case in block.cases] + ([block.default] if block.default is not None else [])
    return {handle: OutputHandle(handle, None, first.json_schema, first.kind, first.nullable) for handle in handles}


def serialised_outputs(feeds: Mapping[str, Mapping[str, Feed]]) -> dict[str, set[str]]:
    """Return node id -> output handles that feed an input with `serialize_for_cache`."""
    found: dict[str, set[str]] = {}
    for feed in (feed for handles in feeds.values() for feed in handles.values() if feed.cached):
        for node_id, handle in feed.sources:
            found.setdefault(node_id, set()).add(handle)
    return found
