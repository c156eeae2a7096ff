"""What all executors of one process share: block loops, worker threads, loaded scriptlets, captured output, plots."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from oocana_async.executor.capture import install as capture
from oocana_async.executor.current_job import current_job, job_scope, send_plot
from oocana_async.executor.loading.calling import Call
from oocana_async.executor.loading.loader import Scriptlet, ScriptletLoader
from oocana_async.executor.threads.block_loops import BlockLoops, HeldLoop
from oocana_async.executor.threads.workers import Workers
from oocana_async.preview.plots.hooks import PlotHooks, install_plot_hooks

__all__ = ["Loader", "Runtime"]

logger = logging.getLogger(__name__)


class Loader(Protocol):
    """Finds the function of a block."""

    def load(self, entry: str, function: str, *, directory: str) -> Scriptlet:
        """Return the function; see `ScriptletLoader.load`."""


class Runtime:
    """Runs the code of blocks; use it as an async context manager on the I/O loop.

    While it is entered, what blocks print goes to their logs, imports of scriptlets follow their own rules, `oocana`
    can be imported, and plots become previews. Leaving restores all of it.

    Args:
        max_threads: most block loops, and most worker threads; None for min(64, 8 x cores).
        max_loops: most block loops, if that is another number: with 1, all async code shares one loop.
        leftover_grace: seconds that tasks may go on which a block has not awaited; then they are cancelled, with a
            warning that names them.
        tee: captured output also goes to the real stdout and stderr.
        loader: finds functions; None for one that loads files.
        on_notice: takes a line about a block that holds a loop or leaves tasks or threads behind.
    """

    def __init__(
        self,
        *,
        max_threads: int | None = None,
        max_loops: int | None = None,
        leftover_grace: float = 30.0,
        tee: bool = False,
        loader: Loader | None = None,
        on_notice: Callable[[str], object] | None = None,
    ) -> None:
        self.tee = tee
        self._files = ScriptletLoader()
        self.loader: Loader = loader or self._files
        self._on_notice = on_notice or logger.warning
        self.loops = BlockLoops(
            max_threads=max_loops or max_threads,
            leftover_grace=leftover_grace,
            on_leftover=self._leftover,
            on_held=self._held,
        )
        self.workers = Workers(max_threads=max_threads)
        self._kinds: dict[tuple[str, str, str], bool] = {}
        self.calls: dict[tuple[str, str, str], Call] = {}
        """How functions are called, by (directory, entry, name); a changed file gives another function."""
        self._installed = contextlib.ExitStack()
        self._plots: PlotHooks | None = None

    async def __aenter__(self) -> Self:
        from oocana_async import compat

        self._installed.enter_context(self._files)
        self._installed.enter_context(capture.installed())
        compat.install_alias()
        self._installed.callback(compat.uninstall_alias)
        self._plots = install_plot_hooks(send_plot, scope=job_scope)
        self._installed.callback(self._plots)
        self._installed.callback(self._files.forget)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def add_package(self, directory: Path | str) -> None:
        """Keep what scriptlets import from the directory of their package apart from what lies in other packages."""
        self._files.add_package(directory)

    def known_async(self, key: tuple[str, str, str]) -> bool:
        """Say whether the function of (directory, entry, name) was a coroutine function when it last ran."""
        return self._kinds.get(key, False)

    def note_kind(self, key: tuple[str, str, str], *, is_async: bool) -> None:
        """Remember what a function is, so that the next job goes straight where it belongs."""
        self._kinds[key] = is_async

    def close_figures(self, job_id: str) -> None:
        """Close the figures that a job has left open."""
        if self._plots is not None:
            self._plots.close_figures(job_id)

    async def aclose(self, deadline: float = 5.0) -> None:
        """End all threads; those that are stuck are left to die with the process.

        Args:
            deadline: seconds that this may take.
        """
        loops, workers = await asyncio.gather(self.loops.aclose(deadline), self.workers.aclose(deadline))
        for thread in loops + workers:
            self._on_notice(f"thread {thread.name} did not end, it is at {thread.location}")
        self._installed.close()

    def _leftover(self, job_id: str, names: list[str]) -> None:
        messenger = current_job.get()
        text = f"tasks that the block did not await were cancelled: {', '.join(names)}"
        self._on_notice(f"job {job_id}: {text}")
        if messenger is not None:
            messenger.warn(text)

    def _held(self, held: HeldLoop) -> None:
        where = "" if held.location is None else f" at {held.location}"
        self._on_notice(
            f"job {held.job_id or '?'} holds its event loop for {held.seconds:.1f} s{where} while {held.waiting} other"
            " jobs wait; use await, or a `def` function for code that blocks"
        )
