"""The executor host of embedded runs: scopes share one executor in this process, spawned blocks have their own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from oocana_async.engine.hosts.own_process import OwnProcessHost
from oocana_async.engine.hosts.scopes import ExecutorStart
from oocana_async.executor.core import Executor
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.scope import ExecutorScope, ExecutorSession
from oocana_async.transport.base import Transport

__all__ = ["LEAVING", "InProcessHost"]

LEAVING = 3.0
"""Seconds that blocks, and then their threads, get together when a run is over before they are; then stuck threads are
left to die with the process."""

_LEAST = 0.1
"""Seconds that threads without work get in any case."""


class InProcessHost:
    """Starts executors inside this process, over the given transport, and processes for blocks with `spawn: true`.

    Services are processes of their own, too; global ones (`stop_at: app_end` or `never`) end with the session, because
    nobody could keep them.

    Each scope has its own variables, data directory and package path, as separate processes would have.

    Args:
        transport: connected to the engine; stays open.
        runtime: runs the code of the blocks; may be shared by several sessions and then stays open. None for an own
            one.
        max_threads: limit of an own runtime; None for its default.
        undeclared: defines output handles that a block does not declare; None refuses them with a warning.
    """

    def __init__(
        self,
        transport: Transport,
        runtime: Runtime | None = None,
        *,
        max_threads: int | None = None,
        undeclared: Callable[[str, Any], Mapping[str, Any]] | None = None,
    ) -> None:
        self._transport = transport
        self._undeclared = undeclared
        self._own_runtime = Runtime(max_threads=max_threads) if runtime is None else None
        self._runtime = runtime or self._own_runtime
        self._executor: Executor | None = None
        self._processes = OwnProcessHost(transport, max_threads=max_threads)

    async def start(self, spec: ExecutorStart) -> None:
        """Add a scope; the executor itself is started by the first one.

        Raises:
            OSError: A process cannot be started.
        """
        if spec.own_process:
            await self._processes.start(spec)
            return
        if self._executor is None:
            session = ExecutorSession(
                spec.session_id, Path(spec.session_dir), inputs_deadline=None, undeclared=self._undeclared
            )
            if self._own_runtime is not None:
                await self._own_runtime.__aenter__()
            assert self._runtime is not None
            self._executor = Executor(self._transport, session, self._runtime)
            await self._executor.__aenter__()
        assert self._runtime is not None
        self._runtime.add_package(spec.package_path)
        self._executor.add_scope(
            ExecutorScope(
                identifier=spec.identifier,
                package_path=spec.package_path,
                package_name=spec.package_name,
                pkg_data_dir=str(spec.pkg_data_dir),
                tmp_dir=spec.tmp_dir,
                variables={**os.environ, **spec.env},
            )
        )

    async def aclose(self) -> None:
        """End the executors: what runs is cancelled, what is queued is delivered; may be called twice."""
        await asyncio.gather(self._processes.aclose(), self._close_executor())

    async def _close_executor(self) -> None:
        executor, self._executor = self._executor, None
        if executor is None:
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + LEAVING
        await executor.aclose(LEAVING)
        if self._own_runtime is not None:
            await self._own_runtime.aclose(max(_LEAST, end - loop.time()))
