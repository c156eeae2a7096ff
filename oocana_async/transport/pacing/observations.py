"""What the pacing reads out of incoming messages: which job has its inputs, which request its answer."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

__all__ = ["InputsOf", "read_inputs", "read_response_topic"]


class InputsOf(NamedTuple):
    """A job has its inputs; `flows` are the flows around it."""

    session_id: str
    job_id: str
    flows: tuple[str, ...]


class _Frame(msgspec.Struct):
    flow_job_id: str = ""


class _Stacks(msgspec.Struct):
    stacks: list[_Frame] = []


_stacks = msgspec.json.Decoder(_Stacks)


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
