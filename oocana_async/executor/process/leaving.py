"""Why an executor process leaves, and how it notices (protocol.md 2.7)."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

__all__ = ["Departure", "Reason", "run_and_leave"]


class Reason(enum.Enum):
    """Why an executor process leaves."""

    SESSION_FINISHED = "the session is over"
    TERMINATED = "it was asked to terminate"
    ENGINE_GONE = "the engine is gone"
    BROKER_GONE = "the broker is gone"

    def exit_code(self, *, jobs_running: bool) -> int:
        """Return the exit code; never 0 while jobs run, because the engine would wait for them for ever."""
        match self:
            case Reason.SESSION_FINISHED:
                return 0
            case Reason.TERMINATED:
                return 128 + signal.SIGTERM if jobs_running else 0
            case _:
                return 1


class Departure:
    """The first reason to leave; use `watch()` around the executor's life on the loop of the main thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reason: asyncio.Future[Reason] = self._loop.create_future()

    def leave(self, reason: Reason) -> None:
        """Give a reason; the first one counts."""
        if not self._reason.done():
            self._reason.set_result(reason)

    async def wait(self) -> Reason:
        """Wait for a reason."""
        return await asyncio.shield(self._reason)  # cancelling one who waits must not cancel the reason itself

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Watch SIGTERM, SIGINT and the engine's end of stdout."""
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            # Not `anyio.open_signal_receiver`: that needs a task which does nothing but read it, and which has to be
            # started, cancelled and awaited. A plain callback cannot fail and holds until the `with` block is left.
            self._loop.add_signal_handler(number, self.leave, Reason.TERMINATED)
        self._watch_stdout()
        try:
            yield
        finally:
            for number in signals:
                self._loop.remove_signal_handler(number)

    def _watch_stdout(self) -> None:
        """Notice that nobody reads stdout any more: the engine, which made that pipe, has died."""
        try:
            is_pipe = stat.S_ISFIFO(os.fstat(1).st_mode)
        except OSError:
            return
        if is_pipe:
            # Not a reader on the loop: that the writing end of a pipe gets "readable" when nobody reads any more is how
            # epoll happens to tell it, not every selector. Not `anyio.to_thread`: its threads are no daemons.
            threading.Thread(target=self._wait_for_broken_pipe, name="oocana-engine-watch", daemon=True).start()

    def _wait_for_broken_pipe(self) -> None:
        poll = select.poll()
        poll.register(1, 0)  # errors are always reported: this sleeps until the other end is closed
        poll.poll()
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process leaves already
            self._loop.call_soon_threadsafe(self.leave, Reason.ENGINE_GONE)


def run_and_leave(main: Callable[[], int]) -> NoReturn:
    """Call a program's main function, then end this process with its exit code.

    Threads of blocks that are stuck would keep the interpreter alive, so this ends the process itself, after everything
    has been delivered, closed and flushed.
    """
    code = 1
    try:
        code = main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - shown, then the process ends
        sys.excepthook(*sys.exc_info())
    finally:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
