"""`oocana-async run` as a process: Ctrl-C, SIGTERM, readers that leave, terminals."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SYNC = "import time\ndef main(params):\n    print('up')\n    time.sleep(60)\n"
ASYNC = "import asyncio\nasync def main(params):\n    print('up')\n    await asyncio.sleep(60)\n"
POOL = "import asyncio, time\nasync def main(params):\n    print('up')\n    await asyncio.to_thread(time.sleep, 60)\n"

SHELL = """
nodes:
  - node_id: a
    task: {executor: {name: shell}, inputs_def: [{handle: command}]}
    inputs_from: [{handle: command, value: "echo pid $$; sleep 61 & wait"}]
"""
SPAWN = """
nodes:
  - {node_id: a, task: {executor: {name: python, options: {entry: job.py, spawn: true}}}}
"""
PID = "import os, time\ndef main(params):\n    print('pid', os.getpid())\n    time.sleep(60)\n"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the command on a scriptlet with the given code, or on a flow."""
    processes: list[subprocess.Popen[str]] = []

    def start_process(code: str, *flags: str, flow: str = "", **settings: Any) -> subprocess.Popen[str]:
        (tmp_path / "job.py").write_text(code)
        (tmp_path / "flow.oo.yaml").write_text(flow)
        target = tmp_path / ("flow.oo.yaml" if flow else "job.py")
        line = [sys.executable, "-m", "oocana_async", "run", str(target), *flags]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
        processes.append(subprocess.Popen(line, text=True, **pipes))
        return processes[-1]

    yield start_process
    for process in processes:
        with process:
            process.kill()


def wait_for(process: subprocess.Popen[str], text: str) -> list[str]:
    """Read stdout up to the line that holds a text."""
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    pytest.fail(f"the process ended without {text!r}: {lines} {process.communicate()[1]}")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["INT", "TERM", "HUP"]
)
def test_signal_ends_the_run_without_a_traceback(number: signal.Signals, code: int, start: Start) -> None:
    process = start(ASYNC, "--json")
    wait_for(process, "BlockStarted")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "interrupted"
    assert json.loads(out.splitlines()[-1])["type"] == "SessionFinished"


@pytest.mark.parametrize("code", [SYNC, POOL], ids=["sync", "pool"])
def test_second_ctrl_c_leaves_stuck_threads_behind(code: str, start: Start) -> None:
    process = start(code, "--json", stderr=None)
    wait_for(process, "up")
    process.send_signal(signal.SIGINT)
    wait_for(process, "SessionFinished")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=8)
    assert process.returncode == 130


@pytest.mark.parametrize("flow", [SHELL, SPAWN], ids=["shell", "spawn"])
def test_ctrl_c_leaves_no_child_process(flow: str, start: Start) -> None:
    process = start(PID, "--json", flow=flow)
    (*_, line) = wait_for(process, '"log":"pid ')
    child = int(json.loads(line)["log"].split()[1])
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert child != process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_report_file_is_complete_when_interrupted(tmp_path: Path, start: Start) -> None:
    file = tmp_path / "report.jsonl"
    process = start(ASYNC, "--report", str(file))
    wait_for(process, "up")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert [event["type"] for event in events] == ["SessionStarted", "BlockStarted", "BlockLog", "SessionFinished"]
    assert out.splitlines()[-1].startswith("interrupted after ")


def test_ctrl_c_while_nobody_reads_stdout(start: Start) -> None:
    code = "def main(params, context):\n    while not context.is_cancelled: print('x' * 1000)\n"
    process = start(code, "--json")
    wait_for(process, "BlockLog")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert "interrupted" in process.stderr.read()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130


