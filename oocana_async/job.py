"""The one way out of a job: builds its messages, keeps their order and guards its single end."""

from __future__ import annotations

import enum
import threading
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, Raw

from oocana_async import topics
from oocana_async.errors import JobCancelledError, StateError
from oocana_async.messages import encode_message
from oocana_async.messages.report import BlockProgressEvent, BlockWarning, JobEvent
from oocana_async.messages.session import BlockFinished, BlockProgress
from oocana_async.messages.shared import RawMap, StackFrame
from oocana_async.throttle import Clock, Throttle
from oocana_async.transport.base import Delivery, Outgoing

__all__ = ["Channel", "JobIdentity", "JobLink", "JobState", "Surroundings"]

PROGRESS_INTERVAL = 0.3
"""Seconds between two progress messages of one job (seed API)."""


class Channel(Protocol):
    """What a job sends into; the outbox, or the desk's printer."""

    @property
    def congested(self) -> bool:
        """True while producers are asked to wait."""

    def append(self, message: Outgoing) -> None:
        """Take a message, from any thread."""

    def append_latest(self, key: str, message: Outgoing) -> None:
        """Take a message that makes a waiting one with the same key superfluous."""

    def wait_for_room(self) -> Coroutine[Any, Any, None]:
        """Return a coroutine that ends when the channel is no longer congested."""

    def wait_for_room_blocking(self, timeout: float | None = None) -> bool:
        """Block until the channel is no longer congested."""

    def flush(self) -> Awaitable[None]:
        """Wait until everything so far has been acknowledged."""

    def flush_blocking(self, timeout: float | None = None) -> bool:
        """Block until everything so far has been acknowledged; False when the time was over first."""


