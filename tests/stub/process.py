"""A `python-executor` process as the engine starts it (protocol.md 2.1 to 2.3)."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["ExecutorProcess", "ExecutorState", "argument_list"]


class ExecutorState(enum.Enum):
    """What the engine knows of an executor."""

    SPAWNED = "spawned"
    READY = "ready"
    TIMED_OUT = "timed out"
    EXITED = "exited"


def argument_list(session_id: str, address: str, identifier: str, *, session_dir: Path, tmp_dir: Path) -> list[str]:
    """Return the arguments in the order in which the engine gives them, but for `--package`, which comes last."""
    return [
        "--session-id", session_id, "--address", address, "--session-dir", str(session_dir), "--tmp-dir", str(tmp_dir),
        "--identifier", identifier,
    ]  # fmt: skip


class ExecutorProcess:
    """One process; its output is read line by line and kept.

    Attributes:
        lines: what it wrote to stdout and stderr.
    """

    def __init__(self, identifier: str, process: asyncio.subprocess.Process) -> None:
        self.identifier = identifier
        self.state = ExecutorState.SPAWNED
        self.lines: list[str] = []
        self._process = process
        self._reader = asyncio.create_task(self._read(), name=f"stub engine reads the output of {identifier}")

    @classmethod
    async def spawn(
        cls, identifier: str, command: Sequence[str], environment: Mapping[str, str], cwd: Path
    ) -> ExecutorProcess:
        """Start a process with stdin at null and both outputs in one pipe."""
        variables = {**os.environ, **environment}
        beside = str(Path(sys.executable).parent)
        variables["PATH"] = os.pathsep.join([beside, variables.get("PATH", "")])
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        program = _find(command[0], variables["PATH"])
        process = await asyncio.create_subprocess_exec(
            program, *command[1:], env=variables, cwd=cwd, stdin=null, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
        return cls(identifier, process)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, None while it runs."""
        return self._process.returncode

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip("\n"))

    def terminate(self) -> None:
        """Send SIGTERM, as the engine does with `kill PID`."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def stop_reading(self) -> None:
        """Close the engine's end of the pipe, as happens when the engine dies."""
        self._reader.cancel()
        transport = getattr(self._process, "_transport")  # noqa: B009 - asyncio has no public name for it
        transport.get_pipe_transport(1).close()

    async def wait(self, within: float = 20.0) -> int:
        """Wait for the end; returns the exit code, negative for a signal."""
        async with asyncio.timeout(within):
            return await self._process.wait()

    async def aclose(self) -> None:
        """Kill what still runs, and read its output to the end; may be called twice."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader


def _find(program: str, path: str) -> str:
    found = shutil.which(program, path=path)
    if found is None:
        raise FileNotFoundError(f"Failed to spawn {program}: it is not on PATH")
    return found
