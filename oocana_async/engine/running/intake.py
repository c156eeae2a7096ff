"""Takes the messages of executors on the session topic and hands each to the job that it is about."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from oocana_async.channel.bus import Bus
from oocana_async.engine.running.block_requests import Requests
from oocana_async.engine.running.jobs import Job
from oocana_async.engine.running.runner import SessionRunner
from oocana_async.engine.running.starting import Starter
from oocana_async.wire import topics
from oocana_async.wire.envelope import Message
from oocana_async.wire.messages import encode_message, session
from oocana_async.wire.messages.dispatch import BlockInputs
from oocana_async.wire.messages.session import decode_session

__all__ = ["Intake"]

logger = logging.getLogger(__name__)

_LIMIT = 4096
"""Messages that may wait for the engine before those who send them wait."""


class Intake:
    """The engine's ear on the session topic; from the moment when it is made, on the loop of the bus.

    Messages are handled in the turn in which they are published. A report subscriber that wants to be waited for makes
    the engine wait: messages are then held back, up to a limit beyond which producers wait, too.

    Args:
        runner: keeps the books.
        bus: where messages come from, and whose report subscribers may want to be waited for.
        starter: starts the children that blocks ask for.
    """

    def __init__(self, runner: SessionRunner, bus: Bus, starter: Starter) -> None:
        self._runner = runner
        self._bus = bus
        self._handlers: dict[type[Any], Callable[[Job, Any], None]] = {
            session.BlockReady: self._on_ready,
            session.BlockOutput: self._on_output,
            session.BlockOutputs: self._on_outputs,
            session.BlockProgress: self._on_progress,
            session.BlockFinished: self._on_finished,
            session.BlockError: self._on_error,
            **Requests(runner, starter).handlers,
        }
        self._failure: Exception | None = None
        self._attention = asyncio.Event()
        # Bound: `_LIMIT`, then executors wait; closed by `close()`.
        self._listener = bus.listen(self._take, topics.session(runner.session_id), limit=_LIMIT)

    async def run(self) -> None:
        """Wait for slow report subscribers whenever there are some; never returns.

        Raises:
            Exception: What went wrong in the engine while it handled a message.
        """
        while True:
            await self._attention.wait()
            self._attention.clear()
            if self._failure is not None:
                raise self._failure
            await self._bus.wait_for_room(topics.REPORT)
            self._listener.resume()

    def close(self) -> None:
        """Take no more messages; may be called twice."""
        self._listener.close()

    def _take(self, message: Message) -> None:
        try:
            self.handle(message.payload)
        except Exception as error:  # noqa: BLE001 - `run` tells the session, which ends with it
            self._failure = error
            self._listener.pause()
            self._attention.set()
        if not self._bus.has_room(topics.REPORT):
            self._listener.pause()
            self._attention.set()

    def handle(self, payload: bytes) -> None:
        """Take one message; a bad one is logged and skipped, one for an unknown job is ignored."""
        runner = self._runner
        try:
            message = decode_session(payload)
        except (msgspec.DecodeError, RecursionError) as error:
            logger.warning("%s: message skipped: %s", topics.session(runner.session_id), error)
            return
        if message is None or message.session_id != runner.session_id or runner.outcome is not None:
            return
        if isinstance(message, session.ExecutorReady):
            runner.executors.on_ready(message)
            return
        job = runner.jobs.get(message.job_id)
        if job is not None:
            self._handlers[type(message)](job, message)
            runner.drain()

    def _on_ready(self, job: Job, _: session.BlockReady) -> None:
        wire, runner = job.wire, self._runner
        if wire is None or job.inputs_sent:
            return
        job.inputs_sent = True
        message = BlockInputs(
            session_id=runner.session_id,
            job_id=job.job_id,
            stacks=job.stacks,
            inputs=job.inputs,
            inputs_def=wire.inputs_def,
            inputs_def_patch=wire.patches,
            block_path=job.block_path,
        )
        job.inputs = None
        runner.publish(topics.inputs(runner.session_id, job.job_id), encode_message(message))

    def _on_output(self, job: Job, message: session.BlockOutput) -> None:
        target = message.options.target if message.options is not None else None
        self._runner.output(job, message.handle, message.output, target)

    def _on_outputs(self, job: Job, message: session.BlockOutputs) -> None:
        self._runner.outputs(job, message.outputs)

    def _on_progress(self, job: Job, message: session.BlockProgress) -> None:
        if job.flow is not None:
            self._runner.act(job.flow, job.flow.state.on_progress(job.job_id, message.progress))

    def _on_finished(self, job: Job, message: session.BlockFinished) -> None:
        self._runner.finish(job, message.result, message.error)

    def _on_error(self, job: Job, message: session.BlockError) -> None:
        # Reported only: a block that sent an error goes on and may end well (flow-format.md 5.8).
        self._runner.report.block_error(job, message.error)
