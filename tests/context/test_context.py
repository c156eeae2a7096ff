"""The members of a Context: what each sends, and what it says when it is used wrongly."""

from __future__ import annotations

import asyncio
import gc
import logging
import warnings
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from oocana_async.channel.channel import Channel
from oocana_async.channel.sender import Sender
from oocana_async.context import Context
from oocana_async.context.messenger import JobIdentity, JobMessenger
from oocana_async.errors import EncodingError, TransportError
from oocana_async.testing.manual_clock import ManualClock
from tests.channel.gate import GateTransport, broken, draining
from tests.context.bench import Bench

pytestmark = pytest.mark.anyio


# -- outputs ----------------------------------------------------------------------------------------------------------


async def test_output_sends_one_message_as_on_the_wire(bench: Bench) -> None:
    await bench.context("image").output("image", {"a": [1, None]})
    assert await bench.messages() == [
        {
            "type": "BlockOutput",
            "session_id": "S1",
            "job_id": "J1",
            "handle": "image",
            "output": {"a": [1, None]},
        }
    ]


async def test_value_is_taken_at_the_call(bench: Bench) -> None:
    value = [1]
    bench.context().output("out", value)
    value.append(2)
    assert await bench.outputs() == [[1]]


async def test_targets_travel_as_given(bench: Bench) -> None:
    context = bench.context()
    context.output("out", 1, to_node=[{"node_id": "save", "input_handle": "img"}])
    context.output("out", 2, to_flow=[{"output_handle": "o"}])
    context.output("out", 3, to_node=[], to_flow=None)
    assert [message.get("options") for message in await bench.messages()] == [
        {"target": {"to_node": [{"node_id": "save", "input_handle": "img"}], "to_flow": None}},
        {"target": {"to_node": None, "to_flow": [{"output_handle": "o"}]}},
        {"target": {"to_node": [], "to_flow": None}},
    ]


@pytest.mark.parametrize("target", [[{"node_id": "a"}], [{"node_id": 1, "input_handle": "b"}], "a", [["a", "b"]]])
async def test_target_of_another_form_is_refused(bench: Bench, target: Any) -> None:
    with pytest.raises(ValueError, match="to_node takes a list of"):
        bench.context().output("out", 1, to_node=target)
    assert await bench.messages() == []


async def test_undeclared_handle_is_warned_about_and_not_sent(bench: Bench) -> None:
    context = bench.context()
    context.output("nope", 1)
    context.outputs({"nope": 1, "out": 2})
    assert await bench.warnings() == ["Output handle key: [nope] is not defined in Block outputs schema."] * 2
    assert [message["outputs"] for message in await bench.messages("BlockOutputs")] == [{"out": 2}]


async def test_outputs_sends_one_message_also_when_empty(bench: Bench) -> None:
    context = bench.context("a", "b")
    context.outputs({"a": 1, "b": [2]})
    context.outputs({})
    assert [message["outputs"] for message in await bench.messages("BlockOutputs")] == [{"a": 1, "b": [2]}, {}]


async def test_output_with_done_also_ends_the_block(bench: Bench) -> None:
    bench.context().output("out", 1, True)
    assert [message["type"] for message in await bench.messages()] == ["BlockOutput", "BlockFinished"]


async def test_done_is_honoured_for_undeclared_handles_too(bench: Bench) -> None:
    bench.context().output("nope", 1, done=True)
    assert [message["type"] for message in await bench.messages()] == ["BlockWarning", "BlockFinished"]


async def test_value_that_cannot_travel_is_refused_at_the_call(bench: Bench) -> None:
    context = bench.context("a", "b")
    with pytest.raises(EncodingError):
        context.output("a", object())
    with pytest.raises(EncodingError):
        context.outputs({"a": 1, "b": object()})
    assert await bench.messages() == []


async def test_result_may_be_one_level_less_deep_than_an_output(bench: Bench) -> None:
    deepest: Any = 1
    for _ in range(126):
        deepest = [deepest]
    context = bench.context()
    context.output("out", deepest)
    context.outputs({"out": deepest[0]})
    with pytest.raises(EncodingError, match=r"output handle \[out\]: nested deeper"):
        context.outputs({"out": deepest})
    with pytest.raises(EncodingError, match="nested deeper"):
        context.finish(result={"out": deepest})
    context.finish(result={"out": deepest[0]})
    assert len(await bench.messages()) == 3


