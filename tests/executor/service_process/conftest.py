"""Services in this process, on a bus, that a small engine runs blocks of."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from oocana_async.channel.clock import Clock
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.service_process.service import Service, ServiceIdentity
from oocana_async.executor.services.lifetime import StopAt
from oocana_async.executor.services.service_messages import ServiceJob, ServiceTopics
from oocana_async.testing.manual_clock import ManualClock
from oocana_async.transport.memory import MemoryTransport
from oocana_async.wire.messages import encode_message
from tests.executor.small_engine import Engine, Json, running_engine


class InProcess:
    """A service in this process, fed without an executor."""

    def __init__(self, engine: Engine, service: Service) -> None:
        self.engine = engine
        self.service = service
        self.topics = ServiceTopics(service.identity.session_id, "HASH")

    def start(self, block: str, inputs: Json | None = None, *, session_id: str = "S") -> str:
        """Send a job as an executor does; returns its id."""
        payload = self.engine.payload(block, inputs, session_id=session_id)
        job = ServiceJob(payload, str(self.engine.directory))
        self.engine.bus.publish_nowait(self.topics.run("I1"), encode_message(job))
        return job.job_id

    async def run(self, block: str, inputs: Json | None = None, *, session_id: str = "S") -> Json:
        """Run a job to its end."""
        return await self.engine.end_of(self.start(block, inputs, session_id=session_id))

    async def over(self) -> str:
        """Wait until the service has a reason to leave."""
        async with asyncio.timeout(20):
            return await self.service.until_over()


Serve = Callable[..., Any]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine for session S."""
    async with running_engine(tmp_path / "service") as one:
        yield one


@pytest.fixture
async def serve(engine: Engine) -> AsyncIterator[Serve]:
    """Start a service in this process from the source of its main.py."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            source: str,
            *,
            stop_at: StopAt = StopAt.SESSION_END,
            keep_alive: float | None = None,
            clock: Clock | None = None,
        ) -> InProcess:
            engine.write(source)
            runtime = await stack.enter_async_context(Runtime(max_loops=1))
            session_id = None if stop_at.is_global else "S"
            identity = ServiceIdentity("HASH", "I1", session_id, stop_at, keep_alive)
            service = Service(MemoryTransport(engine.bus), runtime, identity, clock or ManualClock())
            return InProcess(engine, await stack.enter_async_context(service))

        yield start
