"""A stub engine for tests of executor processes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.stub.engine import StubEngine

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker

StartEngine = Callable[..., Awaitable[StubEngine]]


@pytest.fixture
async def start_engine(broker: MosquittoBroker, tmp_path: Path) -> AsyncIterator[StartEngine]:
    """Start stub engines, each with a session and directories of its own; options are those of `StubEngine`."""
    async with contextlib.AsyncExitStack() as stack:
        count = 0

        async def start(*, address: str = broker.address, directory: Path | None = None, **options: Any) -> StubEngine:
            nonlocal count
            count += 1
            options.setdefault("ready_within", 30)  # other tests may keep the machine busy
            where = directory or tmp_path / f"engine{count}"
            return await stack.enter_async_context(StubEngine(address, where, **options))

        yield start


@pytest.fixture
async def engine(start_engine: StartEngine) -> StubEngine:
    """A stub engine without an executor, which comes with the first job."""
    return await start_engine()
