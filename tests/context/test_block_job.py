"""A child block: what comes of its events, where callbacks run, and how it ends whatever happens to the loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from oocana_async.context.block_job import BlockJob
from oocana_async.errors import BlockExecuteException
from tests.context.bench import Bench, Child

pytestmark = pytest.mark.anyio

whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody's")


async def collected(job: BlockJob) -> list[tuple[str, Any]]:
    return [output async for output in job]


async def test_result_of_a_failed_child_is_no_output(child: Child) -> None:
    heard: list[Any] = []
    child.job.add_output_callback(heard.append)
    child("BlockFinished", error="bad", result={"c": 4})
    with pytest.raises(BlockExecuteException):
        await child.job.finish()
    assert heard == []


@pytest.mark.parametrize("late", [{"kind": "BlockOutput", "handle": "a", "output": 2}, {"kind": "BlockFinished"}])
async def test_nothing_comes_after_the_end(child: Child, late: dict[str, Any]) -> None:
    heard: list[Any] = []
    child.job.add_output_callback(heard.append)
    child.job.add_progress_callback(heard.append)
    child("BlockOutput", handle="a", output=1)
    child("BlockFinished")
    child(**late)
    await child.job.finish()
    await asyncio.sleep(0)
    assert heard == [{"a": 1}, 100]


async def test_iteration_ends_with_the_first_end(child: Child) -> None:
    child("BlockOutput", handle="a", output=1)
    child("BlockFinished")
    child("BlockOutput", handle="a", output=2)
    child("BlockFinished", error="second end")
    assert await collected(child.job) == [("a", 1)]


async def test_callbacks_run_in_the_context_of_the_block_on_its_loop(bench: Bench) -> None:
    heard: list[str] = []
    token = whose.set("the block's")
    child = Child(bench, bench.context().run_block("self::crop", inputs={}))
    whose.reset(token)
    child.job.add_progress_callback(lambda _: heard.append(whose.get()))
    child("BlockProgress", progress=50)
    child("BlockFinished")
    await child.job.finish()
    assert heard == ["the block's"] * 2


def test_callbacks_run_in_the_context_of_the_block_in_its_thread() -> None:
    heard: list[str] = []
    context = contextvars.copy_context()
    context.run(whose.set, "the block's")
    job = context.run(BlockJob, "self::crop", "C1")
    job.add_progress_callback(lambda _: heard.append(whose.get()))
    job.end(None)
    job.finish().result(5)
    assert heard == ["the block's"]


def test_end_reaches_threads_also_when_the_loop_of_the_block_is_closed() -> None:
    async def start() -> BlockJob:
        return BlockJob("self::crop", "C1")

    job = asyncio.run(start())
    job.add_progress_callback(lambda _: None)
    job.end(None)
    assert job.finish().done()


def test_thread_of_a_child_ends_with_it() -> None:
    job, threads = BlockJob("self::crop", "C1"), list[threading.Thread]()
    job.add_progress_callback(lambda _: threads.append(threading.current_thread()))
    job.end(None)
    job.finish().result(5)
    (thread,) = threads
    thread.join(5)
    assert not thread.is_alive()


async def test_iteration_that_is_cancelled_loses_nothing(child: Child) -> None:
    outputs = child.job.outputs()
    waiting = asyncio.ensure_future(anext(outputs))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    child("BlockOutput", handle="a", output=1)
    child("BlockFinished")
    assert await collected(child.job) == [("a", 1)]
