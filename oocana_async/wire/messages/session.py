"""Messages on `session/{session_id}`, from executors to the engine (protocol.md 2.4 and 3.2 to 3.9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import msgspec
from msgspec import Raw

from oocana_async.wire.messages.shared import OutputOptions, RawMap, StackFrame

__all__ = [
    "AnyRequest",
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
    "Request",
    "RunBlock",
    "RunBlockPayload",
    "SessionMessage",
    "UpdateNodeWeight",
    "decode_session",
]


class ExecutorReady(msgspec.Struct, frozen=True, tag=True):
    """An executor has subscribed and takes jobs (protocol.md 2.4)."""

    session_id: str
    executor_name: str
    package: str | None = None
    identifier: str | None = None
    debug_port: int | None = None


class BlockReady(msgspec.Struct, frozen=True, tag=True):
    """The executor has taken a job and waits for its inputs; sent once per job (protocol.md 3.2)."""

    session_id: str
    job_id: str


class BlockOutput(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """One value on one output handle (protocol.md 3.4)."""

    session_id: str
    job_id: str
    handle: str
    output: Raw
    options: OutputOptions | None = None


class BlockOutputs(msgspec.Struct, frozen=True, tag=True):
    """Values on several output handles (protocol.md 3.5)."""

    session_id: str
    job_id: str
    outputs: RawMap


class BlockProgress(msgspec.Struct, frozen=True, tag=True):
    """Progress of a job, 0 to 100, for the flow's sum (protocol.md 3.6)."""

    session_id: str
    job_id: str
    progress: float


class BlockFinished(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """End of a job; an error wins over a result (protocol.md 3.7)."""

    session_id: str
    job_id: str
    result: RawMap | None = None
    error: str | None = None


class BlockError(msgspec.Struct, frozen=True, tag=True):
    """An error to be shown; it does not end the job (protocol.md 3.8)."""

    session_id: str
    job_id: str
    error: str


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What all requests of a running block carry (protocol.md 3.9)."""

    session_id: str
    job_id: str
    request_id: str
    type: Literal["BlockRequest"] = "BlockRequest"


class RunBlockPayload(msgspec.Struct, frozen=True):
    """Inputs and additional handles of a child block."""

    inputs: RawMap | None = None
    additional_inputs_def: list[dict[str, Any]] | None = None
    additional_outputs_def: list[dict[str, Any]] | None = None


class RunBlock(Request, frozen=True, tag_field="action", tag=True, kw_only=True):
    """Start a child block; there is no response when it started (protocol.md 3.9)."""

    block: str
    block_job_id: str
    payload: RunBlockPayload
    stacks: list[StackFrame]
    strict: bool = False


class QueryBlock(Request, frozen=True, tag_field="action", tag=True, kw_only=True):
    """Ask for the handles of a block."""

    block: str


class QueryDownstream(Request, frozen=True, tag_field="action", tag=True, kw_only=True):
    """Ask what is connected to outputs; the engine reads `outputs`, older readers `handles`, so both are sent."""

    outputs: list[str] | None = None
    handles: list[str] | None = None


class Preview(Request, frozen=True, tag_field="action", tag=True, kw_only=True):
    """Show a preview of the asking block; there is no response."""

    payload: Raw


class QueryAuth(Request, frozen=True, tag_field="action", tag=True, kw_only=True):
    """Ask for a credential by its id."""

    payload: Raw


class UpdateNodeWeight(Request, frozen=True, tag_field="action", tag=True, kw_only=True):
    """Change the progress weight of a node of the asking block's flow."""

    node_id: str
    weight: float


SessionMessage = ExecutorReady | BlockReady | BlockOutput | BlockOutputs | BlockProgress | BlockFinished | BlockError
AnyRequest = RunBlock | QueryBlock | QueryDownstream | Preview | QueryAuth | UpdateNodeWeight


class _Kind(msgspec.Struct, frozen=True):
    type: str


_decode_message: Callable[[bytes], SessionMessage] = msgspec.json.Decoder(SessionMessage).decode
_decode_request: Callable[[bytes], AnyRequest] = msgspec.json.Decoder(AnyRequest).decode
_decode_kind = msgspec.json.Decoder(_Kind).decode
_TYPES = frozenset(kind.__name__ for kind in get_args(SessionMessage))


def decode_session(body: bytes) -> SessionMessage | AnyRequest | None:
    """Read a message of the session topic.

    Args:
        body: the JSON text.

    Returns:
        The message, or None when its `type` is none that executors send (the engine's own, or a newer one).

    Raises:
        msgspec.DecodeError: The body is no JSON or lacks a required field.
    """
    if b'"BlockRequest"' in body and _decode_kind(body).type == "BlockRequest":
        return _decode_request(body)
    try:
        return _decode_message(body)
    except msgspec.ValidationError:
        if _decode_kind(body).type in _TYPES:
            raise
        return None
