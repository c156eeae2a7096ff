"""Blocking calls in threads that nobody has to wait for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from oocana_async.engine.running.outside.off_loop import call_off_loop


async def call(function: object) -> object:
    assert callable(function)
    return await call_off_loop("test", function)


def test_result_and_error_arrive() -> None:
    assert asyncio.run(call(lambda: 5)) == 5
    with pytest.raises(ZeroDivisionError):
        asyncio.run(call(lambda: 1 / 0))


def test_cancelling_leaves_the_call_behind_and_the_loop_ends_at_once() -> None:
    release, left = threading.Event(), threading.Event()

    def block() -> None:
        release.wait(30)
        left.set()

    async def main() -> None:
        task = asyncio.create_task(call(block))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())  # it would wait for threads of its own pool
    assert not left.is_set()
    release.set()
    assert left.wait(30)
