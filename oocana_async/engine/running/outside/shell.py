"""Runs shell blocks: streams lines, sends both streams as outputs, ends the process group (flow-format.md 4.3)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from oocana_async.engine.manifests.blocks import TaskBlock
from oocana_async.engine.running.jobs import Job, nothing
from oocana_async.engine.running.runner import SessionRunner

__all__ = ["ShellJob", "parse_envs"]

_GRACE = 0.5
"""Seconds that the commands of a cancelled block have to leave after SIGTERM; then comes SIGKILL."""

_LINE_LIMIT = 16 * 1024 * 1024
"""Longest line in bytes; a longer one is cut into several."""


class ShellJob:
    """One run of a shell block, in a process group of its own.

    Args:
        runner: takes lines, outputs and the end.
        job: the job; its inputs are `command`, `cwd` and `envs`.
        block: the task.
        env: variables beside the inherited ones.
    """

    def __init__(self, runner: SessionRunner, job: Job, block: TaskBlock, env: Mapping[str, str]) -> None:
        self._runner = runner
        self._job = job
        self._block = block
        given = {name: msgspec.json.decode(value) for name, value in (job.inputs or {}).items()}
        self._command = _text(given.get("command"))
        self._directory = block.directory / _text(given.get("cwd"))
        self._env = {
            **os.environ,
            **env,
            "OOCANA_SESSION_ID": runner.session_id,
            "OOCANA_JOB_ID": job.job_id,
            **parse_envs(_text(given.get("envs"))),
        }

    async def run(self) -> None:
        """Run the command to its end; when cancelled, the whole process group is ended first."""
        spawning = asyncio.create_task(self._spawn(), name=f"spawn shell {self._job.job_id}")
        try:
            process = await asyncio.shield(spawning)
            code = await self._follow(process)
        except (OSError, ValueError):
            self._finish("Failed to spawn shell")
            return
        except asyncio.CancelledError:
            await self._end(spawning)
            raise
        shown = -1 if code < 0 else code
        self._finish(f"Task block '{_debug(self._block.path)}' exited with code {shown}" if code else None)

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            self._command,
            cwd=self._directory,
            env=self._env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_LINE_LIMIT,
        )

    async def _end(self, spawning: asyncio.Task[asyncio.subprocess.Process]) -> None:
        """End the process group, however often the caller is cancelled; at most a little more than the grace."""
        ending = asyncio.create_task(_end_group(spawning), name=f"end shell {self._job.job_id}")
        while not ending.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([ending])
        ending.result()

    async def _follow(self, process: asyncio.subprocess.Process) -> int:
        assert process.stdout is not None
        assert process.stderr is not None
        async with asyncio.TaskGroup() as readers:
            readers.create_task(self._read(process.stdout, "stdout"), name=f"stdout of {self._job.job_id}")
            readers.create_task(self._read(process.stderr, "stderr"), name=f"stderr of {self._job.job_id}")
        return await process.wait()

    async def _read(self, stream: asyncio.StreamReader, stdio: str) -> None:
        lines: list[str] = []
        while line := await _read_line(stream):
            text = line.decode(errors="replace").removesuffix("\n").removesuffix("\r")
            lines.append(text)
            self._runner.report.block_log(self._job, text, stdio)
            await self._runner.wait_for_readers()
        self._runner.output(self._job, stdio, Raw(msgspec.json.encode("\n".join(lines))))
        self._runner.drain()

    def _finish(self, error: str | None) -> None:
        self._job.stop = nothing
        self._runner.finish(self._job, error=error)
        self._runner.drain()


def parse_envs(text: str) -> dict[str, str]:
    """Read `K=V,K2=V2`: the first `=` splits, bad pairs are dropped."""
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name.strip(): value for name, sign, value in pairs if sign and name.strip()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _debug(path: Path | None) -> str:
    """Write an optional path as the reference does."""
    return "None" if path is None else f'Some("{path}")'


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.read(error.consumed)


async def _end_group(spawning: asyncio.Task[asyncio.subprocess.Process]) -> None:
    """End a process group as soon as it is there."""
    try:
        process = await spawning
    except (OSError, ValueError):
        return
    _signal_group(process, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GRACE):
            await process.wait()
    _signal_group(process, signal.SIGKILL)
    await process.wait()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
