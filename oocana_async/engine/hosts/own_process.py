"""Executors of embedded runs in processes of their own, one for each block with `spawn: true` (flow-format.md 4.2)."""

from __future__ import annotations

import asyncio
import os
import sys

import anyio

from oocana_async.engine.hosts.scopes import ExecutorStart
from oocana_async.transport.base import Transport
from oocana_async.transport.pipe.processes import ChildProcess, show_code

__all__ = ["OwnProcessHost"]

GRACE = 6.0
"""Seconds that a process gets to cancel its blocks and to deliver what they had sent; then it is killed."""


class OwnProcessHost:
    """Starts executors as child processes, which speak over a pipe to a transport of this process.

    Their stdout and stderr go to the stderr of this process: what a run writes to stdout is for whoever reads that.

    Args:
        transport: connected to the engine; stays open.
        max_threads: most threads for blocks in each process; None for the executor's default.
    """

    def __init__(self, transport: Transport, *, max_threads: int | None = None) -> None:
        self._transport = transport
        self._max_threads = max_threads
        self._watches: dict[asyncio.Task[None], ChildProcess] = {}
        self._closing = False

    async def start(self, spec: ExecutorStart) -> None:
        """Start a process; returns when it is launched.

        Raises:
            OSError: It cannot be started.
        """
        process = await ChildProcess.start(
            f"executor {spec.identifier}",
            self._command(spec),
            env={**os.environ, **spec.env, "OOCANA_PKG_DIR": str(spec.pkg_data_dir)},
            output=2,
            transport=self._transport,
        )
        # A raw task: whoever starts an executor is another task than the one that closes the host, so no task group
        # could be entered by the one and left by the other. `aclose` waits for it.
        watch = asyncio.create_task(self._watch(process, spec), name=f"oocana-watch-{spec.identifier}")
        self._watches[watch] = process
        watch.add_done_callback(lambda _: self._watches.pop(watch, None))

    def _command(self, spec: ExecutorStart) -> list[str]:
        """Return the arguments of `python-executor` for this process (protocol.md 2.1)."""
        command = [sys.executable, "-P", "-m", "oocana_async.executor.process.spawned"]
        command += ["--session-id", spec.session_id, "--session-dir", str(spec.session_dir)]
        command += ["--tmp-dir", str(spec.tmp_dir), "--identifier", spec.identifier]
        command += ["--package", str(spec.package_path)]
        if self._max_threads is not None:
            command += ["--max-threads", str(self._max_threads)]
        return command

    async def _watch(self, process: ChildProcess, spec: ExecutorStart) -> None:
        """Tell the engine of an end that it did not ask for; with code 0, too, because its jobs would wait for ever."""
        code = await process.wait()
        if not self._closing:
            spec.on_exit(f"exit with code {show_code(code)}")
        await process.aclose(0)

    async def aclose(self) -> None:
        """End all processes: what runs is cancelled, what is queued is delivered; may be called twice."""
        self._closing = True
        watches = dict(self._watches)
        async with anyio.create_task_group() as closing:
            for process in watches.values():
                closing.start_soon(process.aclose, GRACE, name=f"end {process.name}")
        if watches:
            await asyncio.wait(watches)
