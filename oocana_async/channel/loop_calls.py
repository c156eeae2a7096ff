"""Calls on an event loop that other threads ask for, many of them with one wake-up."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary

__all__ = ["LoopCalls"]


MOMENT = 0.0002
"""Seconds that a loop waits for the next call before it goes to its selector, while that pays."""

TURN = 0.002
"""Seconds after which the others on the loop have their turn, however many calls come."""

_TRIES = 4
"""How often a loop waits in vain before it stops to."""


class _Thread(threading.local):
    is_ending = False


_thread = _Thread()


class LoopCalls:
    """What other threads want to be called on one loop.

    All that a process wants of a loop goes through one of these, because a wake-up is dear: it writes to a socket, and
    a thread that does so gives up the interpreter, for which it then competes with the loop that it has woken. So
    while small blocks end one after the other, the loop does not go to its selector in between: it waits a moment for
    the next call, which wakes it through a lock. When nothing has come in that moment some times in a row, it no
    longer does; it begins again when calls come that fast.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)  # they live as long as the loop, which must not live as long as they
        # Unbounded: at most one call per channel, and one per job and thread. Drained by the loop; dropped with it.
        self._calls: deque[Callable[[], object]] = deque()
        self._awake = False
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()  # one per call while the loop waits for a call
        self._waits = False
        self._tries = 0
        self._drained_at = -TURN

    @classmethod
    def of_running_loop(cls, bound: LoopCalls | None = None) -> LoopCalls:
        """Return the one of the running loop.

        Args:
            bound: the one that the caller has used so far.

        Raises:
            RuntimeError: That is the one of another loop.
        """
        loop = asyncio.get_running_loop()
        if bound is not None:
            bound._require(loop)  # noqa: SLF001 - its own class
            return bound
        calls = _of_loops.get(loop)
        if calls is None:
            calls = _of_loops[loop] = cls(loop)
        return calls

    def _require(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop() is not loop:
            raise RuntimeError(f"block threads belong to {self._loop()!r} and cannot be used from {loop!r}")

    def post_nowait(self, call: Callable[[], object]) -> None:
        """Have something called on the loop, in the order of posting; from any thread."""
        self._calls.append(call)
        if not _thread.is_ending:
            self._wake()

    def hold_until_end(self) -> None:
        """Spare the loop wake-ups for what the calling thread posts from now on: it will call `post_end` at once."""
        _thread.is_ending = True

    def post_end(self, call: Callable[[], object]) -> None:
        """Have something called before all that waits: the end of a job, whose thread can then take what follows."""
        _thread.is_ending = False
        self._calls.appendleft(call)
        self._wake()

    def release(self) -> None:
        """Take back `hold_until_end`: the end will not come at once."""
        _thread.is_ending = False
        if self._calls:
            self._wake()

    def _wake(self) -> None:
        if self._waits:
            self._tokens.put(None)
        elif not self._awake:
            self._awake = True
            loop = self._loop()
            try:
                if loop is not None:
                    loop.call_soon_threadsafe(self._drain)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._calls.clear()

    def _drain(self) -> None:
        """Make the calls that wait, and those that come right after them; what comes later wakes the loop again."""
        start, calls = time.monotonic(), self._calls
        if start - self._drained_at < MOMENT:  # it would have paid to wait
            self._tries = _TRIES
        try:
            while True:
                for _ in range(len(calls)):
                    calls.popleft()()
                if time.monotonic() - start > TURN or not (calls or self._comes_soon()):
                    return
        finally:
            self._drained_at = time.monotonic()
            self._awake = False  # first: a call that is appended from here on wakes again
            if calls:
                self._awake = True
                asyncio.get_running_loop().call_soon(self._drain)

    def _comes_soon(self) -> bool:
        """Wait a moment for a call, if that has paid lately."""
        if self._tries <= 0:
            return False
        self._waits = True  # first: whoever appends from here on puts a token
        try:
            if not self._calls:
                self._tokens.get(timeout=MOMENT)
            self._tries = _TRIES
        except queue.Empty:
            self._tries -= 1
        finally:
            self._waits = False
            while not self._tokens.empty():
                self._tokens.get_nowait()
        return bool(self._calls)


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopCalls] = WeakKeyDictionary()
