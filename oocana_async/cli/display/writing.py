"""Writing to stdout and files so that a reader who does not read cannot keep Ctrl-C from working."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator
from typing import Final, TextIO

from oocana_async.cli.signals import Interrupted, Signals

__all__ = ["Writer", "machine_stdout"]

_CHUNK: Final = select.PIPE_BUF
"""Bytes that a pipe takes without blocking once it says that it is writable."""
_PATIENCE: Final = 1000
"""Milliseconds that a reader gets to make room after a signal has come."""


class Writer:
    """Writes everything it is given before it returns; whatever waits for room gives way to a signal.

    Args:
        descriptor: where to; stays open. None for `stream`.
        stream: a text stream without a descriptor, as in tests and notebooks; None to write nowhere.
        encoding: of texts.
    """

    def __init__(
        self, signals: Signals, *, descriptor: int | None = None, stream: TextIO | None = None, encoding: str = "utf-8"
    ) -> None:
        self._signals = signals
        self._descriptor = descriptor
        self._stream = stream
        self._encoding = encoding
        self._poll = select.poll()
        if descriptor is not None:
            self._poll.register(descriptor, select.POLLOUT)

    @classmethod
    def of(cls, stream: TextIO | None, signals: Signals) -> Writer:
        """Return a writer to a text stream, past its buffer."""
        if stream is not None:
            stream.flush()
        number = _descriptor(stream)
        encoding = getattr(stream, "encoding", None) or "utf-8"
        return cls(signals, descriptor=number, stream=stream, encoding=encoding)

    def text(self, text: str) -> None:
        """Write text; what the encoding lacks is written as escapes."""
        if self._descriptor is not None:
            self.data(text.encode(self._encoding, "backslashreplace"))
        elif self._stream is not None:
            self._stream.write(text)

    def data(self, data: bytes) -> None:
        """Write bytes.

        Raises:
            BrokenPipeError: Nobody reads any more.
            Interrupted: A signal came while the reader did not read.
        """
        if self._descriptor is None:
            self.text(data.decode("utf-8", "replace"))
            return
        rest = memoryview(data)
        while rest:
            if not self._poll.poll(0):
                self._wait_for_room()
            rest = rest[os.write(self._descriptor, rest[:_CHUNK]) :]

    def _wait_for_room(self) -> None:
        with self._signals.interruptible() as was_interrupted:
            if not self._poll.poll(_PATIENCE if was_interrupted else None):
                raise Interrupted


@contextlib.contextmanager
def machine_stdout(signals: Signals) -> Iterator[Writer]:
    """Yield a writer to stdout for JSON lines and keep everything else off it.

    While it lasts, what blocks, their libraries and child processes write to descriptor 1 arrives on stderr.
    """
    writer = Writer.of(sys.stdout, signals)
    if _descriptor(sys.stdout) != 1:
        yield writer
        return
    private = os.dup(1)
    try:
        _point_to_stderr(1)
        yield Writer(signals, descriptor=private)
    finally:
        os.dup2(private, 1)
        os.close(private)


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return stream.fileno() if stream is not None else None
    except (OSError, ValueError, AttributeError):
        return None


def _point_to_stderr(number: int) -> None:
    try:
        os.dup2(2, number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
