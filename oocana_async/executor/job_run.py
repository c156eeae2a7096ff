"""The life of one job: ready, inputs, load, call, one end (protocol.md 3 and 7.3 to 7.5)."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import logging
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from oocana_async.channel.clock import Clock
from oocana_async.channel.futures import resolve_from_anywhere
from oocana_async.channel.port import Flusher, JobPort
from oocana_async.context import Context, ContextParts
from oocana_async.context.facts import KEEP_ALIVE
from oocana_async.context.members import EVERY_HANDLE
from oocana_async.context.messenger import JobIdentity, JobMessenger, JobState, Surroundings
from oocana_async.context.requests import Exchange
from oocana_async.context.sync import SyncContext
from oocana_async.errors import HandleError, JobCancelledError, OocanaError, ScriptletError, StateError
from oocana_async.executor.callee import Callee, ScriptletCallee
from oocana_async.executor.capture.captured_text import CapturedText
from oocana_async.executor.current_job import enter_job
from oocana_async.executor.loading.calling import Call, check_result, settle
from oocana_async.executor.loading.tracebacks import exit_error, format_exception
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.scope import ExecutorSession
from oocana_async.handles.bin_files import BinFiles
from oocana_async.handles.frame_cache import FrameCache, cache_directory
from oocana_async.handles.input_values import resolve_inputs
from oocana_async.handles.output_values import OutputPlace, prepare_output
from oocana_async.handles.redaction import Redactor
from oocana_async.handles.secrets import SecretsFile
from oocana_async.handles.var_store import VarStore
from oocana_async.wire.envelope import Delivery
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.dispatch import BlockInputs, BlockPayload, ServiceBlockPayload
from oocana_async.wire.messages.session import BlockFinished
from oocana_async.wire.messages.shared import StackFrame

__all__ = ["JobOwner", "JobRun", "RunState"]

logger = logging.getLogger(__name__)


class JobOwner(Protocol):
    """What a job run gets from its executor."""

    session: ExecutorSession
    runtime: Runtime
    clock: Clock
    secrets: SecretsFile
    redactor: Redactor
    bins: BinFiles
    heal_children: bool

    @property
    def channel(self) -> JobPort:
        """Where messages go."""

    @property
    def sender(self) -> Flusher:
        """What tells when they have been delivered."""

    @property
    def exchange(self) -> Exchange:
        """Where answers come from."""

    def surroundings(self, identifier: str | None) -> tuple[Surroundings, VarStore]:
        """Return directories and objects of the scope of a job."""


class RunState(enum.Enum):
    """Life of a job run as its executor sees it."""

    WAITING = "waiting for its inputs"
    RUNNING = "running"
    KEPT_ALIVE = "kept alive"
    ENDED = "ended"


_MOVES = {
    RunState.WAITING: {RunState.RUNNING, RunState.ENDED},
    RunState.RUNNING: {RunState.KEPT_ALIVE, RunState.ENDED},
    RunState.KEPT_ALIVE: {RunState.ENDED},
    RunState.ENDED: set[RunState](),
}


class JobRun:
    """One job. `run()` is a task on the I/O loop; the block's code runs on a block loop or in a worker thread.

    Whatever happens, exactly one BlockFinished is sent, unless another executor has the job.

    Args:
        owner: what the job shares with others.
        payload: the job.
        callee: what it calls; None for the function that a BlockPayload names.
    """

    def __init__(
        self, owner: JobOwner, payload: BlockPayload | ServiceBlockPayload, callee: Callee | None = None
    ) -> None:
        self.payload = payload
        self.job_id = payload.job_id
        self.stacks: list[StackFrame] = payload.stacks
        self._owner = owner
        self._state = RunState.WAITING
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._inputs: asyncio.Future[BlockInputs] = loop.create_future()
        self._finished: asyncio.Future[None] | None = None  # made when the job is kept alive
        self._messenger = self._make_messenger(None)
        self._cancel_reason: str | None = None
        self._withdrawn = False
        self._output: CapturedText | None = None
        self._waiting: asyncio.Future[Any] = self._inputs
        if callee is None:
            assert isinstance(payload, BlockPayload)
            callee = ScriptletCallee(owner.runtime, payload)
        self._callee = callee

    @property
    def state(self) -> RunState:
        """Where in its life the run is."""
        return self._state

    def _move(self, state: RunState) -> None:
        if state not in _MOVES[self._state]:
            raise StateError(f"a job that is {self._state.value} cannot become {state.value}")
        self._state = state

    # -- from the executor, on the I/O loop ---------------------------------------------------------------------

    def take_inputs(self, inputs: BlockInputs) -> None:
        """Take the inputs; the first ones count, later ones come from repeated messages."""
        if not self._inputs.done():
            self._inputs.set_result(inputs)

    def give_up_inputs(self, error: str) -> None:
        """End the job because its inputs will not come."""
        if not self._inputs.done():
            self._inputs.set_exception(HandleError(error))

    def withdraw(self) -> None:
        """Leave the job to another executor, which has its inputs: nothing is run here, and nothing is said."""
        if not self._inputs.done():
            logger.warning("job %s is left to the executor that got its inputs", self.job_id)
            self._withdrawn = True
            self._inputs.cancel()

    def warn(self, warning: str) -> None:
        """Send a warning as the block."""
        self._messenger.warn(warning)

    def cancel(self, reason: str) -> None:
        """Cancel the job; an async block gets CancelledError, a sync one sees `is_cancelled`."""
        if self._cancel_reason is None:
            self._cancel_reason = reason
            self._messenger.cancel()
            if not self._waiting.done():
                self._waiting.cancel()
            runtime = self._owner.runtime
            if not runtime.loops.cancel(self.job_id):
                runtime.workers.cancel(self.job_id)
            if self._state is RunState.KEPT_ALIVE:
                self._end(error=self._cancel_text())

    async def run(self) -> None:
        """Run the job to its end."""
        try:
            inputs = await self._wait_for_inputs()
            if inputs is None:
                return
            self._move(RunState.RUNNING)
            if inputs.block_path is not None:
                self._messenger = self._make_messenger(inputs)
            self._messenger.on_finished(self._leave)
            await self._execute(inputs)
            if self._messenger.state is JobState.RUNNING:
                await self._keep_alive()
        except asyncio.CancelledError:
            self._end(error=self._cancel_text())
            raise
        except BaseException as error:
            logger.exception("job %s ended by an error of the executor", self.job_id)
            self._end(error=format_exception(error))
        finally:
            self._end(error="the block ended without a result")
            if self._state is not RunState.ENDED:
                self._move(RunState.ENDED)

    async def _wait_for_inputs(self) -> BlockInputs | None:
        deadline = self._owner.session.inputs_deadline
        try:
            inputs = await (self._inputs if deadline is None else asyncio.wait_for(self._inputs, deadline))
            await self._pass_gate()
            return inputs
        except TimeoutError:
            self._end(error=f"no inputs came for job {self.job_id} within {deadline:g} s of BlockReady")
        except (HandleError, ScriptletError) as error:
            self._end(error=str(error))
        except asyncio.CancelledError:
            if self._cancel_reason is None:
                raise
            self._end(error=self._cancel_text())
        return None

    async def _pass_gate(self) -> None:
        gate = self._callee.gate()
        if gate is not None:
            self._waiting = gate
            if self._cancel_reason is not None:
                gate.cancel()
            await gate

    async def _execute(self, inputs: BlockInputs) -> None:
        """Load the scriptlet where its kind is not known yet, then call it where its kind belongs."""
        runtime = self._owner.runtime
        key = self._callee.key
        block = contextvars.copy_context()
        self._output = block.run(enter_job, self._messenger, tee=runtime.tee)
        call: Call | None = None
        if runtime.known_async(key):
            done = await runtime.loops.run(
                lambda: self._call_async(key, None, inputs), context=block, job_id=self.job_id
            )
            if done:
                self._close_output()
                return
        call = await runtime.workers.run(lambda: self._load_or_call(key, inputs), context=block, job_id=self.job_id)
        if call is not None and not self._end_if_cancelled():
            await runtime.loops.run(lambda: self._call_async(key, call, inputs), context=block, job_id=self.job_id)
            self._close_output()

    async def _keep_alive(self) -> None:
        """Wait for the end that a thread or task of the block will send."""
        finished = self._finished = self._loop.create_future()  # before the look at the state: no end is missed
        self._move(RunState.KEPT_ALIVE)
        self._end_if_cancelled()
        if self._messenger.state is JobState.RUNNING:
            await finished

    def _leave(self) -> None:
        """Clean up after the end; in whichever thread has sent it."""
        self._close_output()
        self._owner.bins.forget_job(self.job_id)
        self._owner.runtime.close_figures(self.job_id)
        if self._finished is not None:
            resolve_from_anywhere(self._finished)

    # -- on the block's side: a worker thread or a block loop ---------------------------------------------------

    def _load(self, key: tuple[str, str, str]) -> Call:
        call = self._callee.load()
        self._owner.runtime.note_kind(key, is_async=call.is_async)
        return call

    def _load_or_call(self, key: tuple[str, str, str], inputs: BlockInputs) -> Call | None:
        """In a worker: load; call a `def` right here, return an `async def` to be called on a block loop."""
        try:
            call = self._load(key)
            if call.is_async:
                return call
            context = SyncContext(self._parts(inputs))
            result = call(context.inputs, context)
            if asyncio.iscoroutine(result) or hasattr(result, "__await__"):
                result = asyncio.run(settle(result))
            self._conclude(result, context)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the job needs its end
            self._fail(error)
        return None

    async def _call_async(self, key: tuple[str, str, str], call: Call | None, inputs: BlockInputs) -> bool:
        """On a block loop: call an `async def`; False when the file has changed and it no longer is one."""
        try:
            if call is None:
                call = self._load(key)
                if not call.is_async:
                    return False
            context: Context | SyncContext = Context(self._parts(inputs))
            result = await settle(call(context.inputs, context))
            self._conclude(result, context)
            if result is KEEP_ALIVE:
                await self._until_finished()
        except BaseException as error:
            self._fail(error)
            if isinstance(error, asyncio.CancelledError):
                raise
        return True

    async def _until_finished(self) -> None:
        """Stay on the block loop, so that the tasks that will finish the job stay alive."""
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()
        self._messenger.on_finished(lambda: loop.call_soon_threadsafe(finished.set))
        await finished.wait()

    def _conclude(self, result: Any, context: Context | SyncContext) -> None:
        """End the job with what its function returned."""
        values = check_result(result, keep_alive=KEEP_ALIVE)
        self._close_output()
        if result is KEEP_ALIVE:
            return
        if self._messenger.state is JobState.FINISHED:
            if values:
                self._messenger.warn("the block returned a result after it had finished; the result is ignored.")
            return
        context.finish(result=values)

    def _fail(self, error: BaseException) -> None:
        """End the job with what its function raised."""
        self._close_output()
        was_finished = self._messenger.state is JobState.FINISHED
        text = self._error_text(error)
        self._end(error=text)
        is_cancellation = isinstance(error, asyncio.CancelledError) or self._cancel_reason is not None
        if was_finished and text is not None and not is_cancellation:
            self._messenger.warn(f"the block failed after it had finished; the error is ignored: {text}")

    def _error_text(self, error: BaseException) -> str | None:
        if isinstance(error, SystemExit):
            return exit_error(error)
        if isinstance(error, asyncio.CancelledError | JobCancelledError) and self._cancel_reason is not None:
            return self._cancel_text()
        if isinstance(error, ScriptletError):
            return str(error)
        return format_exception(error, keep_own=not isinstance(error, OocanaError))

    def _close_output(self) -> None:
        if self._output is not None:
            self._output.close()

    # -- parts --------------------------------------------------------------------------------------------------

    def _cancel_text(self) -> str:
        return f"Cancelled: {self._cancel_reason or 'the executor is leaving'}"

    def _end_if_cancelled(self) -> bool:
        """End a job that was cancelled while nothing of it could be: it was loaded, or was about to be kept alive."""
        if self._cancel_reason is None:
            return False
        self._end(error=self._cancel_text())
        return True

    def _end(self, *, error: str | None) -> None:
        if self._withdrawn:
            return
        if self._messenger.finish(error=error) and error is not None and self._owner.heal_children:
            self._heal()

    def _heal(self) -> None:
        """Make today's engine forget a child that failed (protocol.md 3.9)."""
        if self._messenger.identity.is_child:
            message = BlockFinished(self.payload.session_id, self.job_id)
            self._messenger.send(encode_message(message), Delivery.CONTROL)

    def _make_messenger(self, inputs: BlockInputs | None) -> JobMessenger:
        payload, owner = self.payload, self._owner
        stacks = payload.stacks if inputs is None else inputs.stacks
        block_path = None if inputs is None else inputs.block_path
        identity = JobIdentity(payload.session_id, payload.job_id, tuple(stacks), block_path)
        return JobMessenger(
            identity,
            owner.channel,
            owner.sender,
            owner.clock,
            redactor=owner.redactor,
            blocking=owner.runtime.workers.yielding,
        )

    def _parts(self, inputs: BlockInputs) -> ContextParts:
        surroundings, store = self._owner.surroundings(self.payload.identifier)
        outputs_def = self.payload.outputs or {}
        messenger = self._messenger
        place = self._place(messenger, surroundings, store)
        undeclared = self._owner.session.undeclared

        def encode_output(handle: str, value: Any) -> bytes | None:
            definition: Mapping[str, Any] | None = outputs_def.get(handle)
            if definition is None and undeclared is not None:
                definition = undeclared(handle, value)
            return prepare_output(handle, value, definition, place)

        return ContextParts(
            messenger=messenger,
            inputs=self._resolve(inputs, surroundings, store),
            inputs_def=inputs.inputs_def or {},
            outputs_def=outputs_def,
            surroundings=surroundings,
            encoder=encode_output,
            exchange=self._owner.exchange,
            declared=frozenset(outputs_def) if undeclared is None else EVERY_HANDLE,
        )

    def _place(self, messenger: JobMessenger, surroundings: Surroundings, store: VarStore) -> OutputPlace:
        cache = None
        if surroundings.pkg_data_dir and len(messenger.identity.stacks) == 1:
            frame = messenger.identity.stacks[0]
            cache = FrameCache(surroundings.pkg_data_dir, flow=frame.flow, node_id=frame.node_id)
        identity = messenger.identity
        return OutputPlace(identity.session_id, identity.job_id, store, self._owner.bins, messenger.warn, cache)

    def _resolve(self, inputs: BlockInputs, surroundings: Surroundings, store: VarStore) -> dict[str, Any]:
        given = inputs.inputs
        decoded = None if given is None else {handle: msgspec.json.decode(raw) for handle, raw in given.items()}
        patches = None
        if inputs.inputs_def_patch is not None:
            patches = {
                handle: [{"path": one.path, "schema": one.schema} for one in patch]
                for handle, patch in inputs.inputs_def_patch.items()
            }
        return resolve_inputs(
            decoded,
            inputs_def=inputs.inputs_def,
            patches=patches,
            store=store,
            secrets=self._owner.secrets,
            warn=self._messenger.warn,
            redactor=self._owner.redactor,
            cache_dir=cache_directory(surroundings.pkg_data_dir) if surroundings.pkg_data_dir else None,
        )
