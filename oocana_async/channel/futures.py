"""How event loops are reached from elsewhere: calls and futures that another thread hands to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

__all__ = ["call_on", "resolve", "resolve_from_anywhere", "running_loop"]


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in the calling thread, None when there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def call_on(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    """Let a loop make a call at its next turn, from any thread; nothing happens when the loop is closed."""
    with contextlib.suppress(RuntimeError):  # it is closed: whoever waited on it is gone, too
        loop.call_soon_threadsafe(call)


def resolve(future: asyncio.Future[None]) -> None:
    """Let go whoever awaits a future; on the loop of the future. One that was cancelled meanwhile is left alone."""
    if not future.done():
        future.set_result(None)


def resolve_from_anywhere(future: asyncio.Future[None]) -> None:
    """Let go whoever awaits a future, from any thread: its own loop does it at its next turn."""
    call_on(future.get_loop(), lambda: resolve(future))