@pytest.mark.parametrize("outputs", [[("a", 1)], None, "a"])
async def test_outputs_takes_a_dict_only(bench: Bench, outputs: Any) -> None:
    with pytest.raises(ValueError, match="outputs should be a dict, but got"):
        bench.context().outputs(outputs)


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {}),
        ({"result": {"out": 1}}, {"result": {"out": 1}}),
        ({"error": "bad"}, {"error": "bad"}),
        ({"result": {"out": 1}, "error": "bad"}, {"error": "bad"}),
        ({"result": {"out": 1, "nope": 2}}, {"result": {"out": 1}}),
    ],
)
async def test_finish_sends_the_end(bench: Bench, arguments: dict[str, Any], expected: dict[str, Any]) -> None:
    bench.context().finish(**arguments)
    (finished,) = await bench.messages("BlockFinished")
    assert {key: finished[key] for key in finished.keys() & {"result", "error"}} == expected


async def test_second_end_is_warned_about_and_ignored(bench: Bench) -> None:
    context = bench.context()
    context.done()
    context.done("late")
    context.finish(result={"out": object()})
    assert await bench.warnings() == ["done has been called multiple times and will be ignored."] * 2
    assert len(await bench.messages("BlockFinished")) == 1


async def test_done_with_an_error_fails_the_block(bench: Bench) -> None:
    bench.context().done("bad")
    assert (await bench.messages("BlockFinished"))[0]["error"] == "bad"


async def test_result_that_is_no_dict_is_refused_and_the_block_goes_on(bench: Bench) -> None:
    context = bench.context()
    with pytest.raises(ValueError, match=r"result should be a dict, but got <class 'list'>"):
        context.finish(result=[])  # type: ignore[arg-type]
    context.finish()
    assert len(await bench.messages("BlockFinished")) == 1


LATE: list[Callable[[Context], object]] = [
    lambda context: context.output("out", 1),
    lambda context: context.outputs({"out": 1}),
    lambda context: context.preview("text"),
    lambda context: context.report_progress(1),
    lambda context: context.report_log("line"),
    lambda context: context.log_json({}),
    lambda context: context.send_message({}),
    lambda context: context.send_warning("careful"),
    lambda context: context.send_error("bad"),
    lambda context: context.error("bad"),
]


@pytest.mark.parametrize("call", LATE)
async def test_call_after_the_end_warns_and_is_dropped(bench: Bench, call: Callable[[Context], object]) -> None:
    context = bench.context()
    context.finish()
    call(context)
    call(context)
    assert [message["type"] for message in await bench.messages()] == ["BlockFinished", "BlockWarning"]
    assert "after the block had finished" in (await bench.warnings())[0]


# -- reports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "topic", "expected"),
    [
        (lambda c: c.report_log("a\nb"), "report",
         {"type": "BlockLog", "log": "a\nb", "stdio": "stdout", "stdout": "stdout"}),
        (lambda c: c.report_log("a", "stderr"), "report", {"log": "a", "stdio": "stderr", "stderr": "stderr"}),
        (lambda c: c.report_log("\udc80"), "report", {"log": "\\udc80"}),
        (lambda c: c.log_json({"a": float("nan")}), "report", {"type": "BlockLogJSON", "json": {"a": None}}),
        (lambda c: c.send_message([1]), "report", {"type": "BlockMessage", "payload": [1]}),
        (lambda c: c.send_warning("careful"), "report", {"type": "BlockWarning", "warning": "careful"}),
        (lambda c: c.error("bad"), "session/S1", {"type": "BlockError", "error": "bad"}),
        (lambda c: c.send_error("bad"), "session/S1", {"type": "BlockError", "error": "bad"}),
        (lambda c: c.preview({"type": "text", "data": "hi"}, id="p1"), "session/S1",
         {"type": "BlockRequest", "action": "Preview", "payload": {"type": "text", "data": "hi", "id": "p1"}}),
    ],
)  # fmt: skip
async def test_report_member_sends_its_message(
    bench: Bench, call: Callable[[Context], object], topic: str, expected: dict[str, Any]
) -> None:
    call(bench.context())
    (message,) = await bench.messages()
    assert message.items() >= expected.items()
    assert await bench.topics() == [topic]


