"""Calls what blocks in a thread that nobody has to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["call_off_loop"]

T = TypeVar("T")


async def call_off_loop(name: str, call: Callable[[], T]) -> T:
    """Return what a blocking call returns, or raise what it raises.

    Cancelling this leaves the call to its own time limit, in a daemon thread: neither the loop's end nor that of the
    process waits for it. The threads of `anyio.to_thread` are no daemons, so with `abandon_on_cancel` a connector that
    does not answer would still hold the process at its end, for up to half a minute.

    Args:
        name: of the thread.
        call: what blocks; it must have a time limit of its own.
    """
    loop = asyncio.get_running_loop()
    returned: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if returned.cancelled():
            return
        if error is not None:
            returned.set_exception(error)
        else:
            returned.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - goes to the one who waits
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    # Ends with the call; whoever cancels leaves it behind.
    threading.Thread(target=run, name=name, daemon=True).start()
    return await returned
