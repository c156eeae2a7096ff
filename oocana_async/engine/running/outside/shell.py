"""Runs shell blocks: streams lines, sends both streams as outputs, ends the process group (flow-format.md 4.3)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import msgspec
from anyio.abc import ByteReceiveStream, Process
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
        try:
            with anyio.CancelScope(shield=True):  # a start that is cut half-way would leave a process to nobody
                process = await self._start()
        except (OSError, ValueError):
            self._finish("Failed to spawn shell")
            return
        try:
            code = await self._follow(process)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await _end_group(process)
            raise
        shown = -1 if code < 0 else code
        self._finish(f"Task block '{_debug(self._block.path)}' exited with code {shown}" if code else None)

    async def _start(self) -> Process:
        return await anyio.open_process(
            ["sh", "-c", self._command],
            cwd=self._directory,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    async def _follow(self, process: Process) -> int:
        assert process.stdout is not None
        assert process.stderr is not None
        async with anyio.create_task_group() as readers:
            readers.start_soon(self._read, process.stdout, "stdout", name=f"stdout of {self._job.job_id}")
            readers.start_soon(self._read, process.stderr, "stderr", name=f"stderr of {self._job.job_id}")
        return await process.wait()

    async def _read(self, stream: ByteReceiveStream, stdio: str) -> None:
        lines: list[str] = []
        async for line in _lines(stream):
            text = line.decode(errors="replace").removesuffix("\r")
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


async def _lines(stream: ByteReceiveStream) -> AsyncIterator[bytes]:
    """Yield lines without their newline, the last one also when it has none; too long ones come in pieces."""
    started: list[bytes] = []  # what has arrived of a line; joined once, when its end is there
    size = 0
    async for chunk in stream:
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            yield b"".join((*started, line))
            started, size = [], 0
        started.append(rest)
        size += len(rest)
        if size >= _LINE_LIMIT:
            yield b"".join(started)
            started, size = [], 0
    if size:
        yield b"".join(started)


async def _end_group(process: Process) -> None:
    """End a process group: ask, wait, kill; at most a little more than the grace."""
    _signal_group(process, signal.SIGTERM)
    with anyio.move_on_after(_GRACE):
        await process.wait()
    _signal_group(process, signal.SIGKILL)
    await process.aclose()


def _signal_group(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
