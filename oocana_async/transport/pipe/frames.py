"""Length-prefixed frames over a socket pair: what parent and child say to each other, and the stream of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import msgspec

from oocana_async.errors import ClosedError, ConnectionLostError, ProtocolError
from oocana_async.wire.envelope import Incoming, Outgoing

__all__ = [
    "MAX_MESSAGE",
    "ArrivedFrame",
    "DoneFrame",
    "FlushFrame",
    "FrameStream",
    "PublishFrame",
    "SubscribeFrame",
    "ToChild",
    "ToParent",
    "UnsubscribeFrame",
    "chunks",
]

MAX_MESSAGE = 268_435_455
"""Most bytes of one message: what MQTT could carry as well."""

_MAX_FRAME = MAX_MESSAGE + 64 * 1024
_CHUNK = 1024 * 1024
"""Bytes of messages after which a batch goes on in another frame."""

_BUFFER = 1024 * 1024
"""Bytes that are read ahead; beyond them the other side waits."""


class PublishFrame(msgspec.Struct, array_like=True, tag="publish"):
    """Child to parent: publish these messages."""

    messages: list[Outgoing]


class SubscribeFrame(msgspec.Struct, array_like=True, tag="subscribe"):
    """Child to parent: open a subscription; answered with DoneFrame."""

    number: int
    filters: list[str]


class UnsubscribeFrame(msgspec.Struct, array_like=True, tag="unsubscribe"):
    """Child to parent: end a subscription."""

    number: int


class FlushFrame(msgspec.Struct, array_like=True, tag="flush"):
    """Child to parent: say when everything before this has been acknowledged; answered with DoneFrame."""

    number: int


class ArrivedFrame(msgspec.Struct, array_like=True, tag="arrived"):
    """Parent to child: messages of a subscription."""

    number: int
    messages: Sequence[Incoming]


class DoneFrame(msgspec.Struct, array_like=True, tag="done"):
    """Parent to child: a Subscribe or Flush has been carried out, or not."""

    number: int
    error: str | None = None


ToParent = PublishFrame | SubscribeFrame | UnsubscribeFrame | FlushFrame
ToChild = ArrivedFrame | DoneFrame
F = TypeVar("F")
M = TypeVar("M", bound=Incoming)


class FrameStream(Generic[F]):
    """One end of the socket pair: whole frames out, whole frames in.

    Args:
        connection: a connected stream socket; closed with this object.
        decoder: reads the frames that the other side sends.
        peer: who that is, for errors.
    """

    def __init__(self, connection: socket.socket, decoder: msgspec.msgpack.Decoder[F], peer: str) -> None:
        self._connection = connection
        self._decoder = decoder
        self._encode = msgspec.msgpack.Encoder().encode
        self._peer = peer
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> None:
        """Start to read; on the running loop."""
        self._connection.setblocking(False)
        self._streams = await asyncio.open_connection(sock=self._connection, limit=_BUFFER)

    async def send(self, frame: ToParent | ToChild) -> None:
        """Write a frame; waits while the other side does not read. Cancelling it leaves the frame written whole."""
        self.send_nowait(frame)
        try:
            await self._opened()[1].drain()
        except OSError as error:
            raise ConnectionLostError(f"{self._peer} is gone: {error}") from error

    def send_nowait(self, frame: ToParent | ToChild) -> None:
        """Write a small frame without waiting; one that nobody can read any more is dropped."""
        body = self._encode(frame)
        # Not `writelines`: before 3.12.9 and 3.13.2 it never tells `drain` that the buffer is full (CVE-2024-12254).
        self._opened()[1].write(b"".join((len(body).to_bytes(4, "big"), body)))

    async def receive(self) -> F | None:
        """Wait for a frame, None at the end of the stream; read it from one task."""
        reader, _ = self._opened()
        try:
            head = await reader.readexactly(4)
            size = int.from_bytes(head, "big")
            if size > _MAX_FRAME:
                raise ProtocolError(f"{self._peer} announced a frame of {size} bytes, at most {_MAX_FRAME} are allowed")
            return self._decoder.decode(await reader.readexactly(size))
        except asyncio.IncompleteReadError as error:
            if not error.partial and error.expected == 4:
                return None
            raise ConnectionLostError(f"{self._peer} is gone, in the middle of a frame") from error
        except OSError as error:
            raise ConnectionLostError(f"{self._peer} is gone: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolError(f"{self._peer} sent a frame that cannot be read: {error}") from error

    def abort(self) -> None:
        """Break the connection; both sides see its end."""
        if self._streams is not None:
            self._streams[1].transport.abort()

    async def aclose(self) -> None:
        """Write what is buffered and close; may be called twice."""
        if self._streams is None:
            self._connection.close()
            return
        writer = self._streams[1]
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            raise ClosedError("the pipe has not been opened; use it as an async context manager")
        return self._streams


def chunks(messages: Sequence[M]) -> Iterator[list[M]]:
    """Cut a batch into parts of about a megabyte; a single larger message is a part of its own."""
    chunk: list[M] = []
    size = 0
    for message in messages:
        length = len(message.payload)
        if chunk and size + length > _CHUNK:
            yield chunk
            chunk, size = [], 0
        chunk.append(message)
        size += length
    if chunk:
        yield chunk
