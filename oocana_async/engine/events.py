"""Streams of report events for whoever watches a session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Raw

from oocana_async.channel.bus import BusSubscription
from oocana_async.wire.messages.report import ReportEvent, decode_report

__all__ = ["EventStream", "RawEventStream", "decode_value"]


def decode_value(value: Raw) -> Any:
    """Return a value of an event (`output`, `payload`, or one of `inputs`, `outputs`, `result`) as Python data."""
    return msgspec.json.decode(value)


class RawEventStream:
    """The report events of a session as they travel: one JSON text each, in order; ends after SessionFinished.

    Events of a subscriber that is too slow are dropped, oldest first, unless it asked to be waited for.
    """

    def __init__(self, subscription: BusSubscription) -> None:
        self._subscription = subscription

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return (await self._subscription.__anext__()).payload

    async def receive_many(self) -> list[bytes]:
        """Wait for at least one event and take all that wait; an empty list means that the session is over.

        Cancelling it takes none.
        """
        return [message.payload for message in await self._subscription.receive_many()]

    @property
    def dropped(self) -> int:
        """Events that were dropped because they were not read in time."""
        return self._subscription.statistics().dropped

    def close(self) -> None:
        """Stop to collect events; may be called twice."""
        self._subscription.close()


class EventStream:
    """The report events of a session, typed, in order; ends after SessionFinished.

    What other languages' executors send beyond the known types is left out. Events of a subscriber that is too slow
    are dropped, oldest first, unless it asked to be waited for.
    """

    def __init__(self, subscription: BusSubscription) -> None:
        self._raw = RawEventStream(subscription)

    def __aiter__(self) -> AsyncIterator[ReportEvent]:
        return self

    async def __anext__(self) -> ReportEvent:
        while True:
            payload = await self._raw.__anext__()
            try:
                event = decode_report(payload)
            except msgspec.DecodeError:
                continue
            if event is not None:
                return event

    @property
    def dropped(self) -> int:
        """Events that were dropped because they were not read in time."""
        return self._raw.dropped

    def close(self) -> None:
        """Stop to collect events; may be called twice."""
        self._raw.close()
