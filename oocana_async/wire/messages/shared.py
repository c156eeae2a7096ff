"""Shapes that several wire messages share: stacks, handle definitions, output targets (protocol.md 3.0, 3.3, 3.4)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

__all__ = [
    "NULL",
    "HandlePatch",
    "InputHandle",
    "OutputHandle",
    "OutputOptions",
    "OutputTarget",
    "RawMap",
    "StackFrame",
    "TargetFlow",
    "TargetNode",
]

NULL = Raw(b"null")
"""An encoded null."""

RawMap = dict[str, Raw]
"""Handle name to encoded value: values travel as they were encoded at the call."""


class StackFrame(msgspec.Struct, frozen=True):
    """One level of the path from the root flow to a job.

    Attributes:
        flow_job_id: job id of the flow run.
        flow: path of the flow file.
        node_id: node in that flow; `run_block::{block}` for children of `run_block`.
    """

    flow_job_id: str
    flow: str
    node_id: str


class TargetNode(msgspec.Struct, frozen=True):
    """A node input that an output is sent to."""

    node_id: str
    input_handle: str


class TargetFlow(msgspec.Struct, frozen=True):
    """A flow output that an output is sent to."""

    output_handle: str


class OutputTarget(msgspec.Struct, frozen=True):
    """The connections that one output takes; a list that is None or missing takes none of its kind."""

    to_node: list[TargetNode] | None = None
    to_flow: list[TargetFlow] | None = None


class OutputOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Options of BlockOutput; without `target` the value takes all connections of its handle."""

    target: OutputTarget | None = None


class InputHandle(msgspec.Struct, frozen=True, omit_defaults=True):
    """Definition of an input handle; absent, null and given `value` are three distinct states."""

    handle: str
    description: str | None = None
    json_schema: Any = None
    kind: str | None = None
    nullable: bool | None = None
    value: Any | UnsetType = UNSET
    is_additional: bool = False
    deserialize_from_cache: bool = msgspec.field(default=False, name="_deserialize_from_cache")


class OutputHandle(msgspec.Struct, frozen=True, omit_defaults=True):
    """Definition of an output handle."""

    handle: str
    description: str | None = None
    json_schema: Any = None
    kind: str | None = None
    nullable: bool | None = None
    is_additional: bool = False
    serialize_for_cache: bool = msgspec.field(default=False, name="_serialize_for_cache")


class HandlePatch(msgspec.Struct, frozen=True):
    """A schema that applies inside a value: `path` is null (all of it), a key, an index or a list of them."""

    path: str | int | list[str | int] | None = None
    schema: Any = None
