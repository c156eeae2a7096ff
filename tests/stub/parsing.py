"""Reads what executors send as strictly as the engine's own parser does (protocol.md 3.0); nothing of the package."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "BlockError",
    "BlockFinished",
    "BlockOutput",
    "BlockOutputs",
    "BlockProgress",
    "BlockReady",
    "ExecutorReady",
    "Preview",
    "QueryAuth",
    "QueryBlock",
    "QueryDownstream",
    "RejectedError",
    "Request",
    "RunBlock",
    "SessionMessage",
    "UpdateNodeWeight",
    "read",
]

_MOST_LEVELS = 127  # of nesting, the message itself included


class RejectedError(Exception):
    """The engine would reject this message and tell nobody."""


class _Message(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    session_id: str
    job_id: str


class ExecutorReady(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    session_id: str
    executor_name: str
    package: str | None = None
    identifier: str | None = None


class BlockReady(_Message, frozen=True, kw_only=True):
    pass


class _ToNode(msgspec.Struct, frozen=True):
    node_id: str
    input_handle: str


class _ToFlow(msgspec.Struct, frozen=True):
    output_handle: str


class _Target(msgspec.Struct, frozen=True):
    to_node: list[_ToNode] | None = None
    to_flow: list[_ToFlow] | None = None


class _Options(msgspec.Struct, frozen=True):
    target: _Target | None = None


class BlockOutput(_Message, frozen=True, kw_only=True):
    handle: str
    output: Any
    options: _Options | None = None


class BlockOutputs(_Message, frozen=True, kw_only=True):
    outputs: dict[str, Any]


class BlockProgress(_Message, frozen=True, kw_only=True):
    progress: float


class BlockFinished(_Message, frozen=True, kw_only=True):
    result: dict[str, Any] | None = None
    error: str | None = None


class BlockError(_Message, frozen=True, kw_only=True):
    error: str


class Request(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    job_id: str
    request_id: str


class _Frame(msgspec.Struct, frozen=True):
    flow_job_id: str
    flow: str
    node_id: str


class RunBlock(Request, frozen=True, tag_field="action", tag=True, kw_only=True):
    block: str
    block_job_id: str
    payload: Any
    stacks: list[_Frame]
    strict: bool = False


class QueryBlock(Request, frozen=True, tag_field="action", tag=True, kw_only=True):
    block: str


class QueryDownstream(Request, frozen=True, tag_field="action", tag=True, kw_only=True):
    outputs: list[str] | None = None


class Preview(Request, frozen=True, tag_field="action", tag=True, kw_only=True):
    payload: Any


class QueryAuth(Request, frozen=True, tag_field="action", tag=True, kw_only=True):
    payload: Any


class UpdateNodeWeight(Request, frozen=True, tag_field="action", tag=True, kw_only=True):
    node_id: str
    weight: float


BlockMessage = BlockReady | BlockOutput | BlockOutputs | BlockProgress | BlockFinished | BlockError
AnyRequest = RunBlock | QueryBlock | QueryDownstream | Preview | QueryAuth | UpdateNodeWeight
SessionMessage = ExecutorReady | BlockMessage | AnyRequest

_message = msgspec.json.Decoder(ExecutorReady | BlockMessage)
_request = msgspec.json.Decoder(AnyRequest)


class _Kind(msgspec.Struct, frozen=True):
    type: str


_kind = msgspec.json.Decoder(_Kind)


def read(payload: bytes) -> SessionMessage:
    """Read a message of the session topic.

    Raises:
        RejectedError: It is no JSON, nests too deeply, or a required field is missing or of another type.
    """
    try:
        message: SessionMessage
        if b'"BlockRequest"' in payload and _kind.decode(payload).type == "BlockRequest":
            message = _request.decode(payload)
        else:
            message = _message.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedError(f"{error}: {payload[:200]!r}") from error
    if payload.count(b"[") + payload.count(b"{") > _MOST_LEVELS and _levels(payload) > _MOST_LEVELS:
        raise RejectedError(f"more than {_MOST_LEVELS} levels: {payload[:200]!r}")
    return message


def _levels(payload: bytes) -> int:
    """Count how deep a text of JSON nests."""
    deepest = 0
    level = [msgspec.json.decode(payload)]
    while level:
        inside: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inside += value.values()
            elif isinstance(value, list):
                inside += value
        deepest += any(isinstance(value, dict | list) for value in level)
        level = inside
    return deepest
