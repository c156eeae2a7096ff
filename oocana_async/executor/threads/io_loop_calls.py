"""Carry what threads have finished back to the I/O loop, many with one wake-up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class IoLoopCalls:
    """Calls on the I/O loop that other threads ask for.

    Belongs to the first loop on which it is bound.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        # Unbounded: holds at most one call per job and thread. Drained by the I/O loop; dropped with it.
        self._calls: deque[Callable[[], None]] = deque()
        self._awake = False

    def bind(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, which becomes the one that calls are made on.

        Raises:
            RuntimeError: it is not the loop of the first time.
        """
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError(f"block threads belong to {self._loop!r} and cannot be used from {loop!r}")
        return loop

    def post_nowait(self, call: Callable[[], None]) -> None:
        """Have something called on the I/O loop, in the order of posting; from any thread."""
        self._calls.append(call)
        if not self._awake:
            self._awake = True
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._calls.clear()

    def _drain(self) -> None:
        self._awake = False  # first: a call that is appended from here on wakes again
        while self._calls:
            self._calls.popleft()()
