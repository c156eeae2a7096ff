"""Stand in for `sys.stdout` and `sys.stderr`: each job sees, and may replace, streams of its own."""

from __future__ import annotations

import io
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from oocana_async.executor.capture.captured_text import CapturedText, Stdio, current_output


class JobStream(io.TextIOBase):
    """A text stream that writes to the log of the job that uses it, and outside of jobs to the real stream.

    Which job that is, is asked at each write. So a handler that one job made with `logging.basicConfig` serves all.

    Attributes:
        stdio: `stdout` or `stderr`.
        real: the stream whose place this one takes, None if there is none.
    """

    def __init__(self, stdio: Stdio, real: Any) -> None:
        self.stdio: Stdio = stdio
        self.real = real

    def write(self, text: str, /) -> int:
        """Write to the current job's log or to the real stream."""
        output = current_output.get()
        if output is None:
            if self.real is not None:
                self.real.write(text)
            return len(text)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        output.write(text, self.stdio)
        if output.tee and self.real is not None:
            self.real.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]  # typeshed adds bytes here
        """Write each of the texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the real stream; a job's begun line stays until it ends."""
        if self.real is not None and (current_output.get() is None or self.tees):
            self.real.flush()

    def isatty(self) -> bool:
        """Say whether a terminal shows the text; never in a job."""
        return current_output.get() is None and self.real is not None and bool(self.real.isatty())

    def fileno(self) -> int:
        """Return the descriptor of the real stream, which child processes need; what they write is not captured."""
        if self.real is None:
            raise io.UnsupportedOperation("fileno")
        number: int = self.real.fileno()
        return number

    def writable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Do nothing: the real stream belongs to the process."""

    def reconfigure(self, **options: Any) -> None:
        """Change the real stream's settings; a job's log is text, so nothing happens in a job."""
        if current_output.get() is None and hasattr(self.real, "reconfigure"):
            self.real.reconfigure(**options)

    def detach(self) -> Any:
        """Return the binary stream below; this one stays usable."""
        return self.buffer

    @property
    def buffer(self) -> Any:
        """The binary stream below: in a job one whose bytes reach the log as UTF-8."""
        # Made at each use: whoever keeps one keeps it for the job that asked, also when it is used from elsewhere.
        output = current_output.get()
        return self.real.buffer if output is None else JobBuffer(output, self.stdio)

    @property
    def tees(self) -> bool:
        """Whether the current job's text also goes to the real stream."""
        output = current_output.get()
        return output is not None and output.tee

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in typeshed
        """Encoding of the real stream."""
        return getattr(self.real, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # a plain attribute in typeshed
        """How the real stream treats characters that it cannot encode."""
        return getattr(self.real, "errors", None)

    def __getattr__(self, name: str) -> Any:
        """Look up everything else at the real stream."""
        return getattr(self.real, name)

    def __repr__(self) -> str:
        return f"<JobStream {self.stdio} in place of {self.real!r}>"


class JobBuffer(io.BufferedIOBase):
    """What a job gets for `sys.stdout.buffer`."""

    def __init__(self, output: CapturedText, stdio: Stdio) -> None:
        self._output = output
        self._stdio: Stdio = stdio

    def write(self, data: Any, /) -> int:
        """Write bytes to the job's log as UTF-8."""
        view = memoryview(data).cast("B")
        self._output.write(bytes(view).decode("utf-8", "replace"), self._stdio)
        return len(view)

    def writable(self) -> bool:
        """Return True."""
        return True


class SysModule(ModuleType):
    """The type of module `sys` while jobs are captured: `sys.stdout = x` inside a job concerns that job alone.

    `contextlib.redirect_stdout` is such an assignment. The module's dictionary, which C code reads, keeps ours.
    """

    @property
    def stdout(self) -> Any:
        """Standard output as the running code sees it."""
        return _seen(self, "stdout")

    @stdout.setter
    def stdout(self, stream: Any) -> None:
        _assign(self, "stdout", stream)

    @stdout.deleter
    def stdout(self) -> None:
        _assign(self, "stdout", None)

    @property
    def stderr(self) -> Any:
        """Standard error as the running code sees it."""
        return _seen(self, "stderr")

    @stderr.setter
    def stderr(self, stream: Any) -> None:
        _assign(self, "stderr", stream)

    @stderr.deleter
    def stderr(self) -> None:
        _assign(self, "stderr", None)

    def __getattr__(self, name: str) -> Any:
        """Refuse what `sys` does not have.

        That this exists is the point: since 3.14 code that often reads an attribute of a module finds it in the
        dictionary and skips the properties above, unless the type of the module has a way of its own to look it up.
        """
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)


# What was put in the place of the standard streams outside of jobs while they are captured.
assigned_outside: dict[str, Any] = {}


def _seen(module: ModuleType, name: str) -> Any:
    output = current_output.get()
    assigned = assigned_outside if output is None else output.assigned
    return assigned[name] if name in assigned else vars(module)[name]


def _assign(module: ModuleType, name: str, stream: Any) -> None:
    output = current_output.get()
    assigned = assigned_outside if output is None else output.assigned
    if stream is vars(module)[name]:
        assigned.pop(name, None)
    else:
        assigned[name] = stream
