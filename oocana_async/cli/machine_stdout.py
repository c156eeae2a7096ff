"""Stdout for machines: JSON lines only, whatever blocks and child processes write to its descriptor."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from oocana_async.cli.sinks import ByteFile

__all__ = ["machine_stdout"]


@contextlib.contextmanager
def machine_stdout() -> Iterator[ByteFile]:
    """Yield stdout for JSON lines and keep everything else off it.

    While it lasts, what blocks, their libraries and child processes write to descriptor 1 arrives on stderr.
    """
    out = sys.stdout
    number = _descriptor(out)
    if number != 1:
        yield _TextAsBytes(out)
        return
    out.flush()
    private = os.dup(1)
    try:
        _point_to_stderr(1)
        with open(private, "wb", buffering=0, closefd=False) as file:
            yield file
    finally:
        os.dup2(private, 1)
        os.close(private)


def _descriptor(out: TextIO | None) -> int:
    """Return the descriptor of a stream, -1 when it has none, as in tests and notebooks."""
    try:
        return out.fileno() if out is not None else -1
    except (OSError, ValueError, AttributeError):
        return -1


def _point_to_stderr(number: int) -> None:
    try:
        os.dup2(2, number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


class _TextAsBytes:
    """A text stream, or none at all, that takes bytes."""

    def __init__(self, out: TextIO | None) -> None:
        self._out = out

    def write(self, data: memoryview) -> int:
        if self._out is not None:
            self._out.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

    def flush(self) -> None:
        if self._out is not None:
            self._out.flush()
