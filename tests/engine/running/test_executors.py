"""Executors of a session: started once, jobs held back until they are ready, failures that reach the jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from oocana_async.engine.hosts.scopes import ExecutorStart, RunScope, ScopeMap
from oocana_async.engine.running.executors import READY_TIMEOUT, Executors
from oocana_async.wire.messages.session import ExecutorReady

pytestmark = pytest.mark.anyio


class World:
    """Executors over a host that only notes, with timers that fire by hand."""

    def __init__(self, root: Path) -> None:
        self.started: list[ExecutorStart] = []
        self.sent: list[bytes] = []
        self.failed: list[tuple[list[str], str]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.scope = RunScope(root)
        scopes = ScopeMap(
            "S", session_dir=root, tmp_dir=root / "tmp", project_data=root / "data", pkg_data_root=root, env={}
        )
        self.executors = Executors(
            self,
            scopes,
            self,
            publish=lambda topic, payload: self.sent.append(payload),
            fail=lambda jobs, error: self.failed.append((jobs, error)),
        )

    async def start(self, spec: ExecutorStart) -> None:
        self.started.append(spec)

    async def aclose(self) -> None:
        """Nothing to close."""

    def start_soon(self, name: str, call: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        asyncio.get_running_loop().create_task(call(), name=name)
        return lambda: None

    def call_later(self, delay: float, call: Callable[[], None]) -> Callable[[], None]:
        entry = (delay, call)
        self.timers.append(entry)
        return lambda: self.timers.remove(entry) if entry in self.timers else None

    async def dispatch(self, job_id: str) -> None:
        self.executors.dispatch(self.scope, None, job_id, "topic", job_id.encode())
        await checkpoint()

    def ready(self, **more: Any) -> None:
        fields = {"identifier": self.executors.identifier(self.scope), "executor_name": "python", **more}
        self.executors.on_ready(ExecutorReady("S", **fields))


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_jobs_wait_until_their_executor_is_ready(world: World) -> None:
    await world.dispatch("j1")
    await world.dispatch("j2")
    assert (len(world.started), world.sent) == (1, [])
    world.ready()
    assert world.sent == [b"j1", b"j2"]
    await world.dispatch("j3")
    assert world.sent[2:] == [b"j3"]


async def test_second_ready_sends_nothing_again(world: World) -> None:
    await world.dispatch("j1")
    world.ready()
    world.ready()
    assert world.sent == [b"j1"]


@pytest.mark.parametrize("other", [{"identifier": "S-other"}, {"identifier": None}, {"executor_name": "nodejs"}])
async def test_ready_of_another_executor_releases_nothing(world: World, other: dict[str, Any]) -> None:
    await world.dispatch("j1")
    world.ready(**other)
    assert world.sent == []


async def test_job_that_ended_meanwhile_is_not_sent(world: World) -> None:
    await world.dispatch("j1")
    world.executors.forget(world.executors.identifier(world.scope), "j1")
    world.ready()
    assert world.sent == []


async def test_executor_that_was_ready_before_needs_no_start(world: World) -> None:
    world.ready()
    await world.dispatch("j1")
    assert (world.started, world.sent) == ([], [b"j1"])


async def test_executor_that_is_not_ready_in_time_fails_its_jobs_for_good(world: World) -> None:
    await world.dispatch("j1")
    (delay, fire), identifier = world.timers[0], world.executors.identifier(world.scope)
    assert delay == READY_TIMEOUT
    fire()
    text = f'Executor python-executor identifier Some("{identifier}") for package None timeout after 30s'
    world.ready()
    await world.dispatch("j2")
    assert world.failed == [(["j1"], text), (["j2"], text)]
    assert world.sent == []


async def test_executor_that_left_is_started_again_for_the_next_job(world: World) -> None:
    await world.dispatch("j1")
    world.ready()
    world.started[0].on_exit("exit with code 1")
    assert world.failed == [(["j1"], "Executor python-executor exit with code 1")]
    await world.dispatch("j2")
    assert len(world.started) == 2


async def test_ready_executor_is_waited_for_no_more(world: World) -> None:
    await world.dispatch("j1")
    world.ready()
    assert world.timers == []
