"""Send what blocks print, log and warn to the log of the block that did it; see `installed`.

Which block that is, is a context variable: tasks inherit it by themselves, threads and pools while this is installed.
"""

from __future__ import annotations

import builtins
import concurrent.futures
import contextlib
import contextvars
import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

from oocana_async.executor.capture.captured_text import CapturedText, Sink, current_output
from oocana_async.executor.capture.log_records import LoggingPatch
from oocana_async.executor.capture.streams import JobStream, SysModule, assigned_outside
from oocana_async.patching import SharedPatch

__all__ = ["CapturedText", "Sink", "attach", "current_output", "installed"]


def installed() -> contextlib.AbstractContextManager[None]:
    """Capture inside a `with` block; several may be inside at the same time, and the last one puts everything back.

    Replaced until then: `builtins.print`, `sys.stdout` and `sys.stderr` (assigning to them inside a job concerns that
    job alone), `warnings.showwarning`, `sys.breakpointhook`, `Thread.start`, `ThreadPoolExecutor.submit`,
    `logging.basicConfig` and how loggers fall back to stderr. Outside of jobs all of them do what they always do.
    """
    return _capture.installed()


def attach(sink: Sink, *, tee: bool = False) -> CapturedText:
    """Make the current context that of a job whose output goes to a sink.

    To be called inside the job's own `contextvars.Context`. The one who calls closes the output when the job is over.

    Args:
        sink: object with `log(line, stdio)`; called in the thread that wrote.
        tee: let the text go to the real streams too.
    """
    output = CapturedText(sink, tee=tee)
    current_output.set(output)
    return output


class _Installation:
    """One time of being installed: everything that was replaced, and how to put it back."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, Any, Any]] = []
        self._sys_type = type(sys)
        self._streams = (JobStream("stdout", sys.stdout), JobStream("stderr", sys.stderr))
        self._logging = LoggingPatch(self._streams)
        assigned_outside.clear()
        for stream in self._streams:
            if stream.real is None:
                assigned_outside[stream.stdio] = None
            vars(sys)[stream.stdio] = stream
        # Not `sys.stdout = stream` alone: a job's `contextlib.redirect_stdout` would replace it for all jobs.
        sys.__class__ = SysModule
        self._replace(builtins, "print", _make_print(builtins.print))
        self._replace(warnings, "showwarning", _make_showwarning(warnings.showwarning))
        self._replace(sys, "breakpointhook", _make_breakpointhook(sys.breakpointhook, self._streams[0]))
        self._replace(threading.Thread, "start", _make_start(threading.Thread.start))
        pool = concurrent.futures.ThreadPoolExecutor
        self._replace(pool, "submit", _make_submit(pool.submit))
        self._logging.install()

    def _replace(self, owner: Any, name: str, replacement: Any) -> None:
        self._replaced.append((owner, name, getattr(owner, name), replacement))
        setattr(owner, name, replacement)

    def undo(self) -> None:
        self._logging.undo()
        for owner, name, original, replacement in reversed(self._replaced):
            if getattr(owner, name) is replacement:  # else somebody replaced it after us and may still call us
                setattr(owner, name, original)
        sys.__class__ = self._sys_type
        for stream in self._streams:
            vars(sys)[stream.stdio] = assigned_outside.get(stream.stdio, stream.real)
        assigned_outside.clear()


_capture = SharedPatch(lambda: _Installation().undo)


def _make_print(original: Callable[..., None]) -> Callable[..., None]:
    def print(  # noqa: A001 - takes the place of the built-in
        *values: object, sep: str | None = None, end: str | None = None, file: Any = None, flush: bool = False
    ) -> None:
        # The built-in would work, too, but writes the text and the line break by themselves: lines of two threads of a
        # job would mix, and a print of several lines would be several entries of the log.
        target = sys.stdout if file is None else file
        if target is None:
            return
        output = current_output.get()
        if output is None or type(target) is not JobStream or not _are_texts(sep, end):
            original(*values, sep=sep, end=end, file=target, flush=flush)
            return
        text = (" " if sep is None else sep).join(map(str, values))
        if end is None or end == "\n":
            output.entry(text, target.stdio)
        else:
            output.write(text + end, target.stdio)
        if output.tee and target.real is not None:
            original(text, end=end, file=target.real, flush=flush)

    print.__doc__ = original.__doc__
    print.__module__ = "builtins"
    print.__qualname__ = "print"
    return print


def _are_texts(*texts: str | None) -> bool:
    return all(text is None or isinstance(text, str) for text in texts)


def _make_showwarning(original: Callable[..., None]) -> Callable[..., None]:
    def showwarning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: str | None = None,
    ) -> None:
        output = current_output.get()
        target = sys.stderr if file is None else file
        if output is None or type(target) is not JobStream:
            original(message, category, filename, lineno, file, line)
            return
        text = warnings.formatwarning(message, category, filename, lineno, line)
        output.entry(text.rstrip("\n"), target.stdio)
        if output.tee and target.real is not None:
            target.real.write(text)

    return showwarning


def _make_breakpointhook(original: Callable[..., Any], stdout: JobStream) -> Callable[..., Any]:
    def breakpointhook(*args: Any, **kwargs: Any) -> Any:
        asked = os.environ.get("PYTHONBREAKPOINT", "")
        if current_output.get() is None or original is not sys.__breakpointhook__ or asked not in ("", "pdb.set_trace"):
            return original(*args, **kwargs)
        import pdb  # noqa: T100 - this is breakpoint()

        # The debugger talks to the person, not to the log of the block.
        return pdb.Pdb(stdout=stdout.real).set_trace(sys._getframe(1))  # noqa: SLF001

    return breakpointhook


def _make_start(original: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    def start(self: threading.Thread) -> None:
        if current_output.get() is None:
            original(self)
            return
        context, body = contextvars.copy_context(), self.run

        # Put on the object, not the class: subclasses override `run`. It goes before the body runs, because a closure
        # that refers to its own thread would be a circle.
        def run() -> None:
            del self.run
            context.run(body)

        self.run = run  # type: ignore[method-assign]
        try:
            original(self)
        except BaseException:
            vars(self).pop("run", None)
            raise

    return start


def _make_submit(original: Callable[..., Any]) -> Callable[..., Any]:
    def submit(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if current_output.get() is None:
            return original(self, fn, *args, **kwargs)
        context = contextvars.copy_context()
        token = current_output.set(None)  # the pool's thread outlives the job and belongs to nobody
        try:
            return original(self, context.run, fn, *args, **kwargs)
        finally:
            current_output.reset(token)

    return submit
