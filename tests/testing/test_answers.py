"""Children and queries: what a scriptlet asks, and what a test answers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pandas as pd
import pytest

from oocana_async import Context
from oocana_async.errors import BlockExecuteException, RequestError, RequestTimeoutError
from oocana_async.handles import CredentialInput
from oocana_async.testing import (
    NO_ANSWER,
    Child,
    ManualClock,
    StartedChild,
    run_scriptlet,
    run_scriptlet_sync,
    start_scriptlet,
)

pytestmark = pytest.mark.anyio


async def crop(params: dict[str, Any], context: Context) -> dict[str, Any]:
    """Run a child and return what it did."""
    outputs: list[dict[str, Any]] = []
    progress: list[float] = []
    child = context.run_block("self::crop", inputs=params)
    child.add_output_callback(outputs.append)
    child.add_progress_callback(progress.append)
    await child.finish()
    return {"outputs": outputs, "progress": progress}


# -- children -------------------------------------------------------------------------------------------------------


async def test_a_dict_is_the_result_of_a_child() -> None:
    record = await run_scriptlet(crop, {"w": 10}, blocks={"self::crop": {"image": 1}})
    assert record.result == {"outputs": [{"image": 1}], "progress": [100]}
    assert record.children == [StartedChild("self::crop", {"w": 10})]


async def test_a_function_makes_the_result_from_the_inputs() -> None:
    record = await run_scriptlet(crop, {"w": 10}, blocks={"self::crop": lambda inputs: {"w": inputs["w"] // 2}})
    assert record.last("outputs") == [{"w": 5}]


async def test_an_async_function_may_wait() -> None:
    async def handler(inputs: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return inputs

    assert (await run_scriptlet(crop, {"w": 10}, blocks={"self::crop": handler})).last("outputs") == [{"w": 10}]


async def test_a_child_sends_progress_then_outputs_then_its_result() -> None:
    child = Child(progress=[50.0], outputs=[("image", 1), ("image", 2)], result={"log": "ok"})
    record = await run_scriptlet(crop, blocks={"self::crop": child})
    assert record.result == {"outputs": [{"image": 1}, {"image": 2}, {"log": "ok"}], "progress": [50.0, 100]}


async def test_previews_and_messages_of_a_child_reach_its_parent() -> None:
    async def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
        previews: list[Any] = []
        messages: list[Any] = []
        child = context.run_block("self::crop", inputs={})
        child.add_preview_callback(previews.append)
        child.add_message_callback(messages.append)
        await child.finish()
        return {"previews": previews, "messages": messages}

    preview = {"type": "text", "data": "hi"}
    record = await run_scriptlet(main, blocks={"self::crop": Child(previews=[preview], messages=[{"step": 1}])})
    assert record.result == {"previews": [preview], "messages": [{"step": 1}]}
    assert record.previews == []


async def test_outputs_of_a_child_can_be_iterated() -> None:
    async def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
        child = context.run_block("self::numbers", inputs={})
        return {"got": [pair async for pair in child]}

    record = await run_scriptlet(main, blocks={"self::numbers": Child(outputs={"a": 1, "b": 2}, result={"c": 3})})
    assert record.last("got") == [["a", 1], ["b", 2], ["c", 3]]


async def test_an_object_of_a_child_can_be_passed_on() -> None:
    frame = pd.DataFrame({"x": [1]})

    async def main(params: dict[str, Any], context: Context) -> None:
        async for handle, value in context.run_block("self::load", inputs={}):
            await context.output(handle, value)

    assert (await run_scriptlet(main, blocks={"self::load": {"frame": frame}})).last("frame") is frame


async def test_a_sync_scriptlet_gets_its_callbacks_before_the_end_of_the_child() -> None:
    def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
        outputs: list[Any] = []
        child = context.run_block("self::crop", inputs={})
        child.add_output_callback(outputs.append)
        child.finish().result()
        return {"outputs": outputs, "thread": threading.current_thread().name}

    record = await run_scriptlet(main, blocks={"self::crop": Child(outputs={"a": 1}, result={"b": 2})})
    assert record.last("outputs") == [{"a": 1}, {"b": 2}]


async def test_a_failing_child_raises_in_its_parent() -> None:
    caught: list[BlockExecuteException] = []

    async def main(params: dict[str, Any], context: Context) -> None:
        try:
            await context.run_block("self::crop", inputs={}).finish()
        except BlockExecuteException as error:
            caught.append(error)

    (await run_scriptlet(main, blocks={"self::crop": Child(error="no image")})).raise_for_error()
    assert [error.message for error in caught] == ["run block self::crop failed: no image"]


async def test_an_exception_of_the_test_fails_the_child_with_its_traceback() -> None:
    def handler(inputs: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("out of paper")

    record = await run_scriptlet(crop, blocks={"self::crop": handler})
    assert record.ended == "failed"
    assert "run block self::crop failed: Traceback (most recent call last):" in str(record.error)
    assert "RuntimeError: out of paper" in str(record.error)


async def test_a_wrong_answer_of_the_test_is_named() -> None:
    record = await run_scriptlet(crop, blocks={"self::crop": lambda inputs: 42})  # type: ignore[dict-item,return-value]
    text = "TypeError: blocks['self::crop'] should give a dict, a Child, None or NO_ANSWER, but got int"
    assert text in str(record.error)


async def test_an_unknown_block_is_refused_in_the_words_of_the_engine() -> None:
    record = await run_scriptlet(crop)
    refusal = "Run block failed: Failed to read block or subflow: self::crop. Block: self::crop"
    assert str(record.error).endswith(f"BlockExecuteException: run block self::crop failed: {refusal}")


async def test_strict_and_additional_handles_are_recorded() -> None:
    def main(params: dict[str, Any], context: Context) -> None:
        more = [{"handle": "extra"}]
        context.run_block("self::a", inputs={"x": 1}, strict=True, additional_inputs_def=more).finish().result()

    record = await run_scriptlet(main, blocks={"self::a": None})
    assert record.children == [StartedChild("self::a", {"x": 1}, True, [{"handle": "extra"}], None)]


async def test_a_child_without_an_end_ends_with_its_parent() -> None:
    async def main(params: dict[str, Any], context: Context) -> None:
        waiting.append(context.run_block("self::slow", inputs={}).finish())

    waiting: list[Any] = []
    (await run_scriptlet(main, blocks={"self::slow": NO_ANSWER})).raise_for_error()
    with pytest.raises(BlockExecuteException, match="run block self::slow failed: the calling block has finished"):
        await waiting[0]


async def test_twenty_children_run_at_the_same_time() -> None:
    running: list[int] = []
    all_run = asyncio.Event()

    async def handler(inputs: dict[str, Any]) -> dict[str, Any]:
        running.append(inputs["n"])
        if len(running) == 20:
            all_run.set()
        await all_run.wait()
        return {"n": inputs["n"]}

    async def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
        children = [context.run_block("self::n", inputs={"n": number}) for number in range(20)]
        await asyncio.gather(*(child.finish() for child in children))
        return {"n": [[pair async for pair in child] for child in children]}

    record = await run_scriptlet(main, blocks={"self::n": handler})
    assert record.last("n") == [[["n", number]] for number in range(20)]


# -- queries --------------------------------------------------------------------------------------------------------

DOWNSTREAM = {
    "image": {"to_node": [{"node_id": "save", "input_handle": "img"}]},
    "text": {"to_flow": [{"output_handle": "out"}]},
}


async def test_query_block_answers_for_known_blocks() -> None:
    async def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
        return {"found": await context.query_block("pkg::resize")}

    answer = {"type": "task", "inputs_def": {"w": {"handle": "w"}}}
    record = await run_scriptlet(main, known_blocks={"pkg::resize": answer})
    assert record.last("found") == answer
    assert record.requests == [("QueryBlock", "pkg::resize")]


def test_query_block_of_an_unknown_block_fails_in_the_words_of_the_engine() -> None:
    def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
        with pytest.raises(RequestError, match=r"^Failed to find self::x for block or subflow$"):
            context.query_block("self::x").result()
        return {"done": True}

    assert run_scriptlet_sync(main).result == {"done": True}


@pytest.mark.parametrize(
    ("handles", "expected"),
    [
        (None, {"image": ["save"], "text": []}),
        (["image"], {"image": ["save"]}),
        ([], {}),
        (["other"], {}),
    ],
)
async def test_query_downstream_respects_the_filter(handles: list[str] | None, expected: dict[str, list[str]]) -> None:
    async def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
        found = await context.query_downstream(handles)
        return {key: [node["node_id"] for node in targets["to_node"]] for key, targets in found.items()}

    record = await run_scriptlet(main, downstream=DOWNSTREAM)
    assert record.result == expected
    assert record.requests == [("QueryDownstream", handles)]


async def test_query_auth_answers_by_credential_id() -> None:
    async def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
        return await context.query_auth(params["login"])

    inputs = {"login": CredentialInput("basic", "id-1")}
    assert (await run_scriptlet(main, inputs, auth={"id-1": {"user": "me"}})).result == {"user": "me"}


@pytest.mark.parametrize(
    ("auth", "text"),
    [
        (None, "Vault client is not available."),
        ({}, "Client error: 404 Not Found"),
        ({"id-1": RuntimeError("Server error after 2 retries: 502")}, "Server error after 2 retries: 502"),
    ],
)
async def test_query_auth_fails_in_the_words_of_the_engine(auth: Any, text: str) -> None:
    async def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
        with pytest.raises(RequestError) as raised:
            await context.query_auth(params["login"])
        return {"error": str(raised.value)}

    assert (await run_scriptlet(main, {"login": CredentialInput("basic", "id-1")}, auth=auth)).last("error") == text


async def test_a_node_weight_is_recorded() -> None:
    async def main(params: dict[str, Any], context: Context) -> None:
        await context.internal.update_node_weight("resize", 2)

    assert (await run_scriptlet(main)).raise_for_error().requests == [("UpdateNodeWeight", ("resize", 2.0))]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_query_without_an_answer_ends_at_its_deadline(kind: str) -> None:
    async def async_main(params: dict[str, Any], context: Context) -> None:
        await context.query_block("self::x", deadline=7)

    def sync_main(params: dict[str, Any], context: Context) -> None:
        context.query_block("self::x", deadline=7).result()

    clock = ManualClock()
    main = async_main if kind == "async" else sync_main
    async with start_scriptlet(main, known_blocks={"self::x": NO_ANSWER}, clock=clock) as run:
        await run.wait_for(lambda record: record.requests)
        clock.advance(6.9)
        assert run.record.ended == "running"
        clock.advance(0.1)
        record = await run.finished()
    assert RequestTimeoutError.__name__ in str(record.error)
    assert str(record.error).endswith("got no answer within 7 s")


async def test_without_a_deadline_a_query_ends_after_thirty_seconds() -> None:
    async def main(params: dict[str, Any], context: Context) -> None:
        await context.query_downstream()

    clock = ManualClock()
    async with start_scriptlet(main, downstream=NO_ANSWER, clock=clock) as run:
        await run.wait_for(lambda record: record.requests)
        clock.advance(30)
        assert str((await run.finished()).error).endswith("got no answer within 30 s")


async def test_a_query_is_given_up_when_its_block_ends() -> None:
    async def main(params: dict[str, Any], context: Context) -> None:
        waiting.append(context.query_block("self::x"))

    waiting: list[Any] = []
    await run_scriptlet(main, known_blocks={"self::x": NO_ANSWER})
    with pytest.raises(RequestError, match="was given up because the block ended"):
        await waiting[0]
