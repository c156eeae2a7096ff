"""How the stub engine reads: at a pace of its own, so that the broker queues, and drops, as before the real one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

from oocana_async.transport.mqtt.protocol.packets import Connect
from oocana_async.transport.mqtt.protocol.subscriber import Subscriber

__all__ = ["Consumer"]

_STEP = 0.002  # seconds that the consumer may be ahead of its pace


class Consumer:
    """Subscribes to one topic and acknowledges each message after it has been taken.

    Args:
        client_id: name on the broker.
        topic: what to read.
        take: called with each payload.
        pace: messages a second, None for as fast as it goes.
        qos: at 1 the broker waits for an acknowledgement after each 20 messages, and drops beyond 1,000.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        client_id: str,
        topic: str,
        take: Callable[[bytes], None],
        pace: float | None = None,
        qos: int = 1,
    ) -> None:
        self.pace = pace
        self._where = (host, port)
        self._topic = topic
        self._qos = qos
        self._take = take
        self._machine = Subscriber(Connect(client_id, 0))
        self._due = 0.0
        self._granted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        reader, writer = await self._connect()
        self._task = asyncio.create_task(self._keep_reading(reader, writer), name=f"stub engine reads {self._topic}")
        granted = asyncio.create_task(self._granted.wait(), name="stub engine waits for SUBACK")
        await asyncio.wait([self._task, granted], return_when=asyncio.FIRST_COMPLETED)
        if not granted.done():
            granted.cancel()
            await self._task
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self._where)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return reader, writer

    async def _keep_reading(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read over a restart of the broker, which the real engine does not survive, but tests of executors want."""
        while True:
            with contextlib.suppress(ConnectionError):
                await self._read(reader, writer)
            self._machine.connection_lost()
            reader, writer = await self._connect_again()

    async def _connect_again(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            try:
                return await self._connect()
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)  # nothing tells when a broker is back

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time
        filters = {self._topic: self._qos}
        try:
            self._machine.subscribe(filters, now())
            writer.write(self._machine.connect(now()))
            while data := await reader.read(65536):
                answers = self._machine.receive(data, now())
                for message in self._machine.take():
                    self._take(message.payload)
                    await self._keep_pace()
                writer.write(answers)
                if self._machine.in_force(filters):
                    self._granted.set()
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _keep_pace(self) -> None:
        """Take time for each message, as the engine does."""
        if self.pace is None:
            return
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now - _STEP) + 1 / self.pace
        if self._due > now + _STEP:
            await asyncio.sleep(self._due - now)
