"""The Context for the desk: outside any executor it warns once and prints what would be sent."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from oocana_async.context.by_hand.at_once import DeliversAtOnce
from oocana_async.context.by_hand.clocks import ThreadClock
from oocana_async.context.members import EVERY_HANDLE, ContextParts
from oocana_async.context.messenger import JobIdentity, JobMessenger, Surroundings
from oocana_async.context.requests import EventListener, PendingRequests
from oocana_async.errors import ClosedError, EncodingError
from oocana_async.wire.encoding import encode
from oocana_async.wire.envelope import Delivery, Outgoing
from oocana_async.wire.messages.session import RunBlock

__all__ = ["desk_parts"]

_NO_ENGINE = "there is no engine at the desk; run the scriptlet in a flow, or test it with oocana_async.testing"


def _show(message: Outgoing) -> None:
    """Print a message to stderr; the result of a scriptlet stays alone on stdout."""
    shown = message.payload.decode()
    print(f"[oocana desk] {message.topic}: {shown}", file=sys.stderr)  # noqa: T201 - that is its purpose


class DeskExchange:
    """Answers nothing: every question fails at once with a text that says why."""

    def __init__(self) -> None:
        self.pending = PendingRequests(ThreadClock())
        self.pending.close(_NO_ENGINE)

    def start_child(self, message: Outgoing, request: RunBlock, listener: EventListener) -> Callable[[], object]:
        """Refuse to start a child."""
        raise ClosedError(_NO_ENGINE)


_warned = threading.Event()


def desk_parts(
    *,
    inputs: Mapping[str, Any] | None = None,
    inputs_def: Mapping[str, Any] | None = None,
    outputs_def: Mapping[str, Any] | None = None,
    session_dir: str | None = None,
    tmp_dir: str | None = None,
) -> ContextParts:
    """Make the parts of a Context that belongs to no job.

    Args:
        inputs: what `context.inputs` shows.
        inputs_def: definitions of the input handles.
        outputs_def: definitions of the output handles; None declares every handle.
        session_dir: None for a directory under the system's temporary one.
        tmp_dir: None for the same.
    """
    if not _warned.is_set():
        _warned.set()
        text = "this Context belongs to no job: what it would send is printed to stderr"
        warnings.warn(text, RuntimeWarning, stacklevel=4)  # where the Context is made
    directory = session_dir or str(Path(tempfile.gettempdir()) / "oocana-desk")
    Path(directory).mkdir(parents=True, exist_ok=True)
    printer = DeliversAtOnce(_show, progress=Delivery.PROGRESS)
    messenger = JobMessenger(JobIdentity("desk", "desk"), printer, printer, ThreadClock())
    return ContextParts(
        messenger=messenger,
        inputs=dict(inputs or {}),
        inputs_def=dict(inputs_def or {}),
        outputs_def=dict(outputs_def or {}),
        surroundings=Surroundings(directory, tmp_dir or directory, pkg_data_dir=directory, variables=os.environ),
        encoder=_encode_for_show,
        exchange=DeskExchange(),
        declared=EVERY_HANDLE if outputs_def is None else frozenset(outputs_def),
    )


def _encode_for_show(handle: str, value: Any) -> bytes | None:
    try:
        return encode(value)
    except EncodingError:
        with contextlib.suppress(Exception):
            return encode(repr(value))
        return encode(f"<{type(value).__name__}>")
