"""A transport that holds back what it gets until the test opens its gate, and a channel that drains into it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from oocana_async.channel.channel import Channel
from oocana_async.channel.sender import Outlet, Sender
from oocana_async.errors import TransportError
from oocana_async.transport.base import Subscription, Transport
from oocana_async.wire.envelope import Outgoing


class GateTransport(Transport):
    """Records what it is given; holds batches back while its gate is shut, and can break."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.taken: list[Outgoing] = []
        self.batches: list[int] = []
        self.flushes = 0
        self.failure: Exception | None = None
        self.reached = asyncio.Event()
        self._gate = asyncio.Event()
        if is_open:
            self._gate.set()

    async def __aenter__(self) -> Self:
        return self

    def open(self) -> None:
        self._gate.set()

    def shut(self) -> None:
        self._gate.clear()

    async def publish(self, batch: Sequence[Outgoing]) -> None:
        self.reached.set()
        await self._gate.wait()
        if self.failure is not None:
            raise self.failure
        self.taken.extend(batch)
        self.batches.append(len(batch))

    async def subscribe(self, *filters: str) -> Subscription:
        raise NotImplementedError

    async def flush(self) -> None:
        self.flushes += 1

    async def aclose(self) -> None:
        return

    def statistics(self) -> Mapping[str, Any]:
        return {}


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop and other threads go on until something is so."""
    while not condition():
        await asyncio.sleep(0)


def broken(text: str = "gone") -> TransportError:
    return TransportError(text)


@asynccontextmanager
async def draining(outlet: Outlet, **limits: int) -> AsyncIterator[tuple[Channel, Sender]]:
    """Open a channel with a sender that drains it into an outlet."""
    channel = Channel(**limits)
    async with Sender(channel, outlet) as sender:
        yield channel, sender
