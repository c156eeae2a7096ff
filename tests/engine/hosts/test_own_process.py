"""Blocks with `spawn: true` run in processes of their own, which never outlive the run."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from oocana_async.engine import RunResult, open_session, run_flow
from oocana_async.engine.hosts import own_process
from tests.engine.conftest import Project

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

FLOW = """
    nodes:
      - node_id: own
        task:
          executor: {name: python, options: {entry: own.py, spawn: true}}
          inputs_def: [{handle: fifo}]
          outputs_def: [{handle: value}]
        inputs_from: [{handle: fifo, value: "%s"}]
      - node_id: next
        task:
          executor: {name: python, options: {entry: next.py}}
          inputs_def: [{handle: value}]
          outputs_def: [{handle: seen}]
        inputs_from:
          - handle: value
            from_node: [{node_id: own, output_handle: value}]
    outputs_from:
      - handle: value
        from_node: [{node_id: own, output_handle: value}]
      - handle: seen
        from_node: [{node_id: next, output_handle: seen}]
"""
HOLD = """
    import threading

    def main(params, context):
        fifo = open(params["fifo"], "w")
        fifo.write("started")
        fifo.flush()
        threading.Event().wait()
"""


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A pipe that blocks hold open while their process lives."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def write(project: Project, own: str, fifo: Path | str = "") -> Project:
    project.flow(FLOW % fifo)
    project.write("flows/main/own.py", own)
    project.write("flows/main/next.py", "import os\n\ndef main(params):\n    return {'seen': os.getpid()}\n")
    return project


async def run(project: Project, own: str) -> RunResult:
    return await run_flow(write(project, own).main, session_dir=project.root, temp_root=project.root)


async def test_spawned_block_runs_in_another_process_than_the_rest(project: Project) -> None:
    result = await run(project, "import os\n\nasync def main(params, context):\n    return {'value': os.getpid()}\n")
    result.raise_for_status()
    assert result.outputs["seen"] == [os.getpid()]
    assert result.outputs["value"] not in ([], [os.getpid()])


async def test_process_that_ends_fails_its_block_with_the_exit_code(project: Project) -> None:
    result = await run(project, "import os\n\ndef main(params):\n    os._exit(3)\n")
    assert result.cause == "Executor python-executor exit with code 3"


async def test_process_that_is_killed_shows_code_minus_one(project: Project) -> None:
    result = await run(project, "import os\n\ndef main(params):\n    os.kill(os.getpid(), 9)\n")
    assert result.cause == "Executor python-executor exit with code -1"


async def test_block_that_exits_with_code_0_does_not_hang(project: Project) -> None:
    result = await run(project, "import os\n\ndef main(params):\n    os._exit(0)\n")
    assert result.cause == "Executor python-executor exit with code 0"


async def test_cancelled_run_kills_a_stuck_process_and_its_group(
    project: Project, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_process, "GRACE", 0.3)
    sleeper = 'import subprocess\n        subprocess.run(["sleep", "60"], pass_fds=[fifo.fileno()])'
    write(project, HOLD.replace("threading.Event().wait()", sleeper), fifo)
    async with open_session(project.main, session_dir=project.root, temp_root=project.root):
        pipe = await asyncio.to_thread(fifo.open)
        assert await asyncio.to_thread(pipe.read, 7) == "started"
    with pipe:
        assert await asyncio.to_thread(pipe.read) == ""


async def test_process_leaves_when_the_engine_is_killed(project: Project, fifo: Path) -> None:
    write(project, HOLD, fifo)
    code = (
        "import asyncio, sys; from oocana_async.engine import run_flow;"
        "asyncio.run(run_flow(sys.argv[1], session_dir=sys.argv[2], temp_root=sys.argv[2]))"
    )
    engine = subprocess.Popen([sys.executable, "-c", code, str(project.main), str(project.root)])
    with await asyncio.to_thread(fifo.open) as pipe:
        assert await asyncio.to_thread(pipe.read, 7) == "started"
        engine.send_signal(signal.SIGKILL)
        assert await asyncio.to_thread(pipe.read) == ""
    engine.wait()
