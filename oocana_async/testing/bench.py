"""Puts the real executor and the engine's stand-in together for one run, with the options of a run."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from oocana_async.channel.bus import Bus, Overflow
from oocana_async.channel.channel import Channel
from oocana_async.channel.clock import Clock
from oocana_async.executor.core import Executor
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.scope import ExecutorScope, ExecutorSession
from oocana_async.handles.output_values import define_output
from oocana_async.handles.secrets import SecretsFile
from oocana_async.testing.answers import Answers, BlockAnswer, QueryAnswer
from oocana_async.testing.recorder import Recorder
from oocana_async.testing.stand_in import JobPlan, StandIn
from oocana_async.testing.units import TargetPlace
from oocana_async.testing.values import HandleDefs, Inputs, Values, define
from oocana_async.transport.memory import MemoryTransport
from oocana_async.wire import topics
from oocana_async.wire.envelope import Outgoing
from oocana_async.wire.messages.dispatch import BlockInputs, BlockPayload, ExecutorSpec, PythonOptions
from oocana_async.wire.messages.shared import RawMap, StackFrame

__all__ = ["Bench", "Parts", "RunOptions"]

GRACE = 1.0
"""Seconds that a scriptlet gets to clean up when its run is left early."""

LEFTOVER_GRACE = 0.5
"""Seconds that tasks may go on which a scriptlet has not awaited; then they are cancelled, and a warning names them."""


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


class Parts(NamedTuple):
    """What a run is made of."""

    executor: Executor
    stand_in: StandIn
    recorder: Recorder


class _EveryMessageChannel(Channel):
    """Keeps progress that a busy executor would leave out for a newer one, so that records do not depend on speed."""

    def append_latest(self, key: str, message: Outgoing) -> None:
        """Put a message at the end of the channel."""
        del key
        self.append(message)


class Bench:
    """Puts executor and stand-in together for one run."""

    def __init__(self, place: TargetPlace, directory: Path, options: RunOptions) -> None:
        self._place = place
        self._directory = directory.absolute()
        self._options = options
        given = options.get("outputs_def")
        self._outputs_def = place.outputs_def if given is None else define(given)
        self._session_id = str(uuid.uuid4())

    async def start(self, stack: AsyncExitStack, inputs: Inputs) -> Parts:
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
        return Parts(executor, stand_in, recorder)

    async def _start_executor(self, stack: AsyncExitStack, bus: Bus, inputs: Inputs) -> Executor:
        directory, options = self._directory, self._options
        for name in ("tmp/workspace", "data"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        runtime = await Runtime(loader=self._place.loader, leftover_grace=LEFTOVER_GRACE).__aenter__()
        stack.push_async_callback(runtime.aclose, GRACE)
        transport = await stack.enter_async_context(MemoryTransport(bus))
        undeclared = define_output if self._outputs_def is None else None
        session = ExecutorSession(self._session_id, directory, undeclared=undeclared)
        channel = _EveryMessageChannel()
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
