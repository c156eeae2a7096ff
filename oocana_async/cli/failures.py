"""Ends of a command that are not success: exit codes and what people read then. Imports nothing of the engine."""

from __future__ import annotations

import enum
import sys
from typing import TextIO

__all__ = ["ExitCode", "UsageError", "say"]


class ExitCode(enum.IntEnum):
    """What the process ends with."""

    SUCCESS = 0
    FAILED = 1
    """A block, the flow, or what was checked is wrong."""
    USAGE = 2
    """Wrong usage, or a manifest that cannot be read."""
    INTERRUPTED = 130
    """Ctrl-C; other signals likewise end with 128 and their number."""
    BROKEN_PIPE = 141
    """Whoever read our output has gone."""


class UsageError(Exception):
    """The command line asks for something that cannot be; the text names the option and what would be right."""


def say(text: str, stream: TextIO | None = None) -> None:
    """Write a line to stderr, or another stream; a stream that is closed or broken is none of our business then."""
    stream = sys.stderr if stream is None else stream
    try:
        print(text, file=stream, flush=True)
    except UnicodeEncodeError:
        print(text.encode("ascii", "backslashreplace").decode(), file=stream, flush=True)
    except (OSError, ValueError, AttributeError):
        return
