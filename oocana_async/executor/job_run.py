"""The life of one job: ready, inputs, load, call, one end (protocol.md 3 and 7.3 to 7.5)."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import logging
from collections.abc import Callable
from typing import Any

from oocana_async.channel.futures import call_on
from oocana_async.context import Context
from oocana_async.context.facts import KEEP_ALIVE
from oocana_async.context.messenger import JobIdentity, JobMessenger, JobState
from oocana_async.context.sync import SyncContext
from oocana_async.errors import JobCancelledError, OocanaError, ScriptletError, StateError
from oocana_async.executor.callee import Callee, ScriptletCallee
from oocana_async.executor.capture.captured_text import CapturedText
from oocana_async.executor.current_job import enter_job
from oocana_async.executor.job_parts import JobOwner, context_parts
from oocana_async.executor.loading.calling import Call, check_result, settle
from oocana_async.executor.loading.tracebacks import exit_error, format_exception
from oocana_async.executor.threads.loop_job import LoopJob
from oocana_async.executor.threads.workers import Work
from oocana_async.wire.envelope import Delivery
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.dispatch import BlockInputs, BlockPayload, ServiceBlockPayload
from oocana_async.wire.messages.session import BlockFinished
from oocana_async.wire.messages.shared import StackFrame

__all__ = ["JobRun", "RunState"]

logger = logging.getLogger(__name__)


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


_NO_CONTEXT = contextvars.Context()
"""Where nothing ever runs: stands in before a job begins and after its end."""


class JobRun:
    """One job. Its life is on the I/O loop; the block's code runs on a block loop or in a worker thread.

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
        self._loop = asyncio.get_running_loop()
        self._awaits_inputs = True
        self._timer: asyncio.TimerHandle | None = None
        self._gate: asyncio.Future[None] | None = None
        self._on_ended: Callable[[JobRun], object] | None = None
        self._messenger = self._make_messenger(None)
        self._cancel_reason: str | None = None
        self._withdrawn = False
        self._output: CapturedText | None = None
        self._context = _NO_CONTEXT
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

    def start(self, ended: Callable[[JobRun], object]) -> None:
        """Wait for the inputs from now on; `ended` is called once, on this loop, when all is over."""
        self._on_ended = ended
        deadline = self._owner.session.inputs_deadline
        if deadline is not None:
            text = f"no inputs came for job {self.job_id} within {deadline:g} s of BlockReady"
            self._timer = self._loop.call_later(deadline, self.give_up_inputs, text)

    def take_inputs(self, inputs: BlockInputs) -> None:
        """Take the inputs and run; the first ones count, later ones come from repeated messages."""
        if self._awaits_inputs:
            self._stop_waiting()
            gate = self._callee.gate()
            if gate is None:
                self._begin(inputs)
            else:
                self._gate = gate
                gate.add_done_callback(lambda gate: self._pass_gate(gate, inputs))

    def give_up_inputs(self, error: str) -> None:
        """End the job because its inputs will not come."""
        if self._awaits_inputs:
            self._stop_waiting()
            self._close(error)

    def withdraw(self) -> None:
        """Leave the job to another executor, which has its inputs: nothing is run here, and nothing is said."""
        if self._awaits_inputs:
            self._stop_waiting()
            logger.warning("job %s is left to the executor that got its inputs", self.job_id)
            self._withdrawn = True
            self._close()

    def warn(self, warning: str) -> None:
        """Send a warning as the block."""
        self._messenger.warn(warning)

    def cancel(self, reason: str) -> None:
        """Cancel the job; an async block gets CancelledError, a sync one sees `is_cancelled`."""
        if self._cancel_reason is not None:
            return
        self._cancel_reason = reason
        self._messenger.cancel()
        if self._state is RunState.RUNNING:
            runtime = self._owner.runtime
            if not runtime.loops.cancel(self.job_id):
                runtime.workers.cancel(self.job_id)
        else:  # nothing of it runs
            self._stop_waiting()
            self._close(self._cancel_text())

    def abandon(self) -> None:
        """End a job whose code does not let go; whatever comes of it does not matter any more."""
        self._close(self._cancel_text())

    def _stop_waiting(self) -> None:
        self._awaits_inputs = False
        if self._timer is not None:
            self._timer.cancel()
        if self._gate is not None:
            self._gate.cancel()

    def _pass_gate(self, gate: asyncio.Future[None], inputs: BlockInputs) -> None:
        self._gate = None
        if self._state is not RunState.WAITING:
            return
        error = None if gate.cancelled() else gate.exception()
        if gate.cancelled() or error is not None:
            self._close(self._cancel_text() if error is None else str(error))
        else:
            self._begin(inputs)

    # -- its life, on the I/O loop ------------------------------------------------------------------------------
    # Calls instead of a task: a task costs a turn of the loop at each of its steps, which is most of what a small block
    # costs. Each step ends in exactly one of `submit`, `_close` and `_keep_alive`.

    def _begin(self, inputs: BlockInputs) -> None:
        self._move(RunState.RUNNING)
        try:
            if inputs.block_path is not None:
                self._messenger = self._make_messenger(inputs)
            self._messenger.on_finished(self._leave)
            self._context = contextvars.copy_context()
            self._output = self._context.run(enter_job, self._messenger, tee=self._owner.runtime.tee)
            if self._owner.runtime.known_async(self._callee.key):
                self._call_on_loop(None, inputs)
            else:
                self._call_in_worker(inputs)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job needs its end
            self._fail_here(error)

    def _call_in_worker(self, inputs: BlockInputs) -> None:
        """Load the scriptlet where its kind is not known yet, and call it there if it is a `def`."""
        # Loading runs code of the block, too, and an import may take seconds: nothing for the I/O loop.
        key = self._callee.key

        def returned(work: Work) -> None:
            if work.error is not None:
                self._fail_here(work.error)
            elif work.result is None or self._end_if_cancelled():
                self._settle()
            else:
                self._call_on_loop(work.result, inputs)

        self._owner.runtime.workers.submit(
            lambda: self._load_or_call(key, inputs), context=self._context, job_id=self.job_id, returned=returned
        )

    def _call_on_loop(self, call: Call | None, inputs: BlockInputs) -> None:
        """Call an `async def` on a block loop."""
        key = self._callee.key

        def returned(job: LoopJob) -> None:
            if job.error is not None:
                self._fail_here(job.error)
            elif job.result:
                self._close_output()
                self._settle()
            else:  # the file has changed, and it no longer is one
                self._call_in_worker(inputs)

        self._owner.runtime.loops.submit(
            lambda: self._call_async(key, call, inputs), context=self._context, job_id=self.job_id, returned=returned
        )

    def _fail_here(self, error: BaseException) -> None:
        """End the job because its code was cancelled, or could not even be called."""
        if isinstance(error, asyncio.CancelledError):
            self._close(self._cancel_text())
            return
        logger.error("job %s ended by an error of the executor", self.job_id, exc_info=error)
        self._close(format_exception(error))

    def _settle(self) -> None:
        """After the call: the job is over, or a thread or task of the block will end it."""
        if self._state is not RunState.RUNNING:
            return
        if self._messenger.state is JobState.RUNNING:
            self._move(RunState.KEPT_ALIVE)  # before the second look: no end is missed
            self._end_if_cancelled()
        if self._messenger.state is not JobState.RUNNING:
            self._close()

    def _leave(self) -> None:
        """Clean up after the end; in whichever thread has sent it."""
        self._close_output()
        self._owner.bins.forget_job(self.job_id)
        self._owner.runtime.close_figures(self.job_id)
        if self._state is RunState.KEPT_ALIVE:
            call_on(self._loop, self._close)

    def _close(self, error: str = "the block ended without a result") -> None:
        """End the run, once; with the error if the block has sent no end itself."""
        if self._state is RunState.ENDED:
            return
        if self._messenger.state is JobState.RUNNING:
            self._end(error=error)
        self._move(RunState.ENDED)
        self._context = _NO_CONTEXT  # it knows the job: without this, both wait for the garbage collector
        if self._on_ended is not None:
            self._on_ended(self)

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
            context = SyncContext(context_parts(self._owner, self.payload, self._messenger, inputs))
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
            context: Context | SyncContext = Context(context_parts(self._owner, self.payload, self._messenger, inputs))
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
        self._owner.loop_calls.hold_until_end()  # one wake-up for the end of the block and that of its thread's work
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
        # It keeps such a child for ever, and the flow hangs; a second end, without an error, takes it away.
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
