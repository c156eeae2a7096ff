"""What a scriptlet did, in the order in which it did it, with decoded values."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from oocana_async.errors import OocanaError

__all__ = ["Ended", "Log", "Output", "Record", "Request", "RunFailedError", "RunTimeoutError", "StartedChild"]

_WIDTH = 160
_MOST = 12


class Ended(enum.StrEnum):
    """How a run ended; equal to its text, so that `record.ended == "finished"` reads well."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"


class Output(tuple[str, Any]):
    """One value on one handle; equal to the pair `(handle, value)`.

    Attributes:
        target: `{"to_node": [...], "to_flow": [...]}` of a targeted output, None when it takes all connections.
    """

    target: dict[str, Any] | None

    def __new__(cls, handle: str, value: Any, target: dict[str, Any] | None = None) -> Self:
        """Make the pair."""
        pair = super().__new__(cls, (handle, value))
        pair.target = target
        return pair

    @property
    def handle(self) -> str:
        """The output handle."""
        return self[0]

    @property
    def value(self) -> Any:
        """The decoded value."""
        return self[1]


class Log(NamedTuple):
    """One entry of the block's log.

    Attributes:
        text: one line, or all lines of one print.
        stdio: "stdout" or "stderr".
    """

    text: str
    stdio: str


class StartedChild(NamedTuple):
    """One call of `run_block`.

    Attributes:
        block: the reference.
        inputs: the decoded inputs.
        strict: whether the inputs are to be checked against their schemas.
        additional_inputs_def: definitions of more input handles.
        additional_outputs_def: definitions of more output handles.
    """

    block: str
    inputs: dict[str, Any]
    strict: bool = False
    additional_inputs_def: list[dict[str, Any]] | None = None
    additional_outputs_def: list[dict[str, Any]] | None = None

    def __repr__(self) -> str:
        given = [f"{name}={value!r}" for name, value in self._asdict().items() if value not in (None, False)]
        return f"StartedChild({', '.join(given)})"


class Request(NamedTuple):
    """One question to the engine.

    Attributes:
        action: "QueryBlock", "QueryDownstream", "QueryAuth" or "UpdateNodeWeight".
        about: the block, the handles (None for all), the credential id, or the pair of node and weight.
    """

    action: str
    about: Any


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Record:
    """Everything that a run has sent, decoded: `oomol/var` values are the very objects, `oomol/bin` values bytes.

    Attributes:
        ended: how it ended, `Ended.RUNNING` before that.
        error: why it failed or was cancelled, None otherwise.
        result: what `main` returned, or what `finish(result=...)` was given; None when there was none.
        outputs: `(handle, value)` of `output` and, handle by handle, of `outputs`.
        previews: payloads.
        progress: values that passed the throttle.
        logs: captured output, `report_log` and `context.logger`.
        log_json: payloads of `log_json`.
        warnings: texts of `send_warning`, and those that the Context gave itself.
        errors: texts of `error`; they do not end the block.
        messages: payloads of `send_message`.
        children: calls of `run_block`.
        requests: the queries.
    """

    ended: Ended = Ended.RUNNING
    error: str | None = None
    result: dict[str, Any] | None = None
    outputs: list[Output] = field(default_factory=list)
    previews: list[Any] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    log_json: list[Any] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)
    children: list[StartedChild] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def all(self, handle: str) -> list[Any]:
        """Return every value of a handle in order, the one in the result last."""
        values = [value for name, value in self.outputs if name == handle]
        return [*values, self.result[handle]] if self.result is not None and handle in self.result else values

    def last(self, handle: str) -> Any:
        """Return the last value of a handle, the one in the result if it is there.

        Raises:
            LookupError: Nothing was sent on it; the text shows the record.
        """
        values = self.all(handle)
        if not values:
            raise LookupError(f"nothing was sent on [{handle}]\n{self!r}")
        return values[-1]

    def log_text(self, stdio: str | None = None) -> str:
        """Return the log as one text.

        Args:
            stdio: "stdout" or "stderr", None for both.
        """
        return "\n".join(log.text for log in self.logs if stdio in (None, log.stdio))

    def raise_for_error(self) -> Self:
        """Return the record itself if the run has finished.

        Raises:
            RunFailedError: It failed, was cancelled, or has not ended; the text shows the record.
        """
        if self.ended is not Ended.FINISHED:
            raise RunFailedError(f"the scriptlet has not finished but is {self.ended}: {self.error}", self)
        return self

    def __repr__(self) -> str:
        lines = [f"Record: {self.ended}"]
        if self.error is not None:
            lines += [f"  error: {_indented(self.error)}"]
        if self.result is not None:
            lines += [f"  result: {_shown(self.result)}"]
        for name in _LISTS:
            items = getattr(self, name)
            if items:
                lines += [f"  {name} ({len(items)}): {_listed(items)}"]
        return "\n".join(lines)


_LISTS = (
    "outputs",
    "previews",
    "progress",
    "logs",
    "log_json",
    "warnings",
    "errors",
    "messages",
    "children",
    "requests",
)


class RunFailedError(OocanaError):
    """A run did not end as was asked for.

    Attributes:
        record: what it did.
    """

    def __init__(self, message: str, record: Record) -> None:
        self.record = record
        super().__init__(f"{message}\n{record!r}")


class RunTimeoutError(RunFailedError, TimeoutError):
    """A run, or what a test waited for, took longer than its `timeout`."""


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")


def _listed(items: Sequence[Any]) -> str:
    shown = [_shown(item) for item in items[:_MOST]]
    more = [f"... and {len(items) - _MOST} more"] if len(items) > _MOST else []
    whole = ", ".join([*shown, *more])
    return whole if len(whole) <= _WIDTH else "".join(f"\n    {line}" for line in [*shown, *more])


def _shown(value: Any) -> str:
    """Return a value on one line; large ones by their type and size."""
    if type(value) is Output:
        return f"({value.handle!r}, {_shown(value.value)})"
    if isinstance(value, Mapping) and value:
        return _shortened("{" + ", ".join(f"{key!r}: {_shown(item)}" for key, item in value.items()) + "}")
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"<{type(value).__name__} of {' x '.join(map(str, shape))}>"
    if isinstance(value, bytes) and len(value) > _WIDTH:
        return f"<{len(value)} bytes>"
    return _shortened(" ".join(repr(value).split("\n")))


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
