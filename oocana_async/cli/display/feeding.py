"""Hands the events of a session to the sinks until it is over, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import anyio

from oocana_async.cli.display.sinks import JsonLines, Sink
from oocana_async.cli.signals import Interrupted
from oocana_async.engine.api import RunResult, Session
from oocana_async.engine.events import RawEventStream

__all__ = ["show_until_over"]

_TICK: Final = 0.125
"""Seconds between two drawings of the live display."""


async def show_until_over(session: Session, sinks: Sequence[Sink]) -> RunResult:
    """Hand events to the sinks until the session is over.

    When a sink fails or the caller is cancelled, the session is ended, and what it still reports is handed on too.

    Raises:
        Interrupted: A signal came while nobody read what a sink writes.
        OSError: A sink cannot be written to.
    """
    # Nothing is dropped: beyond the limit the engine waits for the sinks. Drained by `_Feed`, closed by the session.
    stream = session.raw_events(limit=1000, lossless=True)
    feed = _Feed(stream, sinks, session.cancel)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tick, sinks, name="oocana-async display")
        try:
            await feed.to_the_end()
        except asyncio.CancelledError:
            for sink in sinks:
                sink.notify("interrupted, waiting for the blocks to end; Ctrl-C again leaves at once")
            session.cancel()
            await feed.to_the_end()  # a cancellation is delivered once: from here on only a second signal interrupts
            raise
        finally:
            session.cancel()
            stream.close()
            tasks.cancel_scope.cancel()
    if feed.failure is not None:  # raised here, since a task group would wrap it
        raise feed.failure
    return await session.result()


class _Feed:
    """Reads events; when a sink fails the run is ended, and only the others for machines get what is left.

    Attributes:
        failure: of the first sink that failed.
    """

    def __init__(self, stream: RawEventStream, sinks: Sequence[Sink], end: Callable[[], None]) -> None:
        self.failure: Interrupted | OSError | None = None
        self._stream = stream
        self._able = list(sinks)
        self._end = end

    async def to_the_end(self) -> None:
        """Read until the session is over; may be cancelled and called again without missing an event."""
        while batch := await self._stream.receive_many():
            for sink in tuple(self._able):
                if sink in self._able:
                    self._hand_on(sink, batch)

    def _hand_on(self, sink: Sink, batch: list[bytes]) -> None:
        try:
            sink.take(batch)
        except (Interrupted, OSError) as error:
            self._able = [one for one in self._able if one is not sink and isinstance(one, JsonLines)]
            self.failure = self.failure or error
            self._end()


async def _tick(sinks: Sequence[Sink]) -> None:
    with contextlib.suppress(OSError):  # a terminal that has gone: whoever writes the next entry says so
        while True:
            await anyio.sleep(_TICK)
            for sink in sinks:
                sink.tick()
