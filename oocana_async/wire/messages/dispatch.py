"""Messages from the engine to an executor (protocol.md 3.1, 3.3, 3.9, 6.1)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from oocana_async.wire.messages.shared import NULL, HandlePatch, RawMap, StackFrame

__all__ = [
    "BlockInputs",
    "BlockPayload",
    "ExecutorSpec",
    "PythonOptions",
    "RequestResponse",
    "ServiceBlockPayload",
    "ServiceExecutor",
    "decode_block_inputs",
    "decode_block_payload",
    "decode_response",
    "decode_service_payload",
]


class PythonOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the function of a task stands; `entry` defaults to `index.py`, `function` to `main`."""

    entry: str | None = None
    function: str | None = None
    spawn: bool = False
    source: str | None = None


class ExecutorSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """Executor of a task; `options` may be absent."""

    name: str
    options: PythonOptions | None = None


class BlockPayload(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """`executor/{name}/run_block`: a task block is due (protocol.md 3.1)."""

    session_id: str
    executor_name: str
    job_id: str
    stacks: list[StackFrame]
    dir: str
    executor: ExecutorSpec
    outputs: dict[str, dict[str, Any]] | None = None
    identifier: str | None = None


class BlockInputs(msgspec.Struct, frozen=True, tag=True):
    """`inputs/{session_id}/{job_id}`: the inputs of a job, handed out once (protocol.md 3.3)."""

    session_id: str
    job_id: str
    stacks: list[StackFrame]
    inputs: RawMap | None = None
    inputs_def: dict[str, dict[str, Any]] | None = None
    inputs_def_patch: dict[str, list[HandlePatch]] | None = None
    block_path: str | None = None


class ServiceExecutor(msgspec.Struct, frozen=True):
    """Executor of a service; `stop_at` never is spelled `Never` by the engine and `never` by the documents."""

    name: str | None = None
    entry: str | None = None
    function: str | None = None
    start_at: str = "block_start"
    stop_at: str = "session_end"
    keep_alive: int | None = None


class ServiceBlockPayload(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """`executor/{name}/run_service_block`: a block of a service is due (protocol.md 6.1)."""

    session_id: str
    job_id: str
    stacks: list[StackFrame]
    executor_name: str
    dir: str
    block_name: str
    service_executor: ServiceExecutor
    service_hash: str
    outputs: dict[str, dict[str, Any]] | None = None
    identifier: str | None = None


class RequestResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """`session/{session_id}/request/{request_id}/response`; `error` and `result` may both be absent.

    Attributes:
        result: null when it is absent (a union of Raw and None would refuse everything but null).
    """

    session_id: str
    job_id: str
    request_id: str
    result: Raw = NULL
    error: str | None = None


decode_block_payload = msgspec.json.Decoder(BlockPayload).decode
decode_block_inputs = msgspec.json.Decoder(BlockInputs).decode
decode_service_payload = msgspec.json.Decoder(ServiceBlockPayload).decode
decode_response = msgspec.json.Decoder(RequestResponse).decode
