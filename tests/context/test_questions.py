"""What a block may ask: queries, their answers and deadlines, and child blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from oocana_async.context import Context
from oocana_async.context.awaitables import Reply
from oocana_async.context.block_job import BlockJob
from oocana_async.errors import (
    BlockExecuteException,
    ClosedError,
    EncodingError,
    HandleError,
    JobCancelledError,
    RequestError,
    RequestTimeoutError,
    StateError,
    TransportError,
)
from oocana_async.handles import CredentialInput
from tests.context.bench import Bench, Child

pytestmark = pytest.mark.anyio


async def request_of(bench: Bench) -> dict[str, Any]:
    return (await bench.messages("BlockRequest"))[-1]


QUERIES: list[tuple[Callable[[Context], Reply[Any]], dict[str, Any]]] = [
    (lambda c: c.query_block("self::a"), {"action": "QueryBlock", "block": "self::a"}),
    (lambda c: c.query_downstream(["a"]), {"action": "QueryDownstream", "outputs": ["a"], "handles": ["a"]}),
    (lambda c: c.query_downstream(), {"action": "QueryDownstream", "outputs": None, "handles": None}),
    (lambda c: c.query_auth(CredentialInput("t", "id7")), {"action": "QueryAuth", "payload": "id7"}),
    (
        lambda c: c.internal.update_node_weight("a", 2),
        {"action": "UpdateNodeWeight", "node_id": "a", "weight": 2.0},
    ),
]


@pytest.mark.parametrize(("ask", "expected"), QUERIES)
async def test_query_travels_as_on_the_wire(
    bench: Bench, ask: Callable[[Context], Reply[Any]], expected: dict[str, Any]
) -> None:
    ask(bench.context())
    request = await request_of(bench)
    common = {"type": "BlockRequest", "session_id": "S1", "job_id": "J1"}
    assert request == {**common, "request_id": request["request_id"], **expected}


async def test_answer_reaches_tasks_and_threads(bench: Bench) -> None:
    reply = bench.context().query_block("self::a")
    waiting = [asyncio.create_task(reply), asyncio.create_task(asyncio.to_thread(reply.result, 5))]
    assert bench.exchange.answer(await request_of(bench), {"type": "task"})
    assert [await one for one in waiting] == [{"type": "task"}, {"type": "task"}]
    assert not bench.exchange.answer(await request_of(bench), {})


async def test_downstream_is_handed_over_as_it_came(bench: Bench) -> None:
    reply = bench.context().query_downstream()
    connections = {"a": {"to_node": [{"node_id": "n"}]}}
    bench.exchange.answer(await request_of(bench), connections)
    found = await reply
    assert (found, found["a"]["to_flow"]) == (connections, [])  # the engine leaves empty lists out


async def test_weight_is_answered_with_nothing(bench: Bench) -> None:
    reply = bench.context().internal.update_node_weight("a", 2)
    assert bench.exchange.answer(await request_of(bench))
    await reply


async def test_refusal_is_raised_with_the_text_of_the_engine(bench: Bench) -> None:
    reply = bench.context().query_block("self::a")
    bench.exchange.answer(await request_of(bench), error="Failed to find self::a for block or subflow")
    with pytest.raises(ValueError, match="Failed to find self::a") as caught:
        await reply
    assert isinstance(caught.value, RequestError)


@pytest.mark.parametrize("result", [None, 7, [1]])
async def test_answer_of_another_form_ends_the_wait(bench: Bench, result: Any) -> None:
    reply = bench.context().query_downstream()
    bench.exchange.answer(await request_of(bench), result)
    with pytest.raises(RequestError, match="the engine's answer"):
        await reply


async def test_query_has_a_deadline(bench: Bench) -> None:
    context = bench.context()
    default, short = context.query_block("a"), context.query_block("b", deadline=5)
    bench.clock.advance(5)
    with pytest.raises(RequestTimeoutError, match="QueryBlock of job J1 got no answer within 5 s"):
        await short
    assert not default.done()
    bench.clock.advance(25)
    with pytest.raises(TimeoutError):
        await default
    assert (bench.clock.waiting, len(bench.exchange.pending)) == (0, 0)


async def test_answered_query_leaves_nothing_behind(bench: Bench) -> None:
    reply = bench.context().query_block("a")
    bench.exchange.answer(await request_of(bench), {})
    await reply
    assert (bench.clock.waiting, len(bench.exchange.pending)) == (0, 0)


async def test_query_ends_with_the_block(bench: Bench) -> None:
    context = bench.context()
    before = context.query_block("a")
    context.finish()
    after = context.query_block("b")
    for reply in (before, after):
        with pytest.raises(RequestError, match="was given up because the block ended"):
            await reply
    assert len(await bench.messages("BlockRequest")) == 1


async def test_query_ends_with_the_cancellation(bench: Bench) -> None:
    reply = bench.context().query_block("a")
    bench.messenger.cancel()
    with pytest.raises(JobCancelledError):
        await asyncio.to_thread(reply.result, 5)


async def test_query_ends_with_the_executor_and_later_ones_are_refused(bench: Bench) -> None:
    context = bench.context()
    reply = context.query_block("a")
    bench.exchange.pending.close("the executor is leaving")
    with pytest.raises(ClosedError, match="the executor is leaving"):
        await reply
    with pytest.raises(ClosedError, match="the executor is leaving"):
        context.query_block("b")


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), True, "1"])
async def test_weight_that_is_none_is_refused(bench: Bench, weight: Any) -> None:
    with pytest.raises(ValueError, match=r"Weight must be a non-negative finite number\."):
        bench.context().internal.update_node_weight("a", weight)


async def test_only_credentials_can_be_looked_up(bench: Bench) -> None:
    with pytest.raises(HandleError, match="query_auth takes the value of an oomol/credential input, but got str"):
        bench.context().query_auth("id7")  # type: ignore[arg-type]


# -- children ---------------------------------------------------------------------------------------------------------


async def test_input_of_a_child_that_the_engine_would_drop_is_refused(bench: Bench) -> None:
    deep: object = 1
    for _ in range(124):
        deep = [deep]
    context = bench.context()
    context.run_block("self::crop", inputs={"w": deep})
    with pytest.raises(EncodingError, match="input w of self::crop"):
        context.run_block("self::crop", inputs={"w": [deep]})


async def test_run_block_travels_as_on_the_wire(bench: Bench) -> None:
    job = bench.context().run_block(
        "self::crop", inputs={"w": 10}, additional_outputs_def=[{"handle": "extra"}], strict=True
    )
    request = await request_of(bench)
    assert request == {
        "type": "BlockRequest",
        "action": "RunBlock",
        "session_id": "S1",
        "job_id": "J1",
        "request_id": request["request_id"],
        "block": "self::crop",
        "block_job_id": job.job_id,
        "payload": {
            "inputs": {"w": 10},
            "additional_inputs_def": None,
            "additional_outputs_def": [{"handle": "extra"}],
        },
        "stacks": [{"flow_job_id": "F1", "flow": "/w/flows/main/flow.oo.yaml", "node_id": "resize"}],
        "strict": True,
    }


async def test_callbacks_come_in_order_on_the_loop(child: Child) -> None:
    heard: list[Any] = []
    thread = threading.get_ident()
    child.job.add_output_callback(lambda output: heard.append((output, threading.get_ident() == thread)))
    child.job.add_progress_callback(heard.append)
    child("BlockProgress", progress=50)
    child("BlockOutput", handle="a", output=1)
    child("BlockOutputs", outputs={"a": 2, "b": 3})
    child("BlockFinished", result={"c": 4})
    await child.job.finish()
    assert heard == [50.0, ({"a": 1}, True), ({"a": 2, "b": 3}, True), ({"c": 4}, True), 100]


async def test_events_of_subflows_previews_and_messages_are_heard(child: Child) -> None:
    heard: list[Any] = []
    child.job.add_output_callback(heard.append)
    child.job.add_preview_callback(heard.append)
    child.job.add_message_callback(heard.append)
    child("SubflowBlockOutput", stacks=[], handle="a", output=1)
    child("BlockPreview", payload={"type": "text"})
    child("BlockMessage", payload=[1])
    child("SubflowBlockFinished", stacks=[], error=None, finish_at=1)
    await child.job.finish()
    assert heard == [{"a": 1}, {"type": "text"}, [1]]


async def test_failed_child_raises_the_text_of_the_official_sdk(child: Child) -> None:
    child("BlockFinished", error="bad crop", result={"c": 4})
    with pytest.raises(BlockExecuteException) as caught:
        await child.job.finish()
    assert caught.value.message == "run block self::crop failed: bad crop"
    assert str(caught.value) == "BlockExecuteException: run block self::crop failed: bad crop"


async def test_refused_child_raises(bench: Bench, child: Child) -> None:
    bench.exchange.answer(await request_of(bench), error="Run block failed: no such block. Block: self::crop")
    with pytest.raises(BlockExecuteException, match="no such block"):
        await child.job.finish()


async def test_outputs_can_be_iterated_also_late(child: Child) -> None:
    child("BlockOutput", handle="a", output=1)
    collected = asyncio.create_task(_collect(child.job))
    await asyncio.sleep(0)
    child("BlockOutput", handle="a", output=2)
    child("BlockFinished", result={"b": 3})
    assert await collected == [("a", 1), ("a", 2), ("b", 3)]


async def _collect(job: BlockJob) -> list[tuple[str, Any]]:
    return [output async for output in job]


async def test_iteration_raises_the_failure_after_the_last_output(child: Child) -> None:
    child("BlockOutput", handle="a", output=1)
    child("BlockFinished", error="bad")
    outputs = child.job.outputs()
    assert await anext(outputs) == ("a", 1)
    with pytest.raises(BlockExecuteException, match="bad"):
        await anext(outputs)


async def test_callback_that_comes_late_gets_what_was_sent_before_once(child: Child) -> None:
    child("BlockOutput", handle="a", output=1)
    heard: list[Any] = []
    child.job.add_output_callback(heard.append)
    child("BlockOutput", handle="a", output=2)
    child("BlockFinished")
    await child.job.finish()
    assert heard == [{"a": 1}, {"a": 2}]


async def test_failing_callback_does_not_silence_the_others(child: Child, capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[Any] = []
    child.job.add_output_callback(lambda output: 1 / 0)
    child.job.add_output_callback(heard.append)
    child("BlockOutput", handle="a", output=1)
    child("BlockFinished")
    await child.job.finish()
    assert heard == [{"a": 1}]
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["output", "progress", "preview", "message"])
async def test_callback_must_be_callable(child: Child, kind: str) -> None:
    with pytest.raises(ValueError, match=f"{kind} callback should be callable, but got <class 'int'>"):
        getattr(child.job, f"add_{kind}_callback")(7)


async def test_child_ends_with_its_caller(bench: Bench, child: Child) -> None:
    context = bench.context()
    context.finish()
    with pytest.raises(BlockExecuteException, match="the calling block has finished"):
        await child.job.finish()
    with pytest.raises(BlockExecuteException, match="the calling block has finished"):
        await context.run_block("self::crop", inputs={}).finish()
    assert (bench.exchange.listeners, len(bench.exchange.pending)) == ({}, 0)


async def test_wait_for_a_child_ends_with_the_cancellation(bench: Bench, child: Child) -> None:
    bench.messenger.cancel()
    with pytest.raises(JobCancelledError):
        await child.job.finish()


async def test_blocking_the_loop_that_brings_the_end_is_refused(child: Child) -> None:
    with pytest.raises(StateError, match="use await"):
        child.job.finish().result()


async def test_thread_gets_callbacks_in_one_thread_before_the_end(bench: Bench) -> None:
    heard: list[Any] = []

    def run() -> None:
        job = bench.sync_context().run_block("self::crop", inputs={})
        job.add_output_callback(lambda output: heard.append((output, threading.current_thread().name[:12])))
        child = Child(bench, job)
        for number in range(3):
            child("BlockOutput", handle="a", output=number)
        child("BlockFinished")
        job.finish().result(5)

    await asyncio.to_thread(run)
    assert heard == [({"a": number}, "oocana-child") for number in range(3)]


async def test_block_that_has_finished_starts_no_child(bench: Bench) -> None:
    context = bench.context()
    context.finish()
    with pytest.raises(BlockExecuteException, match="the calling block has finished"):
        await context.run_block("self::crop", inputs={}).finish()
    assert await bench.messages("BlockRequest") == []


async def test_child_that_cannot_be_sent_for_leaves_no_expectation_behind(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise TransportError("gone")

    monkeypatch.setattr(bench.exchange, "start_child", refuse)
    with pytest.raises(TransportError, match="gone"):
        bench.context().run_block("self::crop", inputs={})
    assert len(bench.exchange.pending) == 0


async def test_input_of_a_child_that_cannot_travel_is_refused(bench: Bench) -> None:
    with pytest.raises(EncodingError, match="input w of self::crop: object of type object"):
        bench.context().run_block("self::crop", inputs={"w": object()})
    assert await bench.messages() == []
