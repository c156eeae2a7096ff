"""Runs what the author of a service wrote: its main function, for as long as the service lives."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable

from oocana_async.errors import ScriptletError
from oocana_async.executor.loading.calling import Call, plan_call, settle
from oocana_async.executor.loading.loader import DEFAULT_ENTRY, DEFAULT_FUNCTION
from oocana_async.executor.loading.tracebacks import exit_error, format_exception
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.service_process.registration import ServiceContext
from oocana_async.wire.messages.dispatch import ServiceBlockPayload

__all__ = ["MainFunction"]

_JOB_ID = "main function of the service"


class MainFunction:
    """The call `main(service)`.

    A `def` runs in a thread of its own, so it may run for ever. An `async def` runs on the block loop of the service,
    the same that its async handlers run on; tasks that it leaves behind live on until the service leaves.

    Args:
        runtime: runs async code.
        payload: says where the function is.
        context: what it gets.
    """

    def __init__(self, runtime: Runtime, payload: ServiceBlockPayload, context: ServiceContext) -> None:
        executor = payload.service_executor
        self._runtime = runtime
        self._directory = payload.dir
        self._entry = executor.entry or DEFAULT_ENTRY
        self._function = executor.function or DEFAULT_FUNCTION
        self._context = context
        self._loop = asyncio.get_running_loop()

    async def run(self, on_returned: Callable[[], object]) -> None:
        """Call it; cancelling this cancels what is async of it.

        Args:
            on_returned: called on the I/O loop when it has returned and nothing went wrong.

        Raises:
            ScriptletError: It cannot be found, or failed; the text is what jobs get as their error.
        """
        try:
            call = await self._in_thread(self._load_or_call)
            if call is None:
                on_returned()
                return
            await self._runtime.loops.run(
                lambda: self._call_async(call, on_returned), context=contextvars.copy_context(), job_id=_JOB_ID
            )
        except ScriptletError:
            raise
        except asyncio.CancelledError:
            raise
        except SystemExit as error:
            raise ScriptletError(exit_error(error) or "the main function of the service called sys.exit()") from error
        except BaseException as error:
            raise ScriptletError(format_exception(error)) from error

    def _load_or_call(self) -> Call | None:
        scriptlet = self._runtime.loader.load(self._entry, self._function, directory=self._directory)
        call = plan_call(scriptlet.function, context_types=())
        if call.is_async:
            return call
        result = call(self._context, self._context)
        if hasattr(result, "__await__"):
            # A plain function that returns a coroutine is known as async only now, when it has run in this thread; what
            # it has bound to the thread so far has to stay valid, so the rest runs here and not on the block loop.
            asyncio.run(settle(result))
        return None

    async def _call_async(self, call: Call, on_returned: Callable[[], object]) -> None:
        await settle(call(self._context, self._context))
        self._loop.call_soon_threadsafe(on_returned)
        await asyncio.get_running_loop().create_future()  # until cancelled: its tasks live as long as the service

    async def _in_thread(self, function: Callable[[], Call | None]) -> Call | None:
        returned: asyncio.Future[Call | None] = self._loop.create_future()

        def arrive(result: Call | None, error: BaseException | None) -> None:
            if returned.done():
                return
            if error is None:
                returned.set_result(result)
            else:
                returned.set_exception(_CarriedError(error))

        def work() -> None:
            result: Call | None = None
            failure: BaseException | None = None
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - goes to the one who waits
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(arrive, result, failure)

        # Ends when the function returns; a daemon, because that may be never. Not `anyio.to_thread`: its threads are
        # no daemons, so Python would wait at its end for a server that runs for ever.
        threading.Thread(target=work, name="oocana-service-main", daemon=True).start()
        try:
            return await returned
        except _CarriedError as failure:
            raise failure.error from None


class _CarriedError(Exception):
    """Carries any exception through a future, which takes no StopIteration."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        super().__init__(str(error))
