"""What people see of a block: progress, previews, logs, warnings, errors, messages."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from oocana_async import Context
from oocana_async.testing import Log, ManualClock, run_scriptlet, start_scriptlet

pytestmark = pytest.mark.anyio
WriteScriptlet = Callable[..., Path]


# -- progress -------------------------------------------------------------------------------------------------------


async def test_progress_passes_at_once_then_every_interval_and_at_the_end() -> None:
    clock = ManualClock()

    def main(params: dict[str, Any], context: Context) -> None:
        for progress in (1, 2, 3):
            context.report_progress(progress)
        clock.advance(0.29)
        context.report_progress(4)
        clock.advance(0.01)  # the last one of the interval passes here
        context.report_progress(5)
        context.report_progress(6)

    assert (await run_scriptlet(main, clock=clock)).progress == [1, 4, 6]


async def test_after_a_pause_progress_passes_at_once() -> None:
    clock = ManualClock()

    def main(params: dict[str, Any], context: Context) -> None:
        for progress in (10, 20, 30):
            context.report_progress(progress)
            clock.advance(0.3)

    assert (await run_scriptlet(main, clock=clock)).progress == [10, 20, 30]


async def test_a_held_back_progress_passes_while_the_block_goes_on() -> None:
    clock, go_on = ManualClock(), threading.Event()

    async def main(params: dict[str, Any], context: Context) -> None:
        context.report_progress(1)
        context.report_progress(2)
        await context.output("waiting", True)
        await asyncio.to_thread(go_on.wait, 5)

    async with start_scriptlet(main, clock=clock) as run:
        await run.wait_for_output("waiting")
        assert run.record.progress == [1]
        clock.advance(0.3)
        await run.wait_for(lambda record: record.progress == [1, 2])
        go_on.set()
        await run.finished()


async def test_progress_of_two_blocks_does_not_mix() -> None:
    clock = ManualClock()

    def main(params: dict[str, Any], context: Context) -> None:
        context.report_progress(params["n"])
        context.report_progress(params["n"] + 1)

    first, second = await asyncio.gather(*(run_scriptlet(main, {"n": n}, clock=clock) for n in (10, 20)))
    assert (first.progress, second.progress) == ([10, 11], [20, 21])


async def test_progress_that_is_no_number_is_refused() -> None:
    record = await run_scriptlet(lambda params, context: context.report_progress("half"))
    assert "progress: should be a number from 0 to 100, but got str" in str(record.error)


# -- previews -------------------------------------------------------------------------------------------------------


async def test_a_data_frame_is_shown_as_a_table_of_its_ends() -> None:
    frame = pd.DataFrame({"n": range(1000), "t": ["x"] * 1000})
    record = await run_scriptlet(lambda params, context: context.preview(frame, id="t"))
    (preview,) = record.previews
    assert (preview["type"], preview["id"]) == ("table", "t")
    assert preview["data"]["row_count"] == 1000
    assert len(preview["data"]["rows"]) == 11
    assert preview["data"]["rows"][5] == ["..."] * len(preview["data"]["columns"])


async def test_a_preview_is_taken_at_the_call() -> None:
    def main(params: dict[str, Any], context: Context) -> None:
        payload: Any = {"type": "json", "data": [1]}
        context.preview(payload)
        payload["data"].append(2)

    assert (await run_scriptlet(main)).previews == [{"type": "json", "data": [1]}]


# -- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_each_kind_of_report_is_recorded(scriptlet: WriteScriptlet, kind: str) -> None:
    record = await run_scriptlet(
        scriptlet(f"""
        {kind} main(params, context):
            context.report_log("line")
            context.report_log("problem", "stderr")
            context.log_json({{"a": 1}})
            context.send_message({{"b": 2}})
            context.send_warning("careful")
            context.error("broken")
            context.send_error("again")
        """)
    )
    assert record.ended == "finished"
    assert record.logs == [("line", "stdout"), ("problem", "stderr")]
    assert (record.log_json, record.messages) == ([{"a": 1}], [{"b": 2}])
    assert (record.warnings, record.errors) == (["careful"], ["broken", "again"])


async def test_values_are_taken_at_the_call() -> None:
    def main(params: dict[str, Any], context: Context) -> None:
        rows = [1]
        for send in (context.log_json, context.send_message, lambda rows: context.output("y", rows)):
            send(rows)
            rows.append(2)

    record = await run_scriptlet(main)
    assert (record.log_json, record.messages, record.last("y")) == ([[1]], [[1, 2]], [1, 2, 2])


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_forgotten_await_sends_all_the_same(scriptlet: WriteScriptlet, kind: str) -> None:
    record = await run_scriptlet(
        scriptlet(f"""
        {kind} main(params, context):
            for number in range(100):
                context.output("n", number)
            context.outputs({{"n": 100}})
        """)
    )
    assert record.all("n") == list(range(101))


# -- captured output ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_what_a_block_writes_is_its_log(scriptlet: WriteScriptlet, kind: str) -> None:
    record = await run_scriptlet(
        scriptlet(f"""
        import logging, sys, warnings
        {kind} main(params, context):
            print("one", 2)
            print("two\\nlines")
            print("oops", file=sys.stderr)
            sys.stdout.write("half ")
            sys.stdout.write("line\\nrest")
            logging.getLogger("lib").warning("from a logger")
            context.logger.info("from the context")
        """)
    )
    assert record.ended == "finished", record
    assert record.logs[:4] == [
        ("one 2", "stdout"),
        ("two\nlines", "stdout"),
        ("oops", "stderr"),
        ("half line", "stdout"),
    ]
    assert Log("from the context", "stdout") in record.logs
    assert Log("rest", "stdout") in record.logs
    assert [log.stdio for log in record.logs if "from a logger" in log.text] == ["stderr"]


async def test_a_warning_of_python_reaches_the_log() -> None:
    def main() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old api", DeprecationWarning, stacklevel=1)

    assert "DeprecationWarning: old api" in (await run_scriptlet(main)).log_text("stderr")


async def test_threads_and_pools_of_a_block_write_to_its_log() -> None:
    def main() -> None:
        thread = threading.Thread(target=print, args=("from a thread",))
        thread.start()
        thread.join()
        with ThreadPoolExecutor() as pool:
            pool.submit(print, "from a pool").result()

    assert (await run_scriptlet(main)).log_text() == "from a thread\nfrom a pool"


async def test_what_the_test_writes_is_not_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    go_on = threading.Event()

    def main(params: dict[str, Any], context: Context) -> None:
        context.output("begun", True)
        go_on.wait(5)
        print("block")

    async with start_scriptlet(main) as run:
        await run.wait_for_output("begun")
        print("test")
        logging.getLogger("test").debug("nothing")
        go_on.set()
        record = await run.finished()
    assert record.log_text() == "block"
    assert capsys.readouterr().out == "test\n"
    assert "JobStream" not in type(sys.stdout).__name__


async def test_logs_stand_before_the_error_that_followed_them() -> None:
    def main() -> None:
        print("before")
        raise RuntimeError("after")

    record = await run_scriptlet(main)
    assert record.logs == [("before", "stdout")]
    assert str(record.error).endswith("RuntimeError: after")
