"""The one way out of a job: builds its messages, keeps their order and guards its single end."""

from __future__ import annotations

import enum
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Raw

from oocana_async.channel.clock import Clock
from oocana_async.channel.port import Flusher, JobPort
from oocana_async.channel.throttle import Throttle
from oocana_async.errors import JobCancelledError, PacketTooLargeError, StateError
from oocana_async.wire import topics
from oocana_async.wire.envelope import Delivery, Outgoing
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.report import BlockLog, BlockProgressEvent, BlockWarning, JobEvent
from oocana_async.wire.messages.session import BlockFinished, BlockProgress
from oocana_async.wire.messages.shared import RawMap, StackFrame

if TYPE_CHECKING:  # a third of what `from oocana_async import Context` costs, for a type
    from oocana_async.handles.redaction import Redactor

__all__ = ["JobIdentity", "JobMessenger", "JobState", "Surroundings"]

PROGRESS_INTERVAL = 0.3
"""Seconds between two progress messages of one job (seed API)."""

MAX_PAYLOAD = 268_000_000
"""Bytes of a message: MQTT carries 268,435,455 with the topic (protocol.md 1.1), the engine wraps what it passes on."""


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


class JobMessenger:
    """Sends for one job.

    Args:
        identity: the job.
        channel: where its messages go.
        sender: tells when they have been delivered.
        clock: for the throttle of the progress.
        redactor: removes secrets from what people read; None when there are none.
        blocking: entered around every wait of a thread, so that its place can be used meanwhile.
    """

    def __init__(
        self,
        identity: JobIdentity,
        channel: JobPort,
        sender: Flusher,
        clock: Clock,
        *,
        redactor: Redactor | None = None,
        blocking: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.identity = identity
        self.channel = channel
        self.sender = sender
        self.topic = topics.session(identity.session_id)
        self.is_running = True
        """Whether the block may still send; the channel makes it false together with the last message."""
        self._put = channel.put  # looked up once: every output passes here
        self._session_id, self._job_id = identity.session_id, identity.job_id
        self._redactor = redactor
        self._blocking = blocking
        self._state = JobState.RUNNING
        self._lock = threading.Lock()
        self._cancelled = False
        self._at_end: dict[object, Callable[[], object]] = {}
        self._at_cancel: dict[object, Callable[[], object]] = {}
        self._has_warned_late = self._has_warned_full = False
        self._clock = clock
        self._progress: Throttle[float] | None = None  # most jobs report none
        self._report_head: tuple[list[StackFrame], Any] = (list(identity.stacks), identity.block_path or UNSET)

    # -- state --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> JobState:
        """Whether the block may still send."""
        return self._state

    @property
    def is_cancelled(self) -> bool:
        """Whether the job was cancelled; its messages no longer matter to anybody."""
        return self._cancelled

    def cancel(self) -> None:
        """Mark the job as cancelled, and end what it waits for; the block notices by itself. From any thread."""
        with self._lock:
            self._cancelled = True
            callbacks, self._at_cancel = self._at_cancel, {}
        for callback in callbacks.values():
            callback()

    def cancellation(self) -> JobCancelledError:
        """Return the error that tells a waiting call of the cancellation."""
        return JobCancelledError(f"job {self._job_id} was cancelled")

    def check_cancelled(self) -> None:
        """Raise when the job was cancelled.

        Raises:
            JobCancelledError: It was.
        """
        if self._cancelled:
            raise self.cancellation()

    def on_finished(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Call back when the end has been sent; at once when that has happened already.

        Returns:
            A function that withdraws the callback; it may be called at any time.
        """
        key = object()
        with self._lock:
            if self._state is JobState.RUNNING:
                self._at_end[key] = callback
                return lambda: self._at_end.pop(key, None)
        callback()
        return _nothing

    def on_cancelled(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Call back when the job is cancelled; at once when that has happened already.

        Returns:
            A function that withdraws the callback; it may be called at any time.
        """
        key = object()
        with self._lock:
            if not self._cancelled:
                self._at_cancel[key] = callback
                return lambda: self._at_cancel.pop(key, None)
        callback()
        return _nothing

    @contextmanager
    def blocking(self) -> Iterator[None]:
        """Surround a wait of the calling thread.

        Raises:
            StateError: This thread carries the messages of all blocks; it must never wait.
        """
        if self.channel.is_sender_thread:
            raise StateError("this thread carries the messages of all blocks and must not wait; use await")
        with self._blocking():
            yield

    # -- messages -----------------------------------------------------------------------------------------------

    def emit(self, payload: bytes, what: str) -> None:
        """Send an encoded message to the engine, unless the block has finished: then warn and drop it.

        Args:
            payload: the message.
            what: name of the member that was called, for the warning.

        Raises:
            PacketTooLargeError: No transport could carry it.
        """
        if len(payload) > MAX_PAYLOAD:
            raise _too_large(what, payload)
        full = self._put(Outgoing(self.topic, payload, Delivery.DATA, self._session_id, self._job_id), self)
        if full:
            self._wait_below_limit()
        elif full is None and not self.is_running:
            self.late(what)

    def send(self, payload: bytes, delivery: Delivery = Delivery.DATA) -> None:
        """Send an encoded message to the engine, whatever the state of the block."""
        if self._put(Outgoing(self.topic, payload, delivery, self._session_id, self._job_id)):
            self._wait_below_limit()

    def report(self, kind: type[JobEvent], **fields: Any) -> None:
        """Send an event to those who read the report, whatever the state of the block."""
        stacks, block_path = self._report_head
        event = kind(session_id=self._session_id, job_id=self._job_id, stacks=stacks, block_path=block_path, **fields)
        payload = encode_message(event)
        if len(payload) > MAX_PAYLOAD:
            raise _too_large(kind.__name__, payload)
        if self._put(Outgoing(topics.REPORT, payload, Delivery.REPORT, self._session_id, self._job_id)):
            self._wait_below_limit()

    def redact(self, text: str) -> str:
        """Return text without the secrets of the session."""
        return text if self._redactor is None else self._redactor.redact(text)

    def redact_json(self, data: bytes) -> bytes:
        """Return encoded JSON without the secrets of the session in its texts and keys; it stays valid."""
        return data if self._redactor is None else self._redactor.redact_json(data)

    def warn(self, warning: str) -> None:
        """Send a BlockWarning, whatever the state of the block."""
        self.report(BlockWarning, warning=self.redact(clean_text(warning)))

    def log(self, text: str, stdio: str) -> None:
        """Send a BlockLog, whatever the state of the block; the official SDK names a key after the stream."""
        self.report(BlockLog, log=self.redact(clean_text(text)), stdio=stdio, **{stdio: stdio})

    def progress(self, value: float) -> None:
        """Send progress, throttled; after the end it is dropped."""
        throttle = self._progress
        if throttle is None:
            with self._lock:
                if self._state is JobState.FINISHED:
                    return
                if self._progress is None:
                    self._progress = Throttle(self._send_progress, PROGRESS_INTERVAL, self._clock)
                throttle = self._progress
        throttle.offer(value)

    def late(self, what: str) -> None:
        """Note a call that came after the end: it is dropped, and the first one is warned about."""
        with self._lock:
            if self._has_warned_late:
                return
            self._has_warned_late = True
        self.warn(f"{what} was called after the block had finished and is ignored, like all further calls.")

    def _send_progress(self, value: float) -> None:
        # Two keys, two messages: the engine and the report each get the latest, neither replaces the other's.
        message = BlockProgress(self._session_id, self._job_id, value)
        self.channel.append_latest(
            f"{self._job_id}/progress",
            Outgoing(self.topic, encode_message(message), Delivery.PROGRESS, self._session_id, self._job_id),
        )
        stacks, block_path = self._report_head
        event = BlockProgressEvent(
            session_id=self._session_id,
            job_id=self._job_id,
            stacks=stacks,
            block_path=block_path,
            progress=value,
            rate=value,
        )
        self.channel.append_latest(
            f"{self._job_id}/report",
            Outgoing(topics.REPORT, encode_message(event), Delivery.REPORT, self._session_id, self._job_id),
        )

    def _wait_below_limit(self) -> None:
        """Hold back a thread that sends far more than can travel; the first time the block is told."""
        if self.channel.is_sender_thread:
            return
        with self._blocking():
            waited = self.channel.wait_below_limit()
        if waited and not self._has_warned_full:
            self._has_warned_full = True
            self.warn(
                "this block sends faster than its messages can travel, and its calls have to wait;"
                " await context.output(...) and the like, so that other blocks of this thread go on meanwhile."
            )

    # -- the end ------------------------------------------------------------------------------------------------

    def finish(self, *, result: RawMap | None = None, error: str | None = None) -> bool:
        """Send the one BlockFinished of the job, after everything that is held back; never blocks.

        Returns:
            False when the job had ended before; then nothing is sent.

        Raises:
            PacketTooLargeError: No transport could carry the result; the job goes on.
        """
        payload = self._finished_payload(result, error)
        with self._lock:
            if self._state is JobState.FINISHED:
                return False
            self._move(JobState.FINISHED)
        # In this order: progress that is held back goes out in front of the end, while `is_running` still lets outputs
        # of other threads pass; the channel shuts that gate in the same step in which it takes the end.
        if self._progress is not None:
            self._progress.close()
        finished = Outgoing(self.topic, payload, Delivery.FINISH, self._session_id, self._job_id)
        self.channel.put_last(finished, self)
        with self._lock:
            callbacks, self._at_end = self._at_end, {}
        for callback in callbacks.values():
            callback()
        return True

    def _finished_payload(self, result: RawMap | None, error: str | None) -> bytes:
        if error is not None:
            error = clean_text(self.redact(error))
            result = None
        payload = encode_message(BlockFinished(self._session_id, self._job_id, result, error))
        if len(payload) > MAX_PAYLOAD:
            if error is None:
                raise _too_large("finish", payload)
            payload = self._finished_payload(None, error[: MAX_PAYLOAD // 16])
        return payload

    def _move(self, state: JobState) -> None:
        if self._state is not JobState.RUNNING:
            raise StateError(f"a job that is {self._state.value} cannot become {state.value}")
        self._state = state


def _nothing() -> None:
    """Do nothing."""


def _too_large(what: str, payload: bytes) -> PacketTooLargeError:
    size = len(payload)
    text = f"{what}: a message of {size} bytes; at most {MAX_PAYLOAD} can travel. Send a file, or an oomol/var value"
    return PacketTooLargeError(text, size=size, limit=MAX_PAYLOAD)


def clean_text(text: Any) -> str:
    """Return text that can be sent: lone surrogates come as escapes."""
    return str(text).encode("utf-8", "backslashreplace").decode()


def new_id() -> str:
    """Return a fresh identifier for a request or a child job."""
    return str(uuid.uuid4())


def raw_map(values: Mapping[str, bytes]) -> RawMap:
    """Return encoded values as they stand in messages."""
    return {handle: Raw(value) for handle, value in values.items()}


def decode_raw(value: Raw | bytes) -> Any:
    """Return the Python value of an encoded one."""
    return msgspec.json.decode(value)
