"""Let `logging` in blocks behave as in a program of their own, whatever handlers the host process has."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from oocana_async.executor.capture.captured_text import current_output
from oocana_async.executor.capture.streams import JobStream


class LoggingPatch:
    """What capture changes in `logging`, and how to put it back.

    Handlers that the host had before and that write to the standard streams write through ours, so records of a block
    reach its log. Its other handlers (files, test tools) still get every record, but do not count for a block: its
    `basicConfig` works, and its warnings reach stderr even if only such handlers exist.
    """

    def __init__(self, streams: Sequence[JobStream]) -> None:
        self._streams = streams
        self._swapped: list[tuple[logging.StreamHandler[Any], Any]] = []
        self._hidden: list[logging.Handler] = []
        self._taken_off: list[logging.Handler] = []
        self._root_level = logging.root.level
        self._configured = False
        self._call_handlers = logging.Logger.callHandlers
        self._basic_config = logging.basicConfig
        self._new_call_handlers = self._make_call_handlers()
        self._new_basic_config = self._make_basic_config()

    def install(self) -> None:
        """Replace the two functions and the streams of existing handlers."""
        for handler in _all_handlers():
            stream = self._stream_of(handler)
            if stream is not None and isinstance(handler, logging.StreamHandler):
                self._swapped.append((handler, handler.setStream(stream)))
            elif type(handler) is not type(logging.lastResort):
                self._hidden.append(handler)
        logging.Logger.callHandlers = self._new_call_handlers  # type: ignore[method-assign]
        logging.basicConfig = self._new_basic_config

    def undo(self) -> None:
        """Put everything back, and take away what `basicConfig` of blocks has left behind."""
        if logging.Logger.callHandlers is self._new_call_handlers:
            logging.Logger.callHandlers = self._call_handlers  # type: ignore[method-assign]
        if logging.basicConfig is self._new_basic_config:
            logging.basicConfig = self._basic_config
        for handler, stream in self._swapped:
            if handler.stream in self._streams:
                handler.setStream(stream)
        for left in [one for one in logging.root.handlers if getattr(one, "stream", None) in self._streams]:
            logging.root.removeHandler(left)
        for handler_off in self._taken_off:
            logging.root.addHandler(handler_off)
        if self._configured:
            logging.root.setLevel(self._root_level)

    def _stream_of(self, handler: logging.Handler) -> JobStream | None:
        stream = vars(handler).get("stream")
        return next((one for one in self._streams if one.real is not None and one.real is stream), None)

    def _make_call_handlers(self) -> Any:
        original = self._call_handlers

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            original(logger, record)
            last = logging.lastResort
            if current_output.get() is None or last is None or record.levelno < last.level:
                return
            if self._only_hidden(logger):
                last.handle(record)

        return call_handlers

    def _only_hidden(self, logger: logging.Logger) -> bool:
        """Whether a record of this logger met handlers, but only such as do not count for a block."""
        found, one = False, logger
        while True:
            if any(handler not in self._hidden for handler in one.handlers):
                return False
            found = found or bool(one.handlers)
            if not one.propagate or one.parent is None:
                return found
            one = one.parent

    def _make_basic_config(self) -> Any:
        original = self._basic_config

        def basic_config(**options: Any) -> None:
            if current_output.get() is None:
                original(**options)
                return
            with logging._lock:  # type: ignore[attr-defined]  # noqa: SLF001 - what basicConfig itself holds
                set_aside = self._set_aside(force=bool(options.get("force")))
                self._configured = True
                try:
                    original(**options)
                finally:
                    for handler in set_aside:
                        logging.root.addHandler(handler)

        return basic_config

    def _set_aside(self, *, force: bool) -> list[logging.Handler]:
        """Take the handlers off that `basicConfig` must not see; with `force` it would even close the host's."""
        if force:
            taken = [one for one, _ in self._swapped if one in logging.root.handlers]
            self._taken_off += taken
            for handler in taken:
                logging.root.removeHandler(handler)
        hidden = [one for one in logging.root.handlers if one in self._hidden]
        for one in hidden:
            logging.root.removeHandler(one)
        return hidden


def _all_handlers() -> list[logging.Handler]:
    references = list(logging._handlerList)  # type: ignore[attr-defined]  # noqa: SLF001 - the list that shutdown uses
    return [handler for handler in (reference() for reference in references) if handler is not None]
