"""How asyncio futures are resolved by somebody else: on their own loop, or from any thread."""

from __future__ import annotations

import asyncio
import contextlib

__all__ = ["resolve", "resolve_from_anywhere"]


def resolve(future: asyncio.Future[None]) -> None:
    """Let go whoever awaits a future; on the loop of the future. One that was cancelled meanwhile is left alone."""
    if not future.done():
        future.set_result(None)


def resolve_from_anywhere(future: asyncio.Future[None]) -> None:
    """Let go whoever awaits a future, from any thread: its own loop does it at its next turn."""
    with contextlib.suppress(RuntimeError):  # its loop is closed, and so is whoever waited
        future.get_loop().call_soon_threadsafe(resolve, future)
