"""Runs a scriptlet to its end, or lets a test look at it and cancel it while it runs."""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Unpack

from oocana_async.testing.bench import Bench, Parts, RunOptions
from oocana_async.testing.record import Ended, Record, RunFailedError, RunTimeoutError
from oocana_async.testing.units import Target, place_of
from oocana_async.testing.values import Inputs

__all__ = ["ScriptletRun", "run_scriptlet", "run_scriptlet_sync", "start_scriptlet"]

TIMEOUT = 10.0
"""Real seconds for a run, and for every wait of a test."""


async def run_scriptlet(
    target: Target, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]
) -> Record:
    """Run a scriptlet to its end and return what it did.

    Waits until everything that it started is over, `timeout` seconds at most. Cancelling it cancels the scriptlet.

    Args:
        target: path of a scriptlet or of a task file, or a function, sync or async.
        inputs: handle to value.
        options: see `RunOptions`.

    Returns:
        The record, also when the scriptlet failed: see `Record.ended` and `Record.raise_for_error`.

    Raises:
        RunTimeoutError: The time was over; the text shows what had been done until then.
        FileNotFoundError: There is no such file.
        LoadError: The task file cannot be read.
        ValueError: An input that `inputs_def` wants is missing.
        EncodingError: An input cannot travel.
    """
    async with start_scriptlet(target, inputs, **options) as run:
        return await run.finished()


def run_scriptlet_sync(
    target: Target, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]
) -> Record:
    """Do the same as `run_scriptlet` in a test without an event loop.

    Raises:
        RuntimeError: An event loop runs in this thread; await `run_scriptlet` there.
    """
    return asyncio.run(run_scriptlet(target, inputs, **options))


class ScriptletRun:
    """A scriptlet that runs; made by `start_scriptlet`."""

    def __init__(self, name: str, parts: Parts, *, timeout: float) -> None:
        self._name = name
        self._executor, self._stand_in, self._recorder = parts
        self._timeout = timeout

    @property
    def record(self) -> Record:
        """What it has done so far; a copy that does not change any more."""
        self._stand_in.catch_up()
        return self._recorder.snapshot()

    def cancel(self) -> None:
        """Cancel it the way the engine does: an async scriptlet is cancelled, a sync one sees `is_cancelled`."""
        self._stand_in.cancel()

    async def wait_for(self, condition: Callable[[Record], object]) -> Record:
        """Wait until a record satisfies a condition.

        Args:
            condition: looked at whenever more has been recorded.

        Raises:
            RunFailedError: The scriptlet ended without that.
            RunTimeoutError: The time was over first.
        """
        return await self._in_time(self._until(condition), "did not do what was waited for")

    async def wait_for_output(self, handle: str, count: int = 1) -> Any:
        """Wait for a value on a handle and return it.

        Args:
            handle: an output handle; values in the result count too.
            count: how many values to wait for; the last of them is returned.

        Raises:
            RunFailedError: The scriptlet ended without so many.
            RunTimeoutError: The time was over first.
        """
        waiting = self._until(lambda record: len(record.all(handle)) >= count)
        record = await self._in_time(waiting, f"did not send {count} value(s) on [{handle}]")
        return record.all(handle)[count - 1]

    async def finished(self) -> Record:
        """Wait until it and everything that it started is over, and return the whole record.

        Raises:
            RunTimeoutError: The time was over first.
        """
        return await self._in_time(self._to_the_end(), "did not finish")

    async def _in_time(self, waiting: Coroutine[Any, Any, Record], what: str) -> Record:
        try:
            async with asyncio.timeout(self._timeout):
                return await waiting
        except TimeoutError as error:
            record = dataclasses.replace(self.record, ended=Ended.TIMED_OUT)
            raise RunTimeoutError(f"{self._name} {what} within {self._timeout:g} s", record) from error

    async def _until(self, condition: Callable[[Record], object]) -> Record:
        while True:
            record = self.record
            if condition(record):
                return record
            if record.ended is not Ended.RUNNING:
                raise RunFailedError(f"{self._name} ended without doing what was waited for", record)
            await self._recorder.changed()

    async def _to_the_end(self) -> Record:
        while self.record.ended is Ended.RUNNING:
            await self._recorder.changed()
        await self._executor.drain()
        return self.record


@asynccontextmanager
async def start_scriptlet(
    target: Target, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]
) -> AsyncIterator[ScriptletRun]:
    """Start a scriptlet, for tests that look at it or cancel it while it runs.

    Leaving cancels it when it still runs, and removes threads, tasks and files.

    Args:
        target: path of a scriptlet or of a task file, or a function, sync or async.
        inputs: handle to value.
        options: see `RunOptions`.
    """
    place = place_of(target, options.get("function", "main"))
    given = Inputs(inputs or {}, place.inputs_def if options.get("inputs_def") is None else options["inputs_def"])
    async with AsyncExitStack() as stack:
        directory = options.get("session_dir")
        if directory is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="oocana-testing-"))
        parts = await Bench(place, Path(directory), options).start(stack, given)
        yield ScriptletRun(place.name, parts, timeout=options.get("timeout", TIMEOUT))
