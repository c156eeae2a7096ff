"""Fixtures: a job on a bench."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from oocana_async.channel.bus import Bus
from oocana_async.channel.sender import Outbox
from tests.context.bench import Bench, open_bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A job whose messages travel over the memory transport."""
    transport, sent = await open_bench(Bus())
    async with Outbox(transport) as outbox:
        yield Bench(outbox, sent)
    await transport.aclose()