def test_report_file_is_complete_though_nobody_reads_stdout(tmp_path: Path, start: Start) -> None:
    file = tmp_path / "report.jsonl"
    code = "def main(params, context):\n    while not context.is_cancelled: print('x' * 1000)\n"
    process = start(code, "--json", "--report", str(file))
    wait_for(process, "BlockLog")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    kinds = [json.loads(line)["type"] for line in file.read_text().splitlines()]
    assert (kinds[0], kinds[-1]) == ("SessionStarted", "SessionFinished")


def test_reader_that_leaves_ends_the_run_quietly(start: Start) -> None:
    code = "def main(params, context):\n    while not context.is_cancelled: context.output('n', 1)\n"
    process = start(code, "--json")
    wait_for(process, "BlockStarted")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    assert (process.wait(timeout=30), "Traceback" in err) == (141, False)


@pytest.mark.parametrize("line", [("check", "flow.oo.yaml"), ("--help",)], ids=["check", "help"])
def test_reader_that_has_gone_before_the_end_leaves_nothing_to_complain_about(
    line: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "flow.oo.yaml").write_text("nodes: []")
    reading, writing = os.pipe()
    os.close(reading)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipes: dict[str, Any] = {"stdout": writing, "stderr": subprocess.PIPE}
    command = [sys.executable, "-m", "oocana_async", *line]
    done = subprocess.run(command, **pipes, env=buffered, cwd=tmp_path, text=True, check=False, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_only_json_reaches_stdout_whatever_a_block_does(start: Start) -> None:
    code = (
        "import os, subprocess, sys, threading\n"
        "def main(params):\n"
        "    os.write(1, b'raw\\n')\n"
        "    subprocess.run(['echo', 'child'])\n"
        "    sys.__stdout__.write('real\\n')\n"
        "    sys.__stdout__.flush()\n"
    )
    process = start(code, "--json")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert all(json.loads(line)["type"] for line in out.splitlines())
    assert {"raw", "child", "real"} <= set(err.split())


def test_thread_that_a_block_leaves_behind_does_not_keep_the_process(start: Start) -> None:
    code = (
        "import threading\n"
        "def main(params):\n"
        "    threading.Thread(target=threading.Event().wait, daemon=False).start()\n"
    )
    process = start(code, "--json")
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_closed_stdout_is_no_failure(start: Start) -> None:
    process = start("def main(): print('x')", stdout=None, preexec_fn=lambda: os.close(1))
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")


# -- terminals --------------------------------------------------------------------------------------------------------


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)


def read_until(descriptor: int, text: str) -> str:
    """Read a terminal up to a text, or to its end."""
    found = b""
    while text.encode() not in found or not text:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # how a terminal on Linux says that nobody writes any more
            break
        if not data:
            break
        found += data
    return found.decode()


def start_on(theirs: int, start: Start, code: str, **variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "300", "LINES": "30", **variables}
    process = start(code, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    return process


def test_terminal_gets_a_live_display_and_its_cursor_back(start: Start) -> None:
    with terminal() as (ours, theirs):
        process = start_on(theirs, start, ASYNC)
        shown = read_until(ours, "1 running")
        process.send_signal(signal.SIGINT)
        shown += read_until(ours, "")
        assert process.wait(timeout=30) == 130
    assert "up" in shown
    assert "\x1b[?25l" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert "Traceback" not in shown


def test_terminal_without_colours_gets_none(start: Start) -> None:
    with terminal() as (ours, theirs):
        process = start_on(theirs, start, "def main(): return {'x': 1}", NO_COLOR="1")
        shown = read_until(ours, "")
        assert process.wait(timeout=30) == 0
    assert "finished after" in shown
    assert not any(f"\x1b[{number}m" in shown for number in range(31, 37))


def test_dumb_terminal_gets_plain_lines(start: Start) -> None:
    with terminal() as (ours, theirs):
        process = start_on(theirs, start, "def main(): return {'x': 1}", TERM="dumb")
        shown = read_until(ours, "")
        assert process.wait(timeout=30) == 0
    assert "\x1b" not in shown
    assert "finished  job in" in shown
