"""Fixtures: a job on a bench."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from oocana_async.channel.bus import Bus
from tests.channel.gate import draining
from tests.context.bench import Bench, Child, open_bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A job whose messages travel over the memory transport."""
    transport, sent = await open_bench(Bus())
    async with draining(transport) as (channel, sender):
        yield Bench(channel, sender, transport, sent)
    await transport.aclose()


@pytest.fixture
async def child(bench: Bench) -> Child:
    """A child that was started on the loop of the test."""
    return Child(bench, bench.context().run_block("self::crop", inputs={"w": 10}))
