"""Runs a scriptlet on the real executor, with a stand-in for the engine and a record of what it does."""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypedDict, Unpack

from oocana_async import topics
from oocana_async.bus import Bus, Overflow
from oocana_async.executor.core import Executor
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.scope import ExecutorScope, ExecutorSession
from oocana_async.handles.secrets import SecretsFile
from oocana_async.messages.dispatch import BlockInputs, BlockPayload, ExecutorSpec, PythonOptions
from oocana_async.messages.shared import RawMap, StackFrame
from oocana_async.outbox import Outbox
from oocana_async.testing.answers import Answers, BlockAnswer, QueryAnswer
from oocana_async.testing.record import Ended, Record, RunFailedError, RunTimeoutError
from oocana_async.testing.recorder import Recorder
from oocana_async.testing.stand_in import JobPlan, StandIn
from oocana_async.testing.targets import Target, TargetPlace, place_of
from oocana_async.testing.values import HandleDefs, Inputs, Values, define, define_output
from oocana_async.throttle import Clock
from oocana_async.transport.base import Outgoing
from oocana_async.transport.memory import MemoryTransport

__all__ = ["RunOptions", "ScriptletRun", "run_scriptlet", "run_scriptlet_sync", "start_scriptlet"]

TIMEOUT = 10.0
GRACE = 1.0
"""Seconds that a scriptlet gets to clean up when its run is left early."""


class RunOptions(TypedDict, total=False):
    """Options of a run.

    Attributes:
        function: name of the function in a scriptlet file, "main" by default.
        inputs_def: definitions of the input handles; missing inputs get their defaults. By default every input is
            declared: bytes arrive as bytes, what is no JSON by reference, the rest as a copy. A task file says it.
        outputs_def: definitions of the output handles, others are warned about and dropped. By default every handle
            is declared, except for a task file.
        blocks: what `run_block` may run; others are refused as by the engine.
        downstream: answer to `query_downstream`, handle to `{"to_node": [...], "to_flow": [...]}`.
        auth: answers to `query_auth` by credential id; by default there is no vault.
        known_blocks: answers to `query_block` by reference.
        variables: environment variables that the Context shows, none by default.
        clock: drives throttles and deadlines, a `ManualClock` for instance.
        session_dir: kept; by default a temporary one that is removed.
        timeout: real seconds for the run, and for every wait of a test, 10 by default.
    """

    function: str
    inputs_def: HandleDefs | None
    outputs_def: HandleDefs | None
    blocks: Mapping[str, BlockAnswer] | None
    downstream: QueryAnswer | None
    auth: Mapping[str, QueryAnswer] | None
    known_blocks: Mapping[str, QueryAnswer] | None
    variables: Mapping[str, str] | None
    clock: Clock | None
    session_dir: str | Path | None
    timeout: float


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

    def __init__(self, name: str, executor: Executor, stand_in: StandIn, recorder: Recorder, *, timeout: float) -> None:
        self._name = name
        self._executor = executor
        self._stand_in = stand_in
        self._recorder = recorder
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
        bench = _Bench(place, Path(directory), options)
        yield await bench.start(stack, given)


class _EveryMessageOutbox(Outbox):
    """Keeps progress that a busy executor would leave out for a newer one, so that records do not depend on speed."""

    def append_latest(self, key: str, message: Outgoing) -> None:
        """Put a message at the end of the channel."""
        del key
        self.append(message)


class _Bench:
    """Puts executor and stand-in together for one run."""

    def __init__(self, place: TargetPlace, directory: Path, options: RunOptions) -> None:
        self._place = place
        self._directory = directory.absolute()
        self._options = options
        given = options.get("outputs_def")
        self._outputs_def = place.outputs_def if given is None else define(given)
        self._session_id = str(uuid.uuid4())

    async def start(self, stack: AsyncExitStack, inputs: Inputs) -> ScriptletRun:
        """Start everything; the stack ends it in reverse order."""
        bus = Bus()
        stack.callback(bus.close)
        # Bound: none, a record keeps everything; drained and closed by the stand-in, at the latest by the bus.
        incoming = bus.subscribe(topics.session(self._session_id), topics.REPORT, overflow=Overflow.GROW)
        executor = await self._start_executor(stack, bus, inputs)
        _, store = executor.surroundings(None)
        values = Values(self._session_id, store, executor.bins)
        plan = self._plan(inputs.encode(values), inputs.definitions)
        recorder = Recorder(values)
        stand_in = StandIn(bus, incoming, plan, _answers(self._options), recorder, values)
        await stack.enter_async_context(stand_in)
        stack.push_async_callback(executor.aclose, GRACE)  # first of all, while there is somebody who records
        timeout = self._options.get("timeout", TIMEOUT)
        return ScriptletRun(self._place.name, executor, stand_in, recorder, timeout=timeout)

    async def _start_executor(self, stack: AsyncExitStack, bus: Bus, inputs: Inputs) -> Executor:
        directory, options = self._directory, self._options
        for name in ("tmp/workspace", "data"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        runtime = await Runtime(loader=self._place.loader).__aenter__()
        stack.push_async_callback(runtime.aclose, GRACE)
        transport = await stack.enter_async_context(MemoryTransport(bus))
        undeclared = define_output if self._outputs_def is None else None
        session = ExecutorSession(self._session_id, directory, undeclared=undeclared)
        channel = _EveryMessageOutbox(transport)
        executor = Executor(transport, session, runtime, clock=options.get("clock"), channel=channel)
        executor.secrets = self._secrets(stack, inputs)
        await executor.__aenter__()
        stack.push_async_callback(executor.aclose, GRACE)
        executor.add_scope(
            ExecutorScope(
                identifier=None,
                package_path=None,
                package_name="workspace",
                pkg_data_dir=str(directory / "data"),
                tmp_dir=directory / "tmp",
                variables=options.get("variables") or {},
            )
        )
        return executor

    def _secrets(self, stack: AsyncExitStack, inputs: Inputs) -> SecretsFile:
        """Never read the secrets of whoever runs the tests."""
        path = self._directory / f".secrets-{self._session_id}.json"
        if inputs.secrets:
            path.write_bytes(inputs.secrets_file())
            stack.callback(path.unlink, missing_ok=True)
        return SecretsFile(path)

    def _plan(self, inputs: RawMap, inputs_def: dict[str, dict[str, Any]]) -> JobPlan:
        place, job_id = self._place, str(uuid.uuid4())
        outputs_def, block_path = self._outputs_def, None if place.task is None else str(place.task)
        stacks = [StackFrame(str(uuid.uuid4()), str(Path(place.directory, "flow.oo.yaml")), place.name)]
        payload = BlockPayload(
            self._session_id,
            "python",
            job_id,
            stacks,
            place.directory,
            ExecutorSpec("python", PythonOptions(place.entry, place.function)),
            outputs=outputs_def,
        )
        inputs_message = BlockInputs(self._session_id, job_id, stacks, inputs, inputs_def, block_path=block_path)
        return JobPlan(payload, inputs_message)


def _answers(options: RunOptions) -> Answers:
    return Answers(
        blocks=options.get("blocks") or {},
        known_blocks=options.get("known_blocks") or {},
        downstream=options.get("downstream") or {},
        auth=options.get("auth"),
    )
