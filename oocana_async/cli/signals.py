"""SIGINT, SIGTERM and SIGHUP while a command runs: the first one ends it in order, the next one at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Coroutine, Iterator
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeVar

if TYPE_CHECKING:
    import asyncio

__all__ = ["Interrupted", "Signals"]

T = TypeVar("T")

_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(BaseException):
    """A signal ended what ran on the loop, in order; not an `Exception`, so that nobody takes it for a failure."""


class Signals:
    """Handles signals from `with` on; those that are ignored stay ignored, other threads than the main one have none.

    Before and after an event loop runs, a signal raises KeyboardInterrupt where the main thread is. While `run` drives
    a loop it cancels the main task instead, which then cleans up; a second signal ends the loop with KeyboardInterrupt
    at its next turn, a third one wherever it is. Where the main thread may be stuck in a write, `interruptible` lets
    signals raise `Interrupted`, so that the loop gets that turn.

    Why not `anyio.open_signal_receiver`: it is told of a signal by the loop, when the loop gets its next turn. These
    handlers have to work before there is a loop and after it, while the loop is stuck in a write to a pipe that nobody
    reads, and when a clean-up on the loop never ends.
    """

    def __init__(self) -> None:
        self._received: list[int] = []
        self._before: dict[int, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_writing = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @property
    def received(self) -> bool:
        """Whether a signal has come."""
        return bool(self._received)

    @property
    def exit_code(self) -> int:
        """128 and the number of the first signal: 130 for Ctrl-C."""
        return 128 + (self._received[0] if self._received else int(signal.SIGINT))

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on a new event loop; a signal cancels it.

        Raises:
            Interrupted: A signal came, and the coroutine ended by being cancelled.
            KeyboardInterrupt: A second one came.
        """
        import asyncio  # late: signals are handled before the half of a start-up that this is

        try:
            with asyncio.Runner() as runner:
                return runner.run(self._watch(main))
        except asyncio.CancelledError:
            raise Interrupted from None

    async def _watch(self, main: Coroutine[Any, Any, T]) -> T:
        import asyncio

        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            if self._received:
                main.close()
                raise Interrupted
            return await main
        finally:
            self._loop = self._task = None

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[bool]:
        """Around a call that may block the main thread: a signal raises `Interrupted` in it.

        Yields whether one has come already; then no further one may be waited for.
        """
        self._is_writing = True
        try:
            yield bool(self._received)
        finally:
            self._is_writing = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._received.append(number)
        if self._loop is None or self._task is None or len(self._received) > 2:
            raise KeyboardInterrupt
        if len(self._received) == 1:
            self._loop.call_soon_threadsafe(self._task.cancel)
        else:  # not here: raised inside of a coroutine it would begin a clean-up, and that may hang
            self._loop.call_soon_threadsafe(_leave_the_loop)
        if self._is_writing:
            raise Interrupted


def _leave_the_loop() -> NoReturn:
    raise KeyboardInterrupt
