"""A TCP proxy that can cut connections at a chosen byte, and fixtures for tests on the wire."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pytest

from oocana_async.transport.mqtt.protocol.decoder import Decoder
from oocana_async.transport.mqtt.protocol.packets import Connect, Packet

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker


class Proxy:
    """Forwards connections to a broker until told otherwise.

    Attributes:
        cut_after: bytes from the client to let pass before everything is cut, None for no limit; counted from the time
            it is set, cleared by the cut.
        connections: connections that were made so far.
        written: what each client has written, by its writer on this side, as long as it is connected.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.cut_after: int | None = None
        self.connections = 0
        self.written: dict[asyncio.StreamWriter, bytearray] = {}
        self.refusing = False

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, client_id: str | None = None) -> None:
        """Reset every connection, or that of one client."""
        for writer in list(self._writers):
            if client_id is None or self._is_of(writer, client_id):
                writer.transport.abort()

    def _is_of(self, writer: asyncio.StreamWriter, client_id: str) -> bool:
        packets = Decoder().feed(bytes(self.written.get(writer, b"")))
        return any(isinstance(packet, Connect) and packet.client_id == client_id for packet in packets)

    def packets(self) -> list[Packet]:
        """What the clients that are connected have written, one client after the other."""
        return [packet for data in self.written.values() for packet in Decoder().feed(bytes(data))]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        self.written[writer] = bytearray()
        with contextlib.suppress(OSError):
            if not self.refusing:
                await self._join(reader, writer)
        writer.transport.abort()
        del self.written[writer]
        self._writers.discard(writer)
        self._tasks.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        self._writers.add(server_writer)
        ways = [
            asyncio.create_task(self._forward(reader, server_writer, self.written[writer])),
            asyncio.create_task(self._forward(server_reader, writer, None)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        server_writer.transport.abort()
        self._writers.discard(server_writer)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, written: bytearray | None
    ) -> None:
        while data := await reader.read(4096):
            if written is not None:
                written += data
            if written is not None and self.cut_after is not None:
                if len(data) >= self.cut_after:
                    writer.write(data[: self.cut_after])
                    await writer.drain()
                    writer.close()  # what was let through arrives, the rest never does
                    self.cut_after = None
                    return
                self.cut_after -= len(data)
            writer.write(data)
            await writer.drain()


class MovableTime:
    """The time of the running loop, which a test moves on by hand, so that nothing has to wait for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._real = loop.time
        self._ahead = 0.0
        monkeypatch.setattr(loop, "time", lambda: self._real() + self._ahead)

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything run that is due then."""
        self._ahead += seconds
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> MovableTime:
    """The clock of the loop in the hands of the test."""
    return MovableTime(monkeypatch)


@pytest.fixture
async def proxy(broker: MosquittoBroker) -> AsyncIterator[Proxy]:
    """A proxy in front of the broker."""
    async with Proxy(broker.host, broker.port) as proxy:
        yield proxy


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    """A password file for mosquitto in which user `me` has password `right`."""
    salt = b"twelve bytes"  # the length that mosquitto wants
    digest = hashlib.pbkdf2_hmac("sha512", b"right", salt, 101)
    path = tmp_path / "passwords"
    path.write_text(f"me:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n")
    path.chmod(0o644)
    return str(path)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl program to make a certificate")
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command = ["openssl", "req", "-x509", *kind, "-keyout", key, "-out", cert, *names]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key
