"""Writing to pipes whose readers are slow, gone, or no files at all."""

from __future__ import annotations

import io
import os
import signal
import threading

import pytest

from oocana_async.cli.display.writing import Writer
from oocana_async.cli.signals import Interrupted, Signals


def test_everything_arrives_however_large() -> None:
    reading, writing = os.pipe()
    chunks: list[bytes] = []

    def read() -> None:
        with os.fdopen(reading, "rb") as file:
            chunks.append(file.read())

    thread = threading.Thread(target=read)
    thread.start()
    Writer(Signals(), descriptor=writing).data(b"x" * 1_000_000)
    os.close(writing)
    thread.join()
    assert len(chunks[0]) == 1_000_000


def test_reader_that_does_not_read_gives_way_to_a_signal() -> None:
    reading, writing = os.pipe()

    def interrupt() -> None:
        os.read(reading, 1)
        os.kill(os.getpid(), signal.SIGINT)

    async def write() -> None:
        threading.Thread(target=interrupt).start()
        Writer(signals, descriptor=writing).data(b"x" * 10_000_000)

    with Signals() as signals, pytest.raises(Interrupted):
        signals.run(write())
    os.close(reading)
    os.close(writing)


def test_reader_that_has_gone_is_an_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        Writer(Signals(), descriptor=writing).data(b"x")
    os.close(writing)


def test_stream_without_descriptor_gets_text() -> None:
    out = io.StringIO()
    writer = Writer.of(out, Signals())
    writer.data("é\n".encode())
    writer.text("text\n")
    assert out.getvalue() == "é\ntext\n"


def test_text_that_the_encoding_lacks_is_escaped() -> None:
    reading, writing = os.pipe()
    Writer(Signals(), descriptor=writing, encoding="ascii").text("é")
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert file.read() == b"\\xe9"


def test_no_stream_at_all_takes_everything() -> None:
    Writer.of(None, Signals()).text("nobody reads this")
