"""Shell blocks: lines, outputs, exit codes, and the end of everything that they have started."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from anyio.lowlevel import checkpoint

from oocana_async.engine import open_session
from oocana_async.engine.running.outside.shell import parse_envs
from tests.engine.fake_executor import fake_host
from tests.engine.flows import task, write_flow
from tests.engine.watching import Watched, watch

pytestmark = pytest.mark.anyio

SHELL = {"name": "shell"}


async def run_shell(tmp_path: Path, command: str, **more: Any) -> Watched:
    inputs = {"command": {"value": command}, **{name: {"value": value} for name, value in more.items()}}
    node = task("a", inputs, outputs=("stdout", "stderr"), executor=SHELL)
    return await watch(write_flow(tmp_path, [node]))


def outputs_of(run: Watched) -> dict[str, str]:
    return {event["handle"]: event["output"] for event in run.of("BlockOutput")}


async def test_lines_are_logged_and_streams_are_outputs(tmp_path: Path) -> None:
    run = await run_shell(tmp_path, "echo one; echo two; echo oops >&2")
    logs = {(event["stdio"], event["log"]) for event in run.of("BlockLog")}
    assert logs == {("stdout", "one"), ("stdout", "two"), ("stderr", "oops")}
    assert outputs_of(run) == {"stdout": "one\ntwo", "stderr": "oops"}
    assert "result" not in run.of("BlockFinished")[0]


async def test_last_line_without_newline_counts(tmp_path: Path) -> None:
    assert outputs_of(await run_shell(tmp_path, "printf 'a\\n\\nb'")) == {"stdout": "a\n\nb", "stderr": ""}


async def test_code_fails_the_block(tmp_path: Path) -> None:
    run = await run_shell(tmp_path, "exit 3")
    assert run.result.cause == "Task block 'None' exited with code 3"


async def test_signal_counts_as_minus_one(tmp_path: Path) -> None:
    assert (await run_shell(tmp_path, "kill -9 $$")).result.cause == "Task block 'None' exited with code -1"


async def test_missing_directory_fails_the_start(tmp_path: Path) -> None:
    assert (await run_shell(tmp_path, "true", cwd="nowhere")).result.cause == "Failed to spawn shell"


async def test_directory_and_variables_are_those_of_the_inputs(tmp_path: Path) -> None:
    (tmp_path / "flows" / "main" / "sub").mkdir(parents=True)
    run = await run_shell(tmp_path, "pwd; echo $A-$B-$OOCANA_JOB_ID", cwd="sub", envs="A=1,B=x=y,bad,=z")
    lines = outputs_of(run)["stdout"].splitlines()
    assert lines == [str(tmp_path / "flows/main/sub"), f"1-x=y-{run.of('BlockStarted')[0]['job_id']}"]


async def test_input_is_closed(tmp_path: Path) -> None:
    assert (await run_shell(tmp_path, "cat")).result.status == "succeeded"


async def test_long_line_arrives_whole(tmp_path: Path) -> None:
    run = await run_shell(tmp_path, "head -c 300000 /dev/zero | tr '\\0' x")
    assert outputs_of(run)["stdout"] == "x" * 300_000


async def test_timeout_ends_the_whole_process_group(tmp_path: Path, timers: dict[float, Callable[[], None]]) -> None:
    inputs = {"command": {"value": "sleep 300 & echo $! $$; wait"}}
    flow = write_flow(tmp_path, [task("a", inputs, executor=SHELL, timeout=60)])
    async with open_session(flow, temp_root=tmp_path, session_dir=tmp_path / "s", host=fake_host()) as running:
        async for event in running.events():
            if hasattr(event, "log"):
                pids = [int(pid) for pid in event.log.split()]
                timers[60]()
        assert (await running.result()).cause == "Timeout"
    assert not any(is_running(pid) for pid in pids)


async def test_cancelling_ends_the_whole_process_group(tmp_path: Path) -> None:
    inputs = {"command": {"value": "trap '' TERM; sleep 300 & echo $! $$; wait; wait"}}
    flow = write_flow(tmp_path, [task("a", inputs, executor=SHELL)])
    async with open_session(flow, temp_root=tmp_path, session_dir=tmp_path / "s", host=fake_host()) as running:
        with anyio.fail_after(10):
            async for event in running.events():
                if hasattr(event, "log"):
                    pids = [int(pid) for pid in event.log.split()]
                    break
    assert not any(is_running(pid) for pid in pids)


async def test_cancelling_a_start_ends_what_it_has_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, started, returned = anyio.open_process, anyio.Event(), anyio.Event()
    processes = []

    async def slow_start(*command: Any, **options: Any) -> Process:
        processes.append(await real(*command, **options))
        started.set()
        await returned.wait()
        return processes[0]

    monkeypatch.setattr(anyio, "open_process", slow_start)
    flow = write_flow(tmp_path, [task("a", {"command": {"value": "sleep 300"}}, executor=SHELL)])
    async with open_session(flow, temp_root=tmp_path, session_dir=tmp_path / "s", host=fake_host()) as running:
        await started.wait()
        running.cancel()
        await checkpoint()
        returned.set()
    assert not is_running(processes[0].pid)


async def test_lines_wait_for_a_reader_that_must_miss_nothing(tmp_path: Path) -> None:
    inputs = {"command": {"value": "seq 5000"}}
    flow = write_flow(tmp_path, [task("a", inputs, executor=SHELL)])
    most = 0
    async with open_session(flow, temp_root=tmp_path, session_dir=tmp_path / "s", host=fake_host()) as running:
        events = running.raw_events(limit=10, lossless=True)
        while batch := await events.receive_many():
            most = max(most, len(batch))
    assert most < 100


def is_running(pid: int) -> bool:
    """Say whether a process is more than a dead entry that nobody has reaped; one that was killed may take its time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        end = select.poll()
        end.register(descriptor, select.POLLIN)
        return not end.poll(2000)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [("", {}), ("A=1", {"A": "1"}), ("A=1,B=2=3, C =", {"A": "1", "B": "2=3", "C": ""}), ("nope,=x", {})],
)
async def test_envs_are_read_pair_by_pair(text: str, pairs: dict[str, str]) -> None:
    assert parse_envs(text) == pairs
