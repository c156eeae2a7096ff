"""Messages on `report`, the event stream that people and tools read (protocol.md 4, flow-format.md 7.1).

Times are integer milliseconds since the epoch. Each struct is named after its `type`, with `Event` behind it where
the session topic has a message of the same type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import msgspec
from msgspec import UNSET, Raw, UnsetType

from oocana_async.wire.messages.shared import RawMap, StackFrame

__all__ = [
    "BlockErrorEvent",
    "BlockFinishedEvent",
    "BlockLog",
    "BlockLogJSON",
    "BlockMessage",
    "BlockOutputEvent",
    "BlockOutputsEvent",
    "BlockPreview",
    "BlockProgressEvent",
    "BlockStarted",
    "BlockWarning",
    "ErrorInfo",
    "FlowFinished",
    "FlowNodesWillRun",
    "FlowStarted",
    "ReportEvent",
    "SessionFinished",
    "SessionStarted",
    "SlotflowFinished",
    "SlotflowOutput",
    "SlotflowStarted",
    "SubflowBlockFinished",
    "SubflowBlockOutput",
    "SubflowBlockStarted",
    "decode_report",
]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What every event carries."""

    session_id: str


class JobEvent(Event, frozen=True, kw_only=True):
    """What every event of a job carries; `block_path` is left out for inline tasks, services and conditions."""

    job_id: str
    stacks: list[StackFrame] = []
    block_path: str | UnsetType | None = UNSET


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """`_error` of finished events: the original message and the path to the failing node."""

    message: str | None = None
    stack: list[StackFrame] | None = None


class SessionStarted(Event, frozen=True, kw_only=True, tag=True):
    """A session begins; `partial` with `--nodes`, `cache` with `--use-cache`."""

    create_at: int
    path: str
    partial: bool = False
    cache: bool = False


class SessionFinished(Event, frozen=True, kw_only=True, tag=True):
    """A session ended. One with `job_id` was forwarded from elsewhere and ends nothing here (protocol.md 2.7)."""

    finish_at: int
    path: str
    error: str | UnsetType | None = UNSET
    error_info: ErrorInfo | UnsetType = msgspec.field(default=UNSET, name="_error")
    partial: bool = False
    cache: bool = False
    job_id: str | UnsetType = UNSET


class FlowStarted(Event, frozen=True, kw_only=True, tag=True):
    """A root flow begins."""

    job_id: str
    flow_path: str
    stacks: list[StackFrame]
    create_at: int


class FlowNodesWillRun(Event, frozen=True, kw_only=True, tag=True):
    """Which nodes start now, which later, and which were asked for."""

    job_id: str
    flow_path: str
    stacks: list[StackFrame]
    start_nodes: list[str]
    mid_nodes: list[str]
    end_nodes: list[str]


class FlowFinished(Event, frozen=True, kw_only=True, tag=True):
    """A root flow ended; `error` is null when it ended well."""

    job_id: str
    flow_path: str
    stacks: list[StackFrame]
    error: str | None = None
    error_info: ErrorInfo | UnsetType = msgspec.field(default=UNSET, name="_error")
    finish_at: int


class _InnerStarted(Event, frozen=True, kw_only=True):
    job_id: str
    block_path: str | None = None
    stacks: list[StackFrame]
    inputs: RawMap | None = None
    create_at: int


class _InnerOutput(Event, frozen=True, kw_only=True):
    job_id: str
    block_path: str | None = None
    stacks: list[StackFrame]
    handle: str
    output: Raw


class _InnerFinished(Event, frozen=True, kw_only=True):
    job_id: str
    block_path: str | None = None
    stacks: list[StackFrame]
    error: str | None = None
    error_info: ErrorInfo | UnsetType = msgspec.field(default=UNSET, name="_error")
    finish_at: int


class SubflowBlockStarted(_InnerStarted, frozen=True, kw_only=True, tag=True):
    """A subflow begins."""


class SlotflowStarted(_InnerStarted, frozen=True, kw_only=True, tag=True):
    """A slotflow begins."""


