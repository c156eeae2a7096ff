"""Turn what a job writes into lines of its log: one print is one entry, other writes are split at line breaks."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any, Literal, Protocol

Stdio = Literal["stdout", "stderr"]

# A line without an end is handed on in pieces of this many characters, so that a job cannot fill the memory with it.
MAX_LINE = 256 * 1024

current_output: ContextVar[CapturedText | None] = ContextVar("oocana_async_job_output", default=None)
"""The output of the job to which the running code belongs; None outside of jobs."""


class Sink(Protocol):
    """Where the lines of a job go, such as its context."""

    def log(self, line: str, stdio: str) -> object:
        """Take one entry of the log; `stdio` is `stdout` or `stderr`."""


class LineSplitter:
    """Cut a stream of text into lines as a terminal shows them: after a carriage return the last segment counts."""

    def __init__(self) -> None:
        self._partial = ""

    def feed(self, text: str) -> list[str]:
        """Take a piece of the stream and return the lines that it completes."""
        *lines, rest = (self._partial + text).split("\n")
        if "\r" in rest:
            rest = _last_segment(rest) + ("\r" if rest.endswith("\r") else "")
        if len(rest) > MAX_LINE:
            lines.append(rest)
            rest = ""
        self._partial = rest
        return [_last_segment(line) for line in lines]

    def finish_with(self, text: str) -> str:
        """Return what was begun and this text after it as one entry, however many lines it has."""
        whole, self._partial = self._partial + text, ""
        return "\n".join(map(_last_segment, whole.split("\n"))) if "\r" in whole else whole


def _last_segment(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2] if "\r" in line else line


class CapturedText:
    """The standard output and error of one job, from any of its threads and tasks.

    Entries of one thread keep their order. The sink is called without a lock and outside of the job's own capture, so
    it may block, and may write to the real streams.

    Attributes:
        tee: whether the text also goes to the real stream.
        assigned: what the job itself has put in the place of `sys.stdout` and `sys.stderr`.
    """

    def __init__(self, sink: Sink, *, tee: bool = False) -> None:
        self.tee = tee
        self.assigned: dict[str, Any] = {}
        self._sink = sink
        self._lock = threading.Lock()
        self._splitters: dict[str, LineSplitter] = {}

    def write(self, text: str, stdio: Stdio) -> None:
        """Take a piece of a stream; what is no whole line yet waits for the rest or for `close`."""
        with self._lock:
            lines = self._splitter(stdio).feed(text)
        self._hand_on(lines, stdio)

    def entry(self, text: str, stdio: Stdio) -> None:
        """Take a text as one entry, together with what was written before it on the same line."""
        with self._lock:
            whole = self._splitter(stdio).finish_with(text)
        self._hand_on([whole], stdio)

    def close(self) -> None:
        """Hand on what was begun. May be called twice; what comes later is taken as before."""
        for stdio, splitter in tuple(self._splitters.items()):
            with self._lock:
                rest = splitter.finish_with("")
            if rest.strip():
                self._hand_on([rest], stdio)

    def _splitter(self, stdio: str) -> LineSplitter:
        """Return the splitter of a stream; most jobs write to none."""
        found = self._splitters.get(stdio)
        if found is None:
            found = self._splitters[stdio] = LineSplitter()
        return found

    def _hand_on(self, lines: list[str], stdio: str) -> None:
        if not lines:
            return
        token = current_output.set(None)  # a sink that prints would come back here, for ever
        try:
            for line in lines:
                self._sink.log(line, stdio)
        finally:
            current_output.reset(token)