async def test_report_carries_the_place_of_the_block(bench: Bench) -> None:
    bench.context().send_warning("careful")
    (message,) = await bench.messages()
    frame = {"flow_job_id": "F1", "flow": "/w/flows/main/flow.oo.yaml", "node_id": "resize"}
    assert (message["stacks"], message["block_path"]) == ([frame], "/w/tasks/resize/task.oo.yaml")


async def test_secret_is_redacted_in_a_message_for_front_ends(bench: Bench) -> None:
    bench.redactor.add("hunter2-long")
    bench.context().send_message({"token": ["hunter2-long"]})
    (message,) = await bench.messages("BlockMessage")
    assert "hunter2-long" not in str(message)


async def test_secrets_are_redacted_in_what_people_see_and_not_in_outputs(bench: Bench) -> None:
    bench.redactor.add("12345")
    context = bench.context()
    context.report_log("key 12345")
    context.log_json({"key 12345": ["12345"], "number": 12345})
    context.preview({"type": "text", "data": "12345"})
    context.error("12345")
    context.output("out", "12345")
    log, json, preview, error, output = await bench.messages()
    assert (log["log"], json["json"]) == ("key ***", {"key ***": ["***"], "number": 12345})
    assert (preview["payload"]["data"], error["error"], output["output"]) == ("***", "***", "12345")


async def test_progress_is_throttled_and_flushed_before_the_end(bench: Bench) -> None:
    context = bench.context()
    for percent in (0, 10, 20.5, 30):
        context.report_progress(percent)
        assert len(await bench.messages("BlockProgress")) == 2
    bench.clock.advance(0.3)
    assert len(await bench.messages("BlockProgress")) == 4
    context.report_progress(99)
    context.finish()
    received = [message for message in await bench.messages() if "rate" not in message]
    assert [message.get("progress") for message in received] == [0, 30, 99, None]


@pytest.mark.parametrize("progress", ["half", None, float("nan"), float("inf")])
async def test_progress_that_is_no_number_is_refused(bench: Bench, progress: Any) -> None:
    with pytest.raises(EncodingError, match="progress: should be a number from 0 to 100, but got"):
        bench.context().report_progress(progress)


async def test_stream_of_another_name_is_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match='stdio should be "stdout" or "stderr", but got \'stdin\''):
        bench.context().report_log("a", "stdin")


async def test_logger_writes_to_the_log_of_the_block(bench: Bench) -> None:
    logger = bench.context().logger
    logger.info("read %d rows", 3)
    logger.error("bad")
    assert isinstance(logger, logging.Logger)
    assert [(message["log"], message["stdio"]) for message in await bench.messages("BlockLog")] == [
        ("read 3 rows", "stdout"),
        ("bad", "stderr"),
    ]


# -- awaiting ---------------------------------------------------------------------------------------------------------


async def use_none(context: Context, count: int) -> None:
    for number in range(count):
        context.output("out", number)


async def use_await(context: Context, count: int) -> None:
    for number in range(count):
        await context.output("out", number)


async def use_gather(context: Context, count: int) -> None:
    await asyncio.gather(*(context.output("out", number) for number in range(count)))


async def use_tasks(context: Context, count: int) -> None:
    await asyncio.wait([asyncio.create_task(_coroutine(context.output("out", number))) for number in range(count)])


def _coroutine(sent: Any) -> Any:
    return sent


