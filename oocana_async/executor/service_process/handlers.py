"""What a job of a service calls: a handler that the service's main has registered, as soon as it has."""

from __future__ import annotations

import asyncio

from oocana_async.errors import ScriptletError
from oocana_async.executor.callee import CONTEXT_TYPES
from oocana_async.executor.loading.calling import Call, plan_call
from oocana_async.executor.service_process.registration import ServiceContext

__all__ = ["HandlerCallee", "Readiness"]


class Readiness:
    """Whether the handlers are there; belongs to the I/O loop."""

    def __init__(self) -> None:
        self._ready = False
        self._error: str | None = None
        # One entry per job that waits; drained by `open` and `fail`, cancelled ones are skipped.
        self._gates: list[asyncio.Future[None]] = []

    def gate(self) -> asyncio.Future[None] | None:
        """Return what a job waits for, None when it need not."""
        if self._ready:
            return None
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._error is not None:
            gate.set_exception(ScriptletError(self._error))
        else:
            self._gates.append(gate)
        return gate

    def open(self) -> None:
        """Let all jobs go on."""
        self._ready = True
        for gate in self._drain():
            gate.set_result(None)

    def fail(self, error: str) -> None:
        """End all jobs that wait, and those that come, with an error."""
        self._error = error
        for gate in self._drain():
            gate.set_exception(ScriptletError(error))

    def _drain(self) -> list[asyncio.Future[None]]:
        gates, self._gates = self._gates, []
        return [gate for gate in gates if not gate.done()]


class HandlerCallee:
    """The handler of one block.

    Args:
        context: where it is registered.
        readiness: when.
        directory: the service's.
        block_name: the block.
    """

    def __init__(self, context: ServiceContext, readiness: Readiness, directory: str, block_name: str) -> None:
        self._context = context
        self._readiness = readiness
        self._directory = directory
        self._block_name = block_name

    @property
    def key(self) -> tuple[str, str, str]:
        """Service and block."""
        return (self._directory, "", self._block_name)

    def gate(self) -> asyncio.Future[None] | None:
        """Return what the job waits for while there is no handler."""
        return self._readiness.gate()

    def load(self) -> Call:
        """Return how to call the handler.

        Raises:
            ScriptletError: No handler has that name.
        """
        return plan_call(self._context.find(self._block_name), context_types=CONTEXT_TYPES)
