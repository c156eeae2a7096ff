"""The one way out of a job: order, the single end, what comes after it, redaction, limits, cancellation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from oocana_async.context import Context
from oocana_async.context import messenger as jobs
from oocana_async.context.messenger import JobIdentity, JobMessenger, JobState
from oocana_async.errors import JobCancelledError, PacketTooLargeError, StateError
from oocana_async.testing.manual_clock import ManualClock
from oocana_async.wire.envelope import Delivery
from oocana_async.wire.messages.shared import StackFrame
from tests.channel.gate import GateTransport, draining
from tests.context.bench import Bench

pytestmark = pytest.mark.anyio


async def test_finish_comes_once_and_after_held_back_progress(bench: Bench) -> None:
    for rate in (1, 2, 3):
        bench.messenger.progress(rate)
    assert bench.messenger.finish()
    assert not bench.messenger.finish(error="again")
    bench.messenger.progress(4)
    bench.clock.advance(1)
    received = await bench.messages()
    assert [message["type"] for message in received][-1] == "BlockFinished"
    assert [message["progress"] for message in received if message["type"] == "BlockProgress"][-1] == 3
    assert len(await bench.messages("BlockFinished")) == 1


async def test_progress_goes_to_the_engine_and_to_the_report_with_both_keys(bench: Bench) -> None:
    bench.messenger.progress(40)
    engine, report = await bench.messages()
    assert engine == {"type": "BlockProgress", "session_id": "S1", "job_id": "J1", "progress": 40}
    assert (report["progress"], report["rate"], report["stacks"][0]["node_id"]) == (40, 40, "resize")
    assert await bench.topics() == ["session/S1", "report"]


async def test_progress_that_waits_in_the_channel_is_replaced_by_newer(bench: Bench) -> None:
    bench.messenger.progress(1)
    bench.clock.advance(0.3)
    bench.messenger.progress(2)
    assert [message["progress"] for message in await bench.messages("BlockProgress")] == [2, 2]


async def test_error_wins_over_a_result(bench: Bench) -> None:
    bench.messenger.finish(result={}, error="bad")
    assert await bench.messages() == [
        {"type": "BlockFinished", "session_id": "S1", "job_id": "J1", "error": "bad"},
    ]


async def test_error_text_is_redacted_and_has_no_lone_surrogates(bench: Bench) -> None:
    bench.redactor.add("hunter2")
    bench.messenger.finish(error="password hunter2 in \udc80")
    (finished,) = await bench.messages()
    assert finished["error"] == "password *** in \\udc80"


async def test_nothing_of_other_threads_follows_the_end(bench: Bench) -> None:
    started = threading.Barrier(4)

    def produce() -> None:
        started.wait()
        for _ in range(2000):
            bench.messenger.emit(b'{"type":"BlockOutput"}', "output")

    threads = [threading.Thread(target=produce) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    bench.messenger.finish()
    for thread in threads:
        thread.join()
    types = [message["type"] for message in await bench.messages("BlockOutput", "BlockFinished")]
    assert types.index("BlockFinished") == len(types) - 1


async def test_first_call_after_the_end_is_warned_about(bench: Bench) -> None:
    bench.messenger.finish()
    bench.messenger.emit(b"{}", "output")
    bench.messenger.emit(b"{}", "preview")
    assert await bench.warnings() == [
        "output was called after the block had finished and is ignored, like all further calls."
    ]


async def test_too_large_message_is_refused_at_the_call(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MAX_PAYLOAD", 200)
    with pytest.raises(PacketTooLargeError, match="output: a message of 300 bytes; at most 200 can travel") as caught:
        bench.messenger.emit(b"x" * 300, "output")
    assert (caught.value.size, caught.value.limit) == (300, 200)
    with pytest.raises(PacketTooLargeError, match="finish"):
        bench.messenger.finish(result=jobs.raw_map({"out": b"1" * 300}))
    assert bench.messenger.state is JobState.RUNNING
    bench.messenger.finish(error="e" * 300)
    (finished,) = await bench.messages()
    assert finished["error"] == "e" * 12


async def test_too_large_event_is_refused_at_the_call(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MAX_PAYLOAD", 300)
    with pytest.raises(PacketTooLargeError, match=r"BlockMessage: a message of \d+ bytes; at most 300"):
        bench.context().send_message("x" * 300)
    assert await bench.messages() == []


SHOWN: list[Callable[[Context, str], object]] = [
    lambda context, text: context.send_warning(text),
    lambda context, text: context.send_message({"text": [text]}),
    lambda context, text: context.log_json({text: 1}),
    lambda context, text: context.report_log(text, "stdout"),
    lambda context, text: context.error(text),
    lambda context, text: context.preview({"type": "text", "data": text}),
]


@pytest.mark.parametrize("show", SHOWN)
async def test_secret_is_hidden_in_what_people_read(bench: Bench, show: Callable[[Context, str], object]) -> None:
    bench.redactor.add('hun"ter2')
    show(bench.context(), 'password hun"ter2')
    (message,) = await bench.messages()
    assert "ter2" not in repr(message)
    assert "password ***" in repr(message)


async def test_messages_are_marked_for_what_they_are(bench: Bench) -> None:
    context = bench.context()
    context.output("out", 1)
    context.report_progress(40)
    context.query_block("self::a")
    context.run_block("self::b", inputs={})
    context.send_warning("careful")
    context.finish()
    assert await bench.marked() == [
        ("BlockOutput", Delivery.DATA),
        ("BlockProgress", Delivery.PROGRESS),
        ("BlockProgress", Delivery.REPORT),
        ("BlockRequest", Delivery.CONTROL),
        ("BlockRequest", Delivery.CONTROL),
        ("BlockWarning", Delivery.REPORT),
        ("BlockFinished", Delivery.FINISH),
    ]


async def test_thread_that_floods_the_channel_gives_its_place_away_and_is_warned_once() -> None:
    places: list[str] = []
    is_held_back = threading.Event()

    @contextmanager
    def blocking() -> Iterator[None]:
        places.append("given")
        is_held_back.set()
        yield
        places.append("taken")

    transport = GateTransport(is_open=False)
    async with draining(transport, hard_limit_bytes=5000) as (channel, sender):
        messenger = JobMessenger(JobIdentity("S1", "J1"), channel, sender, ManualClock(), blocking=blocking)

        def produce() -> None:
            for _ in range(50):
                messenger.emit(b"x" * 1000, "output")

        producing = asyncio.create_task(asyncio.to_thread(produce))
        assert await asyncio.to_thread(is_held_back.wait, 5)
        transport.open()
        await producing
    warnings = [one for one in transport.taken if b"BlockWarning" in one.payload]
    assert len(transport.taken) == 51
    assert len(warnings) == 1
    assert b"sends faster than its messages can travel" in warnings[0].payload
    assert places[:2] == ["given", "taken"]


async def test_senders_own_thread_must_not_wait(bench: Bench) -> None:
    with pytest.raises(StateError, match="use await"), bench.messenger.blocking():
        pass


async def test_cancellation_is_seen_and_heard(bench: Bench) -> None:
    heard: list[str] = []
    bench.messenger.on_cancelled(lambda: heard.append("first"))
    withdraw = bench.messenger.on_cancelled(lambda: heard.append("withdrawn"))
    withdraw()
    bench.messenger.check_cancelled()
    bench.messenger.cancel()
    bench.messenger.cancel()
    bench.messenger.on_cancelled(lambda: heard.append("late"))
    assert (bench.messenger.is_cancelled, heard) == (True, ["first", "late"])
    with pytest.raises(JobCancelledError, match="job J1 was cancelled"):
        bench.messenger.check_cancelled()


async def test_end_is_heard_unless_withdrawn(bench: Bench) -> None:
    heard: list[str] = []
    bench.messenger.on_finished(lambda: heard.append("first"))
    bench.messenger.on_finished(lambda: heard.append("withdrawn"))()
    bench.messenger.finish()
    bench.messenger.on_finished(lambda: heard.append("late"))
    assert heard == ["first", "late"]


@pytest.mark.parametrize(("node_id", "is_child"), [("resize", False), ("run_block::self::crop", True)])
def test_child_is_known_by_its_last_frame(node_id: str, is_child: bool) -> None:
    frame = StackFrame("F1", "/flow", node_id)
    assert JobIdentity("S1", "J1", (StackFrame("F0", "/root", "sub"), frame)).is_child is is_child
    assert not JobIdentity("S1", "J1").is_child
