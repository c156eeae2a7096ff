"""Child processes in groups of their own: start, serve their pipe, notice their end, end them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Self

import anyio

from oocana_async.errors import TransportError
from oocana_async.transport.base import Transport
from oocana_async.transport.pipe.bridge import PipeBridge

__all__ = ["ChildProcess", "show_code"]

logger = logging.getLogger(__name__)

_LAST_WORDS = 1.0
"""Seconds that the pipe of a process that has ended may stay open in the hands of its own children."""


class ChildProcess:
    """A process and all that it starts; made by `start()`, belongs to the loop that made it.

    When the process ends, for whatever reason, what is left of its process group is killed.

    Args:
        name: for logs and names of threads and tasks.
        popen: the process, leader of its group.
        bridge: serves its pipe, None when it has none.
    """

    def __init__(self, name: str, popen: subprocess.Popen[bytes], bridge: PipeBridge | None) -> None:
        self.name = name
        self._popen = popen
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[int] = self._loop.create_future()
        self._reaping = threading.Lock()
        self._is_reaped = False
        self._bridge: asyncio.Task[None] | None = None
        if bridge is not None:
            # No task group: the process outlives the call that starts it, and is ended by whoever holds it.
            self._bridge = asyncio.create_task(self._serve(bridge), name=f"oocana-pipe-{name}")
        # A thread that waits, and neither anyio's process nor SIGCHLD: the group must be killed before the leader is
        # reaped, or its id may belong to others. It ends with the process; a daemon, because a process may be left
        # running on purpose.
        threading.Thread(target=self._watch, name=f"oocana-wait-{name}", daemon=True).start()

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        output: int | IO[bytes],
        transport: Transport | None = None,
        lifeline: bool = False,
    ) -> Self:
        """Start a process in a session of its own.

        Args:
            name: for logs.
            command: program and arguments, never read by a shell.
            env: its whole environment.
            output: where stdout and stderr go.
            transport: what the process publishes on and subscribes to over a pipe; its descriptor is appended to the
                command as `--pipe-fd N`. None for no pipe.
            lifeline: give it a stdin that ends with this process; otherwise stdin is empty.

        Raises:
            OSError: It cannot be started.
        """
        stdin = subprocess.PIPE if lifeline else subprocess.DEVNULL
        if transport is None:
            popen = _spawn(command, env=env, output=output, stdin=stdin)
            return cls(name, popen, None)
        mine, theirs = socket.socketpair()
        try:
            with theirs:
                fd = theirs.fileno()
                full = (*command, "--pipe-fd", str(fd))
                popen = _spawn(full, env=env, output=output, stdin=stdin, pass_fds=(fd,))
        except BaseException:
            mine.close()
            raise
        return cls(name, popen, PipeBridge(transport, mine))

    @property
    def pid(self) -> int:
        """Id of the process, and of its group."""
        return self._popen.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process is over."""
        return self._exited.done()

    async def wait(self) -> int:
        """Wait until the process has ended and what it had sent has arrived; cancelling it changes nothing.

        Returns:
            The exit code, negative for a signal.
        """
        code = await asyncio.shield(self._exited)
        if self._bridge is not None:
            await asyncio.wait([self._bridge], timeout=_LAST_WORDS)
        return code

    def terminate(self) -> None:
        """Ask the process to leave, once more by the end of its lifeline."""
        self._cut_lifeline()
        self._signal(os.kill, signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and its group."""
        self._signal(os.killpg, signal.SIGKILL)

    async def aclose(self, grace: float) -> None:
        """End the process: ask, wait, kill; returns when it is gone. May be called twice.

        Args:
            grace: seconds that it may take to leave by itself.
        """
        try:
            self.terminate()
            with anyio.move_on_after(grace):
                await self.wait()
        finally:
            self.kill()
        await self.wait()
        if self._bridge is not None:
            self._bridge.cancel()
            await asyncio.wait([self._bridge])

    async def _serve(self, bridge: PipeBridge) -> None:
        try:
            await bridge.run()
        except TransportError as error:
            logger.warning("%s: %s", self.name, error)

    def _cut_lifeline(self) -> None:
        if self._popen.stdin is not None:
            self._popen.stdin.close()

    def _signal(self, send: Callable[[int, int], None], number: int) -> None:
        """Signal the process or its group, which keep their id until the process is reaped."""
        with self._reaping:
            if not self._is_reaped:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    send(self._popen.pid, number)

    def _watch(self) -> None:
        """Wait for the end; in a thread."""
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOWAIT)
            self.kill()
        else:
            self._popen.wait()
        with self._reaping:
            code = self._popen.wait()
            self._is_reaped = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._note_exit, code)

    def _note_exit(self, code: int) -> None:
        self._cut_lifeline()
        if not self._exited.done():
            self._exited.set_result(code)


def _spawn(
    command: Sequence[str], *, env: Mapping[str, str], output: int | IO[bytes], stdin: int, pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    # Popen, because `open_process` of anyio reaps by itself, see `ChildProcess`.
    return subprocess.Popen(
        command,
        env=dict(env),
        stdin=stdin,
        stdout=output,
        stderr=output,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
    )


def show_code(code: int) -> int:
    """Return an exit code as the engine shows it: -1 for any signal (protocol.md 2.7)."""
    return -1 if code < 0 else code
