"""What the pacing reads out of incoming messages: inputs, answers, ends; bytes are looked at before decoding."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

__all__ = ["Ended", "InputsOf", "read_end", "read_inputs", "read_response_topic"]


class InputsOf(NamedTuple):
    """A job has its inputs; `flows` are the flows around it."""

    session_id: str
    job_id: str
    flows: tuple[str, ...]


class Ended(NamedTuple):
    """A job, flow or session is over; `kind` is the type of the message."""

    kind: str
    session_id: str
    job_id: str


class _Frame(msgspec.Struct):
    flow_job_id: str = ""


class _Stacks(msgspec.Struct):
    stacks: list[_Frame] = []


class _End(msgspec.Struct):
    type: str = ""
    session_id: str = ""
    job_id: str | None = None


_stacks = msgspec.json.Decoder(_Stacks)
_end = msgspec.json.Decoder(_End)

_ENDS = frozenset(
    ("BlockFinished", "FlowFinished", "SubflowBlockFinished", "SubflowFinished", "SlotflowFinished", "SessionFinished")
)


def read_inputs(topic: str, payload: bytes) -> InputsOf | None:
    """Read a message on `inputs/{session_id}/{job_id}`, None for any other topic."""
    parts = topic.split("/")
    if len(parts) != 3 or parts[0] != "inputs":
        return None
    try:
        frames = _stacks.decode(payload).stacks
    except msgspec.MsgspecError:
        frames = []  # whoever takes the inputs complains about them
    return InputsOf(parts[1], parts[2], tuple(frame.flow_job_id for frame in frames))


def read_response_topic(topic: str) -> tuple[str, str] | None:
    """Return session id and request id of `session/{session_id}/request/{request_id}/response`, else None."""
    parts = topic.split("/")
    if len(parts) == 5 and parts[0] == "session" and parts[2] == "request" and parts[4] == "response":
        return parts[1], parts[3]
    return None


def read_end(payload: bytes) -> Ended | None:
    """Read the end of a job, flow or session from a message on `report`, None for everything else.

    A SessionFinished with a `job_id` was forwarded from a remote session and ends nothing here (protocol.md 2.7).
    """
    if b'Finished"' not in payload:
        return None
    try:
        end = _end.decode(payload)
    except msgspec.MsgspecError:
        return None
    if end.type not in _ENDS or (end.type == "SessionFinished" and end.job_id is not None):
        return None
    return Ended(end.type, end.session_id, end.job_id or "")
