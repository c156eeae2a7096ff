"""Takes the messages of executors on the session topic and hands each to the job that it is about."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from anyio.lowlevel import checkpoint

from oocana_async.channel.bus import Bus, BusSubscription
from oocana_async.engine.running.block_requests import Requests
from oocana_async.engine.running.jobs import Job
from oocana_async.engine.running.runner import SessionRunner
from oocana_async.engine.running.starting import Starter
from oocana_async.wire import topics
from oocana_async.wire.messages import encode_message, session
from oocana_async.wire.messages.dispatch import BlockInputs
from oocana_async.wire.messages.session import decode_session

__all__ = ["Intake"]

logger = logging.getLogger(__name__)

_SLICE = 256
"""Messages that are handled before the loop gets its turn."""


class Intake:
    """The engine's ear on the session topic.

    Args:
        runner: keeps the books.
        bus: whose report subscribers may want to be waited for.
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

    async def run(self, subscription: BusSubscription) -> None:
        """Handle messages until the session is over.

        The subscription makes producers wait while it is full, so back pressure ends here. A report subscriber that
        wants to be waited for makes the engine wait.
        """
        runner, handled = self._runner, 0
        while runner.outcome is None:
            batch = await subscription.receive_many()
            if not batch:
                return
            for message in batch:
                self.handle(message.payload)
                handled += 1
                if handled % _SLICE == 0:
                    await self._bus.wait_for_room(topics.REPORT)
                    await checkpoint()
            await self._bus.wait_for_room(topics.REPORT)

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
        self._runner.report.block_error(job, message.error)
