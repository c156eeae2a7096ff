"""The Context for the desk: outside any executor it warns once and prints what would be sent."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from oocana_async.channel.channel import Gate
from oocana_async.channel.throttle import Timer
from oocana_async.context.members import ContextParts
from oocana_async.context.messenger import JobIdentity, JobMessenger, Surroundings
from oocana_async.context.requests import EventListener, PendingRequests
from oocana_async.errors import ClosedError, EncodingError
from oocana_async.wire.encoding import encode
from oocana_async.wire.envelope import Delivery, Outgoing
from oocana_async.wire.messages.session import RunBlock

__all__ = ["ThreadClock", "desk_parts"]

_NO_ENGINE = "there is no engine at the desk; run the scriptlet in a flow, or test it with oocana_async.testing"


class ThreadClock:
    """Time and timers without an event loop."""

    def now(self) -> float:
        """Return seconds on the monotonic clock."""
        return time.monotonic()

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call back in a thread of its own after some seconds."""
        timer = threading.Timer(delay, callback)
        timer.daemon = True
        timer.name = "oocana-desk-timer"
        timer.start()
        return timer


class DeskChannel:
    """Prints messages to stderr; the result of a scriptlet stays alone on stdout."""

    congested = False
    is_own_thread = False

    @property
    def room(self) -> DeskChannel:
        """Return itself: there is always room."""
        return self

    def put(self, message: Outgoing, gate: Gate | None = None) -> bool | None:
        """Print a message, unless its job has ended."""
        if gate is not None and not gate.is_running:
            return None
        _show(message)
        return False

    def put_last(self, message: Outgoing, gate: Gate) -> None:
        """Print the end of a job."""
        gate.is_running = False
        _show(message)

    def append_latest(self, key: str, message: Outgoing) -> None:
        """Print a message; progress goes out twice, once is enough here."""
        if message.delivery is not Delivery.REPORT:
            _show(message)

    def wait_below_limit(self) -> bool:
        """Return at once."""
        return False

    async def wait_for_room(self) -> None:
        """Return at once."""

    def wait_for_room_blocking(self, timeout: float | None = None, *, unless: Callable[[], bool] = bool) -> bool:
        """Return at once."""
        return True

    def nudge(self) -> None:
        """Do nothing: nobody waits."""

    async def flush(self) -> None:
        """Return at once."""

    def flush_blocking(self, timeout: float | None = None) -> bool:
        """Return at once."""
        return True


def _show(message: Outgoing) -> None:
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


class _Everything:
    """Declares every handle: at the desk nobody has said which there are."""

    def __contains__(self, key: object) -> bool:
        return True


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
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    directory = session_dir or str(Path(tempfile.gettempdir()) / "oocana-desk")
    Path(directory).mkdir(parents=True, exist_ok=True)
    link = JobMessenger(JobIdentity("desk", "desk"), DeskChannel(), ThreadClock())
    return ContextParts(
        link=link,
        inputs=dict(inputs or {}),
        inputs_def=dict(inputs_def or {}),
        outputs_def=dict(outputs_def or {}),
        surroundings=Surroundings(directory, tmp_dir or directory, pkg_data_dir=directory, variables=os.environ),
        encoder=_encode_for_show,
        exchange=DeskExchange(),
        declared=_Everything() if outputs_def is None else frozenset(outputs_def),
    )


def _encode_for_show(handle: str, value: Any) -> bytes | None:
    try:
        return encode(value)
    except EncodingError:
        with contextlib.suppress(Exception):
            return encode(repr(value))
        return encode(f"<{type(value).__name__}>")
