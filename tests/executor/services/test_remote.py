"""Services that somebody else has started: found by a ping, used in the order of appearance, missed when silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, Mock

import pytest

from oocana_async.executor.scope import ExecutorScope
from oocana_async.executor.services import remote
from oocana_async.executor.services.launching import ServicePlan
from oocana_async.executor.services.remote import RemoteService, ServiceState
from oocana_async.executor.services.service_messages import ServiceJob
from oocana_async.testing.manual_clock import ManualClock
from oocana_async.transport.memory import MemoryTransport

if TYPE_CHECKING:
    from oocana_async.transport.pipe.processes import ChildProcess
    from oocana_async.wire.envelope import Outgoing
    from tests.executor.small_engine import Engine

pytestmark = pytest.mark.anyio

STATUS = {"service_hash": "HASH", "session_id": None, "executor": "python"}
REPORT = "service/python/HASH/report/"


class Owner:
    """An executor that uses a global service."""

    session_id = "S"

    def __init__(self, engine: Engine) -> None:
        self.clock = ManualClock()
        self.failed: list[tuple[str, str]] = []
        self.engine = engine
        scope = ExecutorScope("I", None, "workspace", "", Path("/tmp"))
        self.plan = ServicePlan.of(engine.payload("a", stop_at="Never"), scope)
        self.service = RemoteService(self, MemoryTransport(engine.bus), self.plan, address="broker:1883")

    def send(self, message: Outgoing) -> None:
        self.engine.bus.publish_nowait(message.topic, message.payload)

    def fail(self, job: ServiceJob, error: str) -> None:
        self.failed.append((job.job_id, error))
        self.engine.bus.publish_nowait("failed", b"{}")

    def changed(self) -> None: ...

    def take(self) -> str:
        job = ServiceJob(self.engine.payload("a", stop_at="Never"), "/s")
        self.service.take(job)
        return job.job_id

    async def found(self, instance: str) -> None:
        """Answer the ping of the executor."""
        await self.engine.until(lambda: self.engine.of("service/python/HASH/action/ping"))
        self.engine.publish(f"{REPORT}pong", {"instance": instance})
        await self.engine.until(lambda: self.runs(instance))

    def runs(self, instance: str) -> list[str]:
        bodies = self.engine.of(f"service/python/HASH/action/run/{instance}")
        return [body["payload"]["job_id"] for body in bodies]

    async def quiet(self) -> None:
        """Wait until the executor has read all that was published."""
        await self.engine.until(lambda: self.engine.of("nudge") or self.engine.publish("nudge", {}))  # type: ignore[func-returns-value]
        self.engine.seen = [one for one in self.engine.seen if one[0] != "nudge"]


Launch = Callable[..., Any]


@pytest.fixture
async def owner(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Owner]:
    """A service whose processes are never really started: it says so in `launched`."""

    async def launch(plan: ServicePlan, instance: str, **_: object) -> ChildProcess:
        engine.publish("launched", {"instance": instance})
        raise OSError("not in this test")

    monkeypatch.setattr(remote, "launch", launch)
    monkeypatch.setattr(remote, "FIND_WINDOW", 20.0)
    one = Owner(engine)
    yield one
    await one.service.aclose(1)


async def test_process_that_answers_a_ping_gets_the_jobs(owner: Owner, engine: Engine) -> None:
    jobs = [owner.take(), owner.take()]
    await owner.found("A")
    jobs.append(owner.take())
    await engine.until(lambda: owner.runs("A") == jobs)
    assert engine.of("launched") == []


async def test_only_the_first_process_that_shows_up_is_used(owner: Owner, engine: Engine) -> None:
    first = owner.take()
    await owner.found("A")
    engine.publish(f"{REPORT}prepare", {"instance": "B"})
    await owner.quiet()
    second = owner.take()
    await engine.until(lambda: owner.runs("A") == [first, second])
    assert owner.runs("B") == []


async def test_no_answer_starts_a_process(owner: Owner, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIND_WINDOW", 0.01)
    job_id = owner.take()
    await engine.until(lambda: owner.failed)
    assert len(engine.of("launched")) == 1
    assert owner.failed == [(job_id, f"Service {engine.directory} cannot be started: not in this test")]
    assert owner.service.state is ServiceState.IDLE


async def test_own_process_that_comes_second_is_ended(
    owner: Owner, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Mock(wait=asyncio.Event().wait, aclose=AsyncMock())

    async def launch(plan: ServicePlan, instance: str, **_: object) -> Any:
        engine.publish("launched", {"instance": instance})
        return own

    monkeypatch.setattr(remote, "launch", launch)
    monkeypatch.setattr(remote, "FIND_WINDOW", 0.01)
    owner.take()
    await engine.until(lambda: engine.of("launched"))
    engine.publish(f"{REPORT}prepare", {"instance": "faster"})
    await engine.until(lambda: owner.runs("faster"))
    own.terminate.assert_called_once_with()


async def test_exit_report_sends_open_jobs_to_the_next_process(owner: Owner, engine: Engine) -> None:
    done, open_job = owner.take(), owner.take()
    await owner.found("A")
    engine.publish(f"{REPORT}ended", {"instance": "A", "job_ids": [done]})
    engine.publish("service/report/exit", {**STATUS, "instance": "somebody else"})
    engine.publish("service/report/exit", {**STATUS, "instance": "A"})
    await engine.until(lambda: len(engine.of("service/python/HASH/action/ping")) == 2)
    engine.publish(f"{REPORT}pong", {"instance": "B"})
    await engine.until(lambda: owner.runs("B") == [open_job])
    assert owner.failed == []


async def test_silence_of_a_foreign_process_fails_its_jobs(owner: Owner, engine: Engine) -> None:
    job_id = owner.take()
    await owner.found("A")
    owner.clock.advance(14)
    engine.publish("service/report/status", {**STATUS, "instance": "A"})
    await owner.quiet()
    owner.clock.advance(14)
    assert owner.failed == []
    owner.clock.advance(6)
    assert owner.failed == [(job_id, f"Service {engine.directory} has been silent for 15 s")]


async def test_message_that_cannot_be_read_is_skipped(owner: Owner, engine: Engine) -> None:
    owner.take()
    await engine.until(lambda: engine.of("service/python/HASH/action/ping"))
    engine.bus.publish_nowait(f"{REPORT}pong", b"no json")
    await owner.found("A")


async def test_global_service_hears_that_the_executor_leaves_and_is_left_alone(owner: Owner, engine: Engine) -> None:
    owner.take()
    await owner.found("A")
    await owner.service.aclose(1)
    await owner.service.aclose(1)
    await engine.until(lambda: engine.of("service/python/HASH/action/end_session") == [{"session_id": "S"}])
    assert engine.of("service/python/HASH/action/shutdown") == []


async def test_held_job_is_cancelled_when_the_executor_leaves(owner: Owner) -> None:
    job_id = owner.take()
    await asyncio.sleep(0)
    await owner.service.aclose(1)
    assert owner.failed == [(job_id, "Cancelled: the executor is leaving")]
