"""What all executors of one process share: block loops, worker threads, loaded scriptlets, captured output."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from oocana_async.executor.block_loops import BlockLoops
from oocana_async.executor.loader import ScriptletLoader
from oocana_async.executor.workers import Workers

__all__ = ["Runtime"]


class Runtime:
    """Runs the code of blocks; use it as an async context manager on the I/O loop.

    Args:
        max_threads: most block loops, and most worker threads; None for min(64, 8 x cores).
        tee: captured output also goes to the real stdout and stderr.
    """

    def __init__(self, *, max_threads: int | None = None, tee: bool = False) -> None:
        self.loops = BlockLoops(max_threads=max_threads)
        self.workers = Workers(max_threads=max_threads)
        self.loader = ScriptletLoader()
        self._tee = tee
        self._installed = contextlib.ExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self, deadline: float = 5.0) -> None:
        """End all threads; those that are stuck after some seconds are left to die with the process."""
        await self.loops.aclose(deadline)
        await self.workers.aclose(deadline)
        self._installed.close()