@dataclass(frozen=True, slots=True)
class JobIdentity:
    """Which job of which session, and where in the flow it sits.

    Attributes:
        stacks: path of flow frames from the root, empty for a block that was run directly.
        block_path: the task file, None for scriptlets and services.
    """

    session_id: str
    job_id: str
    stacks: tuple[StackFrame, ...] = ()
    block_path: str | None = None

    @property
    def is_child(self) -> bool:
        """Whether the job was started with `run_block`."""
        return bool(self.stacks) and self.stacks[-1].node_id.startswith("run_block::")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Directories and variables of a job.

    Attributes:
        session_dir: shared by all blocks of the session.
        tmp_dir: temporary directory of the flow.
        package_name: name of the package that the block belongs to.
        pkg_data_dir: persistent data directory of that package.
        variables: environment variables.
    """

    session_dir: str
    tmp_dir: str
    package_name: str = "workspace"
    pkg_data_dir: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


class JobState(enum.Enum):
    """Life of a job as its block sees it."""

    RUNNING = "running"
    FINISHED = "finished"


class JobLink:
    """Sends for one job.

    Args:
        identity: the job.
        channel: where its messages go.
        clock: for the throttle of the progress.
        redact: removes secrets from text that people read.
        blocking: entered around every wait of a thread, so that its place can be used meanwhile.
    """

    def __init__(
        self,
        identity: JobIdentity,
        channel: Channel,
        clock: Clock,
        *,
        redact: Callable[[str], str] | None = None,
        blocking: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.identity = identity
        self.channel = channel
        self.blocking = blocking
        self.topic = topics.session(identity.session_id)
        self._redact = redact
        self._state = JobState.RUNNING
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._finished_callbacks: list[Callable[[], object]] = []
        self._late_warned = False
        self._sent_data = False
        self._progress: Throttle[float] = Throttle(self._send_progress, PROGRESS_INTERVAL, clock)
        self._report_head: tuple[list[StackFrame], Any] = (list(identity.stacks), identity.block_path or UNSET)

    # -- state --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> JobState:
        """Whether the block may still send."""
        return self._state

    @property
    def is_cancelled(self) -> bool:
        """Whether the job was cancelled; its messages no longer matter to anybody."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Mark the job as cancelled; the block notices by itself."""
        self._cancelled.set()

    def check_cancelled(self) -> None:
        """Raise when the job was cancelled.

        Raises:
            JobCancelledError: It was.
        """
        if self._cancelled.is_set():
            raise JobCancelledError(f"job {self.identity.job_id} was cancelled")

    def on_finished(self, callback: Callable[[], object]) -> None:
        """Call back when the end has been sent; at once when that has happened already."""
        with self._lock:
            if self._state is JobState.RUNNING:
                self._finished_callbacks.append(callback)
                return
        callback()

    # -- messages -----------------------------------------------------------------------------------------------

    def send(self, payload: bytes, delivery: Delivery = Delivery.DATA) -> None:
        """Send an encoded message to the engine."""
        identity = self.identity
        self.channel.append(Outgoing(self.topic, payload, delivery, identity.session_id, identity.job_id))

    def report(self, kind: type[JobEvent], **fields: Any) -> None:
        """Send an event to those who read the report."""
        identity = self.identity
        stacks, block_path = self._report_head
        event = kind(
            session_id=identity.session_id, job_id=identity.job_id, stacks=stacks, block_path=block_path, **fields
        )
        payload = encode_message(event)
        self.channel.append(Outgoing(topics.REPORT, payload, Delivery.REPORT, identity.session_id, identity.job_id))

    def redact(self, text: str) -> str:
        """Return text without the secrets of the session."""
        return text if self._redact is None else self._redact(text)

    def warn(self, warning: str) -> None:
        """Send a BlockWarning."""
        self.report(BlockWarning, warning=self.redact(warning))

    def progress(self, value: float) -> None:
        """Send progress, throttled."""
        self._progress.offer(value)

    def late(self, what: str) -> None:
        """Note a call that came after the end: it is dropped, and the first one is warned about."""
        with self._lock:
            if self._late_warned:
                return
            self._late_warned = True
        self.warn(f"{what} was called after the block had finished and is ignored, like all further calls.")

    def _send_progress(self, value: float) -> None:
        identity = self.identity
        message = BlockProgress(identity.session_id, identity.job_id, value)
        self.channel.append_latest(
            f"{identity.job_id}/progress",
            Outgoing(self.topic, encode_message(message), Delivery.PROGRESS, identity.session_id, identity.job_id),
        )
        stacks, block_path = self._report_head
        event = BlockProgressEvent(
            session_id=identity.session_id,
            job_id=identity.job_id,
            stacks=stacks,
            block_path=block_path,
            progress=value,
            rate=value,
        )
        self.channel.append_latest(
            f"{identity.job_id}/report",
            Outgoing(topics.REPORT, encode_message(event), Delivery.REPORT, identity.session_id, identity.job_id),
        )

    # -- the end ------------------------------------------------------------------------------------------------

    def finish(self, *, result: RawMap | None = None, error: str | None = None) -> bool:
        """Send the one BlockFinished of the job, after everything that is held back.

        Returns:
            False when the job had ended before; then nothing is sent.
        """
        with self._lock:
            if self._state is JobState.FINISHED:
                return False
            self._move(JobState.FINISHED)
            callbacks, self._finished_callbacks = self._finished_callbacks, []
        self._progress.flush()
        self.send(self._finished_payload(result, error), Delivery.FINISH)
        for callback in callbacks:
            callback()
        return True

    def _finished_payload(self, result: RawMap | None, error: str | None) -> bytes:
        identity = self.identity
        if error is not None:
            error = self.redact(error).encode("utf-8", "replace").decode()
            result = None
        return encode_message(BlockFinished(identity.session_id, identity.job_id, result, error))

    def _move(self, state: JobState) -> None:
        if self._state is not JobState.RUNNING:
            raise StateError(f"a job that is {self._state.value} cannot become {state.value}")
        self._state = state


def new_id() -> str:
    """Return a fresh identifier for a request or a child job."""
    return str(uuid.uuid4())


def raw_map(values: Mapping[str, bytes]) -> RawMap:
    """Return encoded values as they stand in messages."""
    return {handle: Raw(value) for handle, value in values.items()}


def decode_raw(value: Raw | bytes) -> Any:
    """Return the Python value of an encoded one."""
    return msgspec.json.decode(value)