async def use_task_group(context: Context, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(context.output, "out", number)  # type: ignore[arg-type]


@pytest.mark.parametrize("use", [use_none, use_await, use_gather, use_tasks, use_task_group])
async def test_every_way_to_await_delivers_the_same_messages_in_order(bench: Bench, use: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await use(bench.context(), 500)
        gc.collect()
    assert await bench.outputs() == list(range(500))


@pytest.fixture
async def held() -> Any:
    """A context whose channel is congested after the first message."""
    transport = GateTransport(is_open=False)
    async with draining(transport, high_water_messages=1) as (channel, sender):
        messenger = JobMessenger(JobIdentity("S1", "J1"), channel, sender, ManualClock())
        yield transport, messenger
        transport.open()


def held_context(messenger: JobMessenger, bench: Bench) -> Context:
    bench.messenger = messenger
    return bench.context()


async def test_awaited_output_waits_while_the_channel_is_congested(held: Any, bench: Bench) -> None:
    transport, messenger = held
    context = held_context(messenger, bench)
    context.output("out", 1)
    sent = context.output("out", 2)
    waiting = asyncio.create_task(asyncio.wait_for(sent, 5))
    await transport.reached.wait()
    assert not waiting.done()
    transport.open()
    await waiting
    await sent


async def test_cancelled_await_withdraws_nothing(held: Any, bench: Bench) -> None:
    transport, messenger = held
    context = held_context(messenger, bench)
    context.output("out", 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(context.output("out", 2), 0.001)
    transport.open()
    await context.flush()
    assert len(transport.taken) == 2


async def test_flush_gives_up_after_its_time(held: Any, bench: Bench) -> None:
    transport, messenger = held
    context = held_context(messenger, bench)
    context.output("out", 1)
    assert await context.flush(0.001) is False
    transport.open()
    assert await context.flush() is True


async def test_awaited_output_raises_when_the_connection_is_gone_and_unawaited_does_not(bench: Bench) -> None:
    transport = GateTransport()
    transport.failure = broken()
    channel = Channel()
    sender = await Sender(channel, transport).__aenter__()
    bench.messenger = JobMessenger(JobIdentity("S1", "J1"), channel, sender, ManualClock())
    context = bench.context()
    context.output("out", 1)
    with pytest.raises(TransportError, match="gone"):
        await context.flush()
    context.output("out", 2)
    with pytest.raises(TransportError, match="gone"):
        await context.output("out", 3)
    await sender.aclose()


# -- facts ------------------------------------------------------------------------------------------------------------


async def test_properties_tell_about_job_and_places(bench: Bench) -> None:
    context = bench.context()
    frame = {"flow_job_id": "F1", "flow": "/w/flows/main/flow.oo.yaml", "node_id": "resize"}
    assert (context.session_id, context.job_id, context.node_id) == ("S1", "J1", "resize")
    assert context.job_info == {"session_id": "S1", "job_id": "J1"}
    assert context.block_info == {**context.job_info, "stacks": [frame], "block_path": "/w/tasks/resize/task.oo.yaml"}
    assert (context.inputs, context.inputs_def, context.outputs_def) == (
        {"width": 640},
        {"width": {"handle": "width"}},
        {"out": {"handle": "out"}},
    )
    assert (context.session_dir, context.tmp_dir, context.tmp_pkg_dir) == ("/session", "/tmp/flow", "/tmp/flow/tools")
    assert (context.pkg_data_dir, context.pkg_dir, context.package_name) == ("/data/tools", "/data/tools", "tools")
    assert context.keepAlive is context.keepAlive
    assert repr(context.keepAlive) == "context.keepAlive"


async def test_node_id_of_a_block_that_is_run_directly_is_none(bench: Bench) -> None:
    bench.messenger = bench.new_messenger(stacks=())
    assert bench.context().node_id == "none"


@pytest.fixture
def variables() -> dict[str, str]:
    """An environment of the host."""
    return {
        "OOMOL_LLM_BASE_URL": "u",
        "OOMOL_LLM_BASE_URL_V1": "u1",
        "OOMOL_LLM_API_KEY": "k",
        "OOMOL_LLM_MODELS": "a,b",
        "OOMOL_TOKEN": "t",
        "OOMOL_FUSION_API_URL": "f",
        "OO_HOST_ENDPOINT": "h",
        "OOMOL_HOST_GPU_VENDOR": "v",
    }


async def test_host_facts_come_from_the_environment(bench: Bench, variables: dict[str, str]) -> None:
    context = bench.context(variables=variables)
    assert context.oomol_llm_env == {"base_url": "u", "base_url_v1": "u1", "api_key": "k", "models": ["a", "b"]}
    assert (await context.oomol_token(), context.oomol_token().result()) == ("t", "t")
    assert (context.oomol_fusion_api_url, context.host_endpoint) == ("f", "h")
    assert context.host_info == {"gpu_vendor": "v", "gpu_renderer": "unknown"}
    assert await bench.warnings() == []


async def test_missing_host_facts_are_empty_and_warned_about_once(bench: Bench) -> None:
    context = bench.context()
    for _ in range(2):
        assert context.oomol_llm_env == {"base_url": "", "base_url_v1": "", "api_key": "", "models": [""]}
        assert (await context.oomol_token(), context.oomol_fusion_api_url, context.host_endpoint) == ("", "", None)
    assert len(await bench.warnings()) == 5


async def test_block_sees_its_cancellation(bench: Bench) -> None:
    context = bench.context()
    assert not context.is_cancelled
    bench.messenger.cancel()
    assert context.is_cancelled
