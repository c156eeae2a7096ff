"""What a job calls: the function of a scriptlet, found when the job has its inputs (protocol.md 7.1, 7.2)."""

from __future__ import annotations

import asyncio
from typing import Protocol

from oocana_async.context import Context
from oocana_async.context.sync import SyncContext
from oocana_async.executor.loading.calling import Call, plan_call
from oocana_async.executor.loading.loader import DEFAULT_ENTRY, DEFAULT_FUNCTION
from oocana_async.executor.runtime import Runtime
from oocana_async.wire.messages.dispatch import BlockPayload, PythonOptions

__all__ = ["CONTEXT_TYPES", "Callee", "ScriptletCallee"]

CONTEXT_TYPES = (Context, SyncContext)


class Callee(Protocol):
    """Finds what a job calls."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What is called: jobs with the same key call the same function, of the same kind."""

    def gate(self) -> asyncio.Future[None] | None:
        """Return what the job has to wait for first, a future of its own; None for nothing. On the I/O loop.

        An error of the future ends the job: its text for a ScriptletError.
        """

    def load(self) -> Call:
        """Return how to call the function; in the block's thread.

        Raises:
            ScriptletError: There is no such function.
            BaseException: Whatever its module raises.
        """


class ScriptletCallee:
    """The function of a task block.

    Args:
        runtime: its loader finds the function, and it remembers how functions want to be called.
        payload: says where.
    """

    def __init__(self, runtime: Runtime, payload: BlockPayload) -> None:
        options = payload.executor.options or PythonOptions()
        self._runtime = runtime
        self._directory = payload.dir
        self._entry = options.entry or DEFAULT_ENTRY
        self._function = options.function or DEFAULT_FUNCTION

    @property
    def key(self) -> tuple[str, str, str]:
        """Directory, file and name of the function."""
        return (self._directory, self._entry, self._function)

    def gate(self) -> None:
        """Return None: a scriptlet can be called at once."""

    def load(self) -> Call:
        """Return how to call the function; in the block's thread.

        Raises:
            ScriptletError: The file cannot be imported, or has no such function.
            BaseException: Whatever the file raises.
        """
        scriptlet = self._runtime.loader.load(self._entry, self._function, directory=self._directory)
        call = self._runtime.calls.get(self.key)
        # Kept by name, compared by identity: an edited file is loaded anew, and its function may want other arguments.
        if call is None or call.function is not scriptlet.function:
            call = plan_call(scriptlet.function, context_types=CONTEXT_TYPES)
            self._runtime.calls[self.key] = call
        return call
