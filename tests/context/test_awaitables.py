"""What Context methods return: awaited never, twice, in tasks, on other loops; answers for tasks and threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
import warnings
from collections.abc import Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager

import anyio
import pytest

from oocana_async.context.awaitables import Reply, Sent
from oocana_async.errors import StateError

pytestmark = pytest.mark.anyio


class Room:
    """A channel that is congested until it is told otherwise."""

    def __init__(self, *, congested: bool = True) -> None:
        self.congested = congested
        self.waiting = 0
        self._free = asyncio.Event()

    def relax(self) -> None:
        self.congested = False
        self._free.set()

    async def wait_for_room(self) -> None:
        self.waiting += 1
        await self._free.wait()


@pytest.mark.parametrize("congested", [False, True])
async def test_sent_may_be_awaited_twice(congested: bool) -> None:
    room = Room(congested=congested)
    asyncio.get_running_loop().call_soon(room.relax)
    sent = Sent(room)
    await sent
    await sent


async def test_sent_waits_while_the_channel_is_congested() -> None:
    room = Room()
    waiting = asyncio.create_task(Sent(room))
    await asyncio.sleep(0)
    assert not waiting.done()
    room.relax()
    await waiting


async def test_one_sent_may_be_given_to_several_tasks() -> None:
    room = Room()
    sent = Sent(room)
    tasks = [asyncio.create_task(sent) for _ in range(3)]
    await asyncio.sleep(0)
    assert room.waiting == 3
    room.relax()
    assert await asyncio.gather(*tasks, sent, Sent(room)) == [None] * 5
    await sent


async def test_sent_may_be_started_in_a_task_group() -> None:
    room = Room()

    def output() -> Sent:
        return Sent(room)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(output)
        await anyio.lowlevel.checkpoint()
        room.relax()
    assert room.waiting == 1


async def test_cancelling_one_wait_leaves_the_others_alone() -> None:
    room = Room()
    sent = Sent(room)
    first, second = asyncio.create_task(sent), asyncio.create_task(sent)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    room.relax()
    await second
    await sent
    assert first.cancelled()


async def test_task_cancelled_before_its_first_step_ends_cancelled() -> None:
    task = asyncio.create_task(Sent(Room()))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def test_sent_may_be_run_by_a_loop_of_ones_own() -> None:
    asyncio.run(Sent(None))
    assert isinstance(Sent(None), Coroutine)


def test_sent_that_is_never_awaited_is_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Sent(None)
        closed = Sent(None)
        closed.close()
        closed.close()
        gc.collect()


def pending() -> tuple[concurrent.futures.Future[int], Reply[int]]:
    future: concurrent.futures.Future[int] = concurrent.futures.Future()
    return future, Reply(future)


async def test_reply_may_be_awaited_by_several_tasks_and_again() -> None:
    future, reply = pending()
    tasks = [asyncio.create_task(reply), asyncio.ensure_future(reply), asyncio.create_task(asyncio.wait_for(reply, 5))]
    await asyncio.sleep(0)
    await asyncio.to_thread(future.set_result, 7)
    assert [await task for task in tasks] == [7, 7, 7]
    assert (await reply, reply.result(), reply.done(), reply.exception()) == (7, 7, True, None)


async def test_cancelling_an_await_leaves_the_reply_alone() -> None:
    future, reply = pending()
    waiting = asyncio.create_task(reply)
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    future.set_result(7)
    assert (waiting.cancelled(), await reply) == (True, 7)


async def test_error_of_a_reply_is_raised_each_time() -> None:
    future, reply = pending()
    future.set_exception(ZeroDivisionError("x"))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await reply
    with pytest.raises(ZeroDivisionError):
        reply.result()


def test_reply_may_be_run_by_a_loop_of_ones_own() -> None:
    assert asyncio.run(Reply.of(7)) == 7


def test_reply_may_be_driven_by_hand_and_again() -> None:
    reply = Reply.of(7)
    for _ in range(2):
        with pytest.raises(StopIteration) as ended:
            reply.send(None)
        assert ended.value.value == 7


async def test_what_a_task_throws_into_its_wait_leaves_other_waits_alone() -> None:
    room = Room()
    sent = Sent(room)
    other = asyncio.create_task(sent)
    await asyncio.sleep(0)
    sent.send(None)
    with pytest.raises(ZeroDivisionError):
        sent.throw(ZeroDivisionError)
    room.relax()
    await other


def test_result_gives_up_after_its_time_and_may_be_asked_again() -> None:
    future, reply = pending()
    with pytest.raises(TimeoutError):
        reply.result(0)
    assert not reply.done()
    with pytest.raises(TimeoutError):
        reply.exception()
    future.set_result(7)
    assert reply.result() == 7


def test_result_surrounds_its_wait() -> None:
    entered: list[str] = []
    future: concurrent.futures.Future[int] = concurrent.futures.Future()

    @contextmanager
    def blocking() -> Iterator[None]:
        entered.append("in")
        future.set_result(7)  # the answer comes while the thread waits
        yield
        entered.append("out")

    assert Reply(future, blocking).result(5) == 7
    assert entered == ["in", "out"]


def test_result_that_is_there_needs_no_wait() -> None:
    def blocking() -> AbstractContextManager[None]:
        raise AssertionError

    future: concurrent.futures.Future[int] = concurrent.futures.Future()
    future.set_result(7)
    assert Reply(future, blocking).result() == 7


async def test_result_on_the_loop_that_brings_the_answer_is_refused() -> None:
    future: concurrent.futures.Future[int] = concurrent.futures.Future()
    reply = Reply(future, loop=asyncio.get_running_loop())
    with pytest.raises(StateError, match="use await"):
        reply.result()


async def test_callback_of_a_task_comes_on_its_loop() -> None:
    future, reply = pending()
    called: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
    reply.add_done_callback(lambda answer: called.set_result((answer.result(), threading.get_ident())))
    await asyncio.to_thread(future.set_result, 7)
    assert await called == (7, threading.get_ident())


def test_callback_of_a_thread_comes_with_the_answer() -> None:
    future, reply = pending()
    called: list[int] = []
    reply.add_done_callback(lambda answer: called.append(answer.result()))
    future.set_result(7)
    assert called == [7]


def test_reply_on_a_loop_that_is_gone_is_forgotten() -> None:
    future, reply = pending()

    async def give_up() -> None:
        asyncio.create_task(reply)  # noqa: RUF006 - it is cancelled with its loop
        await asyncio.sleep(0)

    asyncio.run(give_up())
    future.set_result(7)
    assert reply.result() == 7
