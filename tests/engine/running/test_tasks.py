"""The owner of a session's tasks and timers lets none of them outlive it."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from anyio.lowlevel import checkpoint

from oocana_async.engine.running.tasks import TaskOwner

pytestmark = pytest.mark.anyio


async def test_leaving_waits_for_the_tasks() -> None:
    done = []

    async def work() -> None:
        await checkpoint()
        done.append(asyncio.current_task())

    async with TaskOwner() as owner:
        owner.start_soon("worker", work)
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
    later = anyio.Event()
    asyncio.get_running_loop().call_later(0, later.set)  # due after those two would have been
    await later.wait()


async def test_cancelling_ends_all_tasks() -> None:
    async with TaskOwner() as owner:
        owner.start_soon("sleeper", anyio.sleep_forever)
        cancel = owner.start_soon("other", anyio.sleep_forever)
        cancel()
        await checkpoint()
        owner.cancel_all()


async def test_cancelled_task_may_clean_up_behind_a_shield() -> None:
    cleaned = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
                cleaned.append(True)

    async with TaskOwner() as owner:
        cancel = owner.start_soon("worker", work)
        await checkpoint()
        cancel()
    assert cleaned == [True]


async def test_failing_task_ends_the_others() -> None:
    async def fail() -> None:
        raise ValueError("boom")

    async def run() -> None:
        async with TaskOwner() as owner:
            owner.start_soon("sleeper", anyio.sleep_forever)
            owner.start_soon("failing", fail)

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    assert [str(error) for error in caught.value.exceptions] == ["boom"]