class SubflowBlockOutput(_InnerOutput, frozen=True, kw_only=True, tag=True):
    """A value left a subflow."""


class SlotflowOutput(_InnerOutput, frozen=True, kw_only=True, tag=True):
    """A value left a slotflow."""


class SubflowBlockFinished(_InnerFinished, frozen=True, kw_only=True, tag=True):
    """A subflow ended."""


class SlotflowFinished(_InnerFinished, frozen=True, kw_only=True, tag=True):
    """A slotflow ended."""


class BlockStarted(JobEvent, frozen=True, kw_only=True, tag=True):
    """A job begins, before any executor has it."""

    inputs: RawMap | None = None
    create_at: int


class BlockOutputEvent(JobEvent, frozen=True, kw_only=True, tag="BlockOutput"):
    """A block emitted one value."""

    handle: str
    output: Raw


class BlockOutputsEvent(JobEvent, frozen=True, kw_only=True, tag="BlockOutputs"):
    """A block emitted values on several handles."""

    outputs: RawMap


class BlockFinishedEvent(JobEvent, frozen=True, kw_only=True, tag="BlockFinished"):
    """A job ended; a second one for the same job must be tolerated (protocol.md 2.7)."""

    result: RawMap | UnsetType | None = UNSET
    error: str | UnsetType | None = UNSET
    finish_at: int = 0


class BlockErrorEvent(JobEvent, frozen=True, kw_only=True, tag="BlockError"):
    """A block reported an error without ending, or ran into its time-out."""

    error: str


class BlockProgressEvent(JobEvent, frozen=True, kw_only=True, tag="BlockProgress"):
    """Progress 0 to 100; `rate` repeats it for older readers."""

    progress: float
    rate: float | UnsetType = UNSET


class BlockPreview(JobEvent, frozen=True, kw_only=True, tag=True):
    """Something to look at; `node_id` only when forwarded out of a subflow."""

    payload: Raw
    node_id: str | UnsetType = UNSET


class BlockLog(JobEvent, frozen=True, kw_only=True, tag=True):
    """A line of text; the key named after the stream is what the official Python SDK sends instead of `stdio`."""

    log: str
    stdio: str = "stdout"
    stdout: str | UnsetType = UNSET
    stderr: str | UnsetType = UNSET


class BlockLogJSON(JobEvent, frozen=True, kw_only=True, tag=True):
    """A log entry that is data."""

    json: Raw


class BlockWarning(JobEvent, frozen=True, kw_only=True, tag=True):
    """A warning of a block or its SDK."""

    warning: str


class BlockMessage(JobEvent, frozen=True, kw_only=True, tag=True):
    """A message for a front end."""

    payload: Raw


ReportEvent = (
    SessionStarted
    | SessionFinished
    | FlowStarted
    | FlowNodesWillRun
    | FlowFinished
    | SubflowBlockStarted
    | SubflowBlockOutput
    | SubflowBlockFinished
    | SlotflowStarted
    | SlotflowOutput
    | SlotflowFinished
    | BlockStarted
    | BlockOutputEvent
    | BlockOutputsEvent
    | BlockFinishedEvent
    | BlockErrorEvent
    | BlockProgressEvent
    | BlockPreview
    | BlockLog
    | BlockLogJSON
    | BlockWarning
    | BlockMessage
)


class _Kind(msgspec.Struct, frozen=True):
    type: str


_decode: Callable[[bytes], ReportEvent] = msgspec.json.Decoder(ReportEvent).decode
_decode_kind = msgspec.json.Decoder(_Kind).decode
_TYPES = frozenset(kind.__struct_config__.tag for kind in get_args(ReportEvent))


def decode_report(body: bytes) -> ReportEvent | None:
    """Read an event of the report topic.

    Args:
        body: the JSON text.

    Returns:
        The event, or None when its `type` is unknown here: other languages' SDKs may send more.

    Raises:
        msgspec.DecodeError: The body is no JSON, has no `type`, or lacks a required field.
    """
    try:
        return _decode(body)
    except msgspec.ValidationError:
        if _decode_kind(body).type in _TYPES:
            raise
        return None
