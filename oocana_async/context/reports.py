"""Members that show something: previews, progress, logs, messages, warnings, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Raw

from oocana_async.context.members import ContextCore, encode_as
from oocana_async.context.messenger import clean_text, new_id
from oocana_async.errors import EncodingError
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.report import BlockLogJSON, BlockMessage
from oocana_async.wire.messages.session import BlockError, Preview

if TYPE_CHECKING:
    from oocana_async.preview import PreviewPayload

__all__ = ["ReportMembers"]

R = TypeVar("R")


class ReportMembers(ContextCore[R]):
    """`preview`, `report_progress`, `report_log`, `log_json`, `send_message`, `send_warning`, `error`."""

    def preview(self, payload: PreviewPayload, id: str | None = None) -> R:  # noqa: A002 - official name
        """Show something: text, JSON, a table, an image, a data frame, a figure; rendered now, in this thread.

        Args:
            payload: `{"type": ..., "data": ...}`, a data frame, a figure, or an object that knows how to show itself.
            id: tells several previews of one block apart.

        Raises:
            EncodingError: Nothing is known about how to show it.
        """
        from oocana_async.preview import render  # late: it costs start-up time, and many blocks show nothing

        if self._may_send("preview"):
            request = Preview(
                session_id=self.session_id,
                job_id=self.job_id,
                request_id=new_id(),
                payload=self._redacted(render(payload, id=id), "preview"),
            )
            self._messenger.emit(encode_message(request), "preview")
        return self._sent()

    def report_progress(self, progress: float) -> R:
        """Show progress, at most every 0.3 s: the first call at once, then the last one of each interval.

        Args:
            progress: 0 to 100; it changes nothing but the display.

        Raises:
            EncodingError: It is no finite number.
        """
        if self._may_send("report_progress"):
            self._messenger.progress(_percent(progress))
        return self._sent()

    def report_log(self, line: str, stdio: str = "stdout") -> R:
        """Write text to the block's log.

        Args:
            line: the text.
            stdio: "stdout" or "stderr".

        Raises:
            ValueError: `stdio` is neither.
        """
        if stdio not in ("stdout", "stderr"):
            raise ValueError(f'stdio should be "stdout" or "stderr", but got {stdio!r}')
        if self._may_send("report_log"):
            self._messenger.log(line, stdio)
        return self._sent()

    def log_json(self, payload: Any) -> R:
        """Write data to the block's log.

        Raises:
            EncodingError: The payload cannot travel.
        """
        if self._may_send("log_json"):
            self._messenger.report(BlockLogJSON, json=self._redacted(payload, "log_json payload"))
        return self._sent()

    def send_message(self, payload: Any) -> R:
        """Send a message to front ends.

        Raises:
            EncodingError: The payload cannot travel.
        """
        if self._may_send("send_message"):
            self._messenger.report(BlockMessage, payload=self._redacted(payload, "message payload"))
        return self._sent()

    def send_warning(self, warning: str) -> R:
        """Show a warning."""
        if self._may_send("send_warning"):
            self._messenger.warn(warning)
        return self._sent()

    def error(self, error: str) -> R:
        """Show an error; it does not end the block."""
        if self._may_send("error"):
            text = self._messenger.redact(clean_text(error))
            self._messenger.emit(encode_message(BlockError(self.session_id, self.job_id, text)), "error")
        return self._sent()

    def send_error(self, error: str) -> R:
        """Show an error; the older name of `error`."""
        return self.error(error)

    def _redacted(self, payload: Any, what: str) -> Raw:
        return Raw(self._messenger.redact_json(encode_as(payload, what)))


def _percent(progress: Any) -> float:
    if type(progress) is int or type(progress) is float:
        value: float = progress
    else:
        value = _as_float(progress)
    if not -float("inf") < value < float("inf"):
        raise EncodingError(f"should be a number from 0 to 100, but got {value}", subject="progress")
    return value


def _as_float(progress: Any) -> float:
    try:
        return float(progress)
    except (TypeError, ValueError) as error:
        kind = type(progress).__name__
        raise EncodingError(f"should be a number from 0 to 100, but got {kind}", subject="progress") from error
