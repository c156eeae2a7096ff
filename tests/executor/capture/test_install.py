"""What is replaced while blocks are captured, and that it is put back."""

from __future__ import annotations

import builtins
import contextlib
import contextvars
import io
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oocana_async.executor.capture import install as capture


class Log:
    """A job and the lines that reached its log."""

    def __init__(self, *, tee: bool = False) -> None:
        self.lines: list[tuple[str, str]] = []
        self.context = contextvars.copy_context()
        self.output = self.context.run(capture.attach, self, tee=tee)

    def log(self, line: str, stdio: str) -> None:
        self.lines.append((line, stdio))

    def run(self, function: Callable[..., Any], *args: Any) -> list[tuple[str, str]]:
        self.context.run(function, *args)
        self.output.close()
        return self.lines


def test_nothing_reaches_real_stdout_unless_asked() -> None:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), capture.installed():
        Log().run(lambda: print("hidden"))
        Log(tee=True).run(lambda: (print("shown"), sys.stdout.write("too\n")))
        print("outside")
    assert shown.getvalue() == "shown\ntoo\noutside\n"


def test_handler_of_host_on_stderr_writes_to_the_job() -> None:
    handler = logging.StreamHandler(sys.stderr)
    logger = logging.getLogger("hosted")
    logger.addHandler(handler)
    real = handler.stream
    try:
        with capture.installed():
            assert Log().run(logger.error, "broken") == [("broken", "stderr")]
        assert handler.stream is real
    finally:
        logger.removeHandler(handler)


def test_breakpoint_in_job_talks_to_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    def job() -> None:
        value = 41
        breakpoint()  # noqa: T100
        print("value", value)

    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO("p value + 1\ncontinue\n"))
    monkeypatch.setattr(sys, "breakpointhook", sys.__breakpointhook__)
    with contextlib.redirect_stdout(terminal), capture.installed():
        lines = Log().run(job)
    assert "42" in terminal.getvalue()
    assert lines == [("value 41", "stdout")]


def everything_replaced() -> list[Any]:
    return [
        vars(sys)["stdout"],
        vars(sys)["stderr"],
        type(sys),
        sys.breakpointhook,
        builtins.print,
        warnings.showwarning,
        threading.Thread.start,
        ThreadPoolExecutor.submit,
        logging.Logger.callHandlers,
        logging.basicConfig,
        logging.root.handlers[:],
        logging.root.level,
    ]


def test_uninstall_restores_everything() -> None:
    before = everything_replaced()
    with capture.installed():
        Log().run(lambda: logging.basicConfig(level=1, force=True))
        with capture.installed():
            pass
        assert Log().run(lambda: print("still captured")) == [("still captured", "stdout")]
    assert everything_replaced() == before


def test_uninstall_keeps_what_was_assigned_outside() -> None:
    real, text = sys.stdout, io.StringIO()
    try:
        with capture.installed():
            sys.stdout = text
        assert sys.stdout is text
    finally:
        sys.stdout = real


def test_import_alone_changes_nothing() -> None:
    code = (
        "import sys, builtins, threading; before = (print, sys.stdout, type(sys), threading.Thread.start);"
        "import oocana_async.executor.capture.install, oocana_async.executor.loading.loader;"
        "assert before == (print, sys.stdout, type(sys), threading.Thread.start), before;"
        "assert builtins.__import__.__module__ == 'builtins'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_input_works_outside_of_jobs() -> None:
    code = (
        "from oocana_async.executor.capture.install import installed\n"
        "with installed():\n    print('got', input('question? '))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input="answer\n", capture_output=True, text=True, check=True)
    assert done.stdout == "question? got answer\n"
