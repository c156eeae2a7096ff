"""The last step of the process: it leaves although threads of blocks may be stuck."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import Final

__all__ = ["leave_in_time"]

GRACE: Final = 1.0
"""Seconds that the interpreter gets to end by itself."""


def leave_in_time(code: int) -> None:
    """See to it that the process ends with `code` soon after the caller has returned to the interpreter.

    Everything of ours has been closed and written by then. The interpreter waits for threads, also for those of pools,
    without a deadline; one that a block left behind, or that did not react to its cancellation, would keep it for ever.
    """
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if len(threading.enumerate()) > 1:
        # Nobody waits for it: it ends the process, or dies with it.
        threading.Thread(target=_leave, args=(code,), name="oocana-async leaving", daemon=True).start()


def _leave(code: int) -> None:
    threading.Event().wait(GRACE)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
