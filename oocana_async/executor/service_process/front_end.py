"""Hands what front ends send to the jobs of a service to the callbacks of its author (protocol.md 6.2, 6.4)."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import Any

import msgspec

from oocana_async.compat.types import ServiceMessage as MessageDict
from oocana_async.executor.loading.calling import is_coroutine_function, settle
from oocana_async.executor.loading.tracebacks import format_exception
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.service_process.registration import MessageCallback, ServiceContext
from oocana_async.wire.messages.services import ServiceMessage

__all__ = ["FrontEndMessages"]

logger = logging.getLogger(__name__)

_JOB_ID = "message callback of the service"


class FrontEndMessages:
    """Calls the callbacks one after the other, message by message, never on the I/O loop.

    Args:
        runtime: runs them.
        context: where they are registered.
    """

    def __init__(self, runtime: Runtime, context: ServiceContext) -> None:
        self._runtime = runtime
        self._context = context
        # Unbounded: people make these messages. Drained by `run()`, dropped with it.
        self._waiting: asyncio.Queue[ServiceMessage] = asyncio.Queue()

    def take(self, message: ServiceMessage) -> None:
        """Take a message for a job that was run here."""
        if self._context.message_callbacks:
            self._waiting.put_nowait(message)

    async def run(self) -> None:
        """Call back for ever; what a callback raises is logged. Cancelling it cancels an async callback."""
        while True:
            message = await self._waiting.get()
            for callback in self._context.message_callbacks:
                await self._call(callback, message)

    async def _call(self, callback: MessageCallback, message: ServiceMessage) -> None:
        given: MessageDict = {
            "job_id": message.job_id,
            "node_id": message.node_id or "",
            "flow_path": message.flow_path or "",
            "payload": msgspec.json.decode(message.payload),
        }
        context = contextvars.copy_context()

        async def call_async() -> Any:
            return await settle(callback(given))

        try:
            if is_coroutine_function(callback):
                await self._runtime.loops.run(call_async, context=context, job_id=_JOB_ID)
            else:
                await self._runtime.workers.run(lambda: callback(given), context=context, job_id=_JOB_ID)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - an error of user code, SystemExit too
            logger.error("a message callback failed: %s", format_exception(error))
