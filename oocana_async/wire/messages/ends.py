"""What ends a job, a flow or a session: the one list of it, read out of `report` by looking at bytes before decoding.

`report` carries all that every session does, and few of its messages end anything.
"""

from __future__ import annotations

import enum
import re
from typing import Any, NamedTuple

import msgspec

from oocana_async.wire.messages import report

__all__ = ["EndKind", "Ended", "read_cancellation", "read_end"]


class EndKind(enum.Enum):
    """What is over."""

    JOB = "job"
    TIMED_OUT_JOB = "timed-out job"
    FLOW = "flow"
    SESSION = "session"


class Ended(NamedTuple):
    """Something is over; `job_id` is that of the job or of the flow run, empty for a session."""

    kind: EndKind
    session_id: str
    job_id: str


_KINDS = {
    kind.__struct_config__.tag: what
    for kind, what in {
        report.BlockFinishedEvent: EndKind.JOB,
        report.BlockErrorEvent: EndKind.TIMED_OUT_JOB,
        report.FlowFinished: EndKind.FLOW,
        report.SubflowBlockFinished: EndKind.FLOW,
        report.SlotflowFinished: EndKind.FLOW,
        report.SessionFinished: EndKind.SESSION,
    }.items()
}

_CANCELS = re.compile(rb'"type"\s*:\s*"(?:Flow|SubflowBlock|Slotflow|Session)Finished"|timeout after ')
_CANCELS_NOTHING = tuple(
    b'{"type":"%s' % kind for kind in (b"BlockStarted", b"BlockFinished", b"BlockOutput", b"BlockLog", b"BlockProgress")
)
"""How most messages begin, at least those made by this package."""

_TIMEOUT = re.compile(r"^(\S+) timeout after ")


class _End(msgspec.Struct):
    type: str
    session_id: str = ""
    job_id: str | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_End).decode


def read_end(payload: bytes) -> Ended | None:
    """Read the end of a job, flow or session, None for everything else.

    A SessionFinished with a `job_id` was forwarded from a remote session and ends nothing here (protocol.md 2.7).

    Raises:
        msgspec.DecodeError: The message cannot be read.
    """
    return _read(payload) if b'Finished"' in payload else None


def read_cancellation(payload: bytes) -> Ended | None:
    """Read what cancels jobs: the end of a flow or session, or that the engine has given up a job; else None.

    Raises:
        msgspec.DecodeError: The message cannot be read.
    """
    if payload.startswith(_CANCELS_NOTHING) or _CANCELS.search(payload) is None:
        return None
    end = _read(payload)
    return None if end is None or end.kind is EndKind.JOB else end


def _read(payload: bytes) -> Ended | None:
    end = _decode(payload)
    kind = _KINDS.get(end.type)
    if kind is None or (kind is EndKind.SESSION and end.job_id is not None):
        return None
    if kind is EndKind.TIMED_OUT_JOB and not _is_timeout(end):
        return None
    return Ended(kind, end.session_id, end.job_id or "")


def _is_timeout(end: _End) -> bool:
    """Tell the words of the engine about a job, `{job_id} timeout after …`, from the error of a block."""
    found = _TIMEOUT.match(end.error) if isinstance(end.error, str) else None
    return found is not None and found[1] == end.job_id
