from __future__ import annotations

import asyncio

import pytest

from oocana_async.engine.running.tasks import TaskOwner

pytestmark = pytest.mark.anyio


async def test_leaving_waits_for_the_tasks() -> None:
    done = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append(asyncio.current_task())

    async with TaskOwner() as owner:
        owner.spawn("worker", work)
    assert [task.get_name() for task in done if task is not None] == ["worker"]


async def test_timer_fires_once_and_may_be_withdrawn() -> None:
    fired = asyncio.Event()
    async with TaskOwner() as owner:
        withdraw = owner.call_later(0, lambda: pytest.fail("it was withdrawn"))
        withdraw()
        withdraw()
        owner.call_later(0, fired.set)
        await fired.wait()


async def test_leaving_withdraws_the_timers() -> None:
    async with TaskOwner() as owner:
        owner.call_later(0, lambda: pytest.fail("its owner is gone"))
    owner.call_later(0, lambda: pytest.fail("its owner is gone"))()
    await asyncio.sleep(0.01)


async def test_cancelling_ends_all_tasks() -> None:
    async with TaskOwner() as owner:
        owner.spawn("sleeper", lambda: asyncio.sleep(300))
        cancel = owner.spawn("other", lambda: asyncio.sleep(300))
        cancel()
        await owner.breathe()
        owner.cancel_all()


async def test_failing_task_ends_the_others() -> None:
    async def fail() -> None:
        raise ValueError("boom")

    async def run() -> None:
        async with TaskOwner() as owner:
            owner.spawn("sleeper", lambda: asyncio.sleep(300))
            owner.spawn("failing", fail)

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    assert [str(error) for error in caught.value.exceptions] == ["boom"]
