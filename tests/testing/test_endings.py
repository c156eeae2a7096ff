"""How jobs end: one end on every path, with the texts of protocol.md 7.4."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oocana_async import Context
from oocana_async.errors import JobCancelledError
from oocana_async.testing import NO_ANSWER, Record, run_scriptlet, start_scriptlet

pytestmark = pytest.mark.anyio
WriteScriptlet = Callable[..., Path]
TWICE = "done has been called multiple times and will be ignored."


async def error_of(path: Path, **options: Any) -> str:
    record = await run_scriptlet(path, **options)
    assert record.ended == "failed"
    return str(record.error)


# -- return values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [("42", "<class 'int'>"), ("[1]", "<class 'list'>"), ("'text'", "<class 'str'>"), ("False", "<class 'bool'>")],
)
async def test_what_is_no_dict_fails_the_block(scriptlet: WriteScriptlet, kind: str, value: str, shown: str) -> None:
    text = await error_of(scriptlet(f"{kind} main(): return {value}"))
    assert text == f"return object needs to be a dictionary, but get type: {shown}"


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_none_finishes_without_a_result(scriptlet: WriteScriptlet, kind: str) -> None:
    record = await run_scriptlet(scriptlet(f"{kind} main(): pass"))
    assert (record.ended, record.result) == ("finished", None)


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_failing_after_the_end_is_warned_about(scriptlet: WriteScriptlet, kind: str) -> None:
    record = await run_scriptlet(
        scriptlet(f"{kind} main(params, context):\n    context.finish(result={{'y': 1}})\n    params['x']")
    )
    assert (record.ended, record.result) == ("finished", {"y": 1})
    (warning,) = record.warnings
    assert warning.startswith("the block failed after it had finished; the error is ignored: Traceback")
    assert warning.endswith("KeyError: 'x'")


async def test_an_awaitable_of_the_context_counts_as_none() -> None:
    async def main(params: dict[str, Any], context: Context) -> Any:
        return context.output("y", 1)

    record = await run_scriptlet(main)
    assert (record.ended, record.result, record.outputs) == ("finished", None, [("y", 1)])


async def test_a_def_that_returns_a_coroutine_is_awaited() -> None:
    async def work() -> dict[str, int]:
        return {"y": 1}

    def main() -> Any:
        return work()

    assert (await run_scriptlet(main)).result == {"y": 1}


async def test_a_task_that_nobody_awaits_is_cancelled_and_named() -> None:
    cancelled: list[str] = []

    async def beat() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append("beat")

    async def main() -> dict[str, int]:
        main.task = asyncio.create_task(beat(), name="heartbeat")  # type: ignore[attr-defined]
        return {"y": 1}

    record = await run_scriptlet(main)
    assert (record.ended, record.result, cancelled) == ("finished", {"y": 1}, ["beat"])
    assert [warning for warning in record.warnings if "heartbeat" in warning]


async def test_a_forgotten_await_is_named() -> None:
    async def work() -> int:
        return 1

    async def main() -> dict[str, Any]:
        return {"y": work()}

    record = await run_scriptlet(main)
    assert "return object has an awaitable under [y]" in str(record.error)
    assert "was an `await` forgotten?" in str(record.error)


async def test_a_result_that_cannot_travel_names_its_handle() -> None:
    record = await run_scriptlet(lambda: {"y": [object()]})
    assert "output handle [y][0]" in str(record.error)


# -- loading --------------------------------------------------------------------------------------------------------


async def test_a_missing_function_is_named(scriptlet: WriteScriptlet) -> None:
    assert await error_of(scriptlet("x = 1")) == "function main not found in scriptlet.py"


async def test_what_is_no_function_is_named(scriptlet: WriteScriptlet) -> None:
    assert await error_of(scriptlet("main = 1")) == "main is not a function in scriptlet.py"


async def test_an_import_error_shows_the_line_of_the_scriptlet_only(scriptlet: WriteScriptlet) -> None:
    path = scriptlet("import nowhere_to_be_found\ndef main(): pass")
    assert (await error_of(path)).splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{path}", line 1, in <module>',
        "    import nowhere_to_be_found",
        "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
    ]
    assert not [name for name in sys.modules if name.startswith(str(path))]


async def test_a_syntax_error_shows_the_line(scriptlet: WriteScriptlet) -> None:
    path = scriptlet("def main():\n    return {")
    text = await error_of(path)
    assert f'File "{path}", line 2' in text
    assert text.endswith("SyntaxError: '{' was never closed")


# -- exceptions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_traceback_shows_the_frames_of_the_scriptlet_only(scriptlet: WriteScriptlet, kind: str) -> None:
    path = scriptlet(f"def inner():\n    raise ValueError('bad row')\n\n{kind} main():\n    inner()")
    lines = (await error_of(path)).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line.strip() for line in lines if line.startswith("  File")] == [
        f'File "{path}", line 5, in main',
        f'File "{path}", line 2, in inner',
    ]
    assert lines[-1] == "ValueError: bad row"


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "GeneratorExit", "BaseException"])
@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_every_base_exception_ends_the_job(scriptlet: WriteScriptlet, kind: str, error: str) -> None:
    assert (await error_of(scriptlet(f"{kind} main(): raise {error}('x')"))).endswith(f"{error}: x")


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("sys.exit()", None),
        ("exit()", None),
        ("quit()", None),
        ("raise SystemExit", None),
        ("sys.exit(0)", "block call exit with message: 0"),
        ("sys.exit('no disk')", "block call exit with message: no disk"),
        ("exit(3)", "block call exit with message: 3"),
    ],
)
async def test_exit_ends_the_job_only(scriptlet: WriteScriptlet, kind: str, statement: str, error: str | None) -> None:
    record = await run_scriptlet(scriptlet(f"import sys\n{kind} main(): {statement}"))
    assert record.error == error
    assert record.ended == ("finished" if error is None else "failed")


async def test_outputs_before_a_failure_are_there() -> None:
    async def main(params: dict[str, Any], context: Context) -> None:
        context.output("y", 1)
        raise RuntimeError("later")

    record = await run_scriptlet(main)
    assert (record.ended, record.outputs) == ("failed", [("y", 1)])


# -- finish ---------------------------------------------------------------------------------------------------------


async def test_finish_gives_the_result() -> None:
    record = await run_scriptlet(lambda params, context: context.finish(result={"y": 1}))
    assert (record.ended, record.result) == ("finished", {"y": 1})


async def test_an_error_wins_over_a_result() -> None:
    record = await run_scriptlet(lambda params, context: context.finish(result={"y": 1}, error="no"))
    assert (record.ended, record.error, record.result) == ("failed", "no", None)


async def test_a_second_finish_is_warned_about_and_ignored() -> None:
    def main(params: dict[str, Any], context: Context) -> None:
        context.finish(result={"y": 1})
        context.finish(error="too late")
        context.done()

    record = await run_scriptlet(main)
    assert (record.ended, record.result, record.warnings) == ("finished", {"y": 1}, [TWICE, TWICE])


async def test_a_result_after_finish_is_warned_about() -> None:
    def main(params: dict[str, Any], context: Context) -> dict[str, int]:
        context.finish(result={"y": 1})
        return {"y": 2}

    record = await run_scriptlet(main)
    assert record.result == {"y": 1}
    assert record.warnings == ["the block returned a result after it had finished; the result is ignored."]


async def test_calls_after_the_end_are_dropped_with_one_warning() -> None:
    def main(params: dict[str, Any], context: Context) -> None:
        context.done()
        context.output("y", 1)
        context.preview({"type": "text", "data": "x"})
        context.report_progress(5)

    record = await run_scriptlet(main)
    assert (record.outputs, record.previews, record.progress) == ([], [], [])
    (warning,) = record.warnings
    assert warning.startswith("output was called after the block had finished and is ignored")


async def test_output_with_done_ends_the_block() -> None:
    record = await run_scriptlet(lambda params, context: context.output("y", 1, True))
    assert (record.ended, record.outputs) == ("finished", [("y", 1)])


async def test_a_wrong_result_of_finish_is_named() -> None:
    record = await run_scriptlet(lambda params, context: context.finish(result=42))
    assert str(record.error).endswith("ValueError: result should be a dict, but got <class 'int'>")


async def test_keep_alive_waits_for_a_thread_that_finishes() -> None:
    go_on = threading.Event()

    def main(params: dict[str, Any], context: Context) -> Any:
        def later() -> None:
            go_on.wait(5)
            context.finish(result={"y": 1})

        threading.Thread(target=later).start()
        return context.keepAlive

    async with start_scriptlet(main) as run:
        assert run.record.ended == "running"
        go_on.set()
        assert (await run.finished()).result == {"y": 1}


async def test_keep_alive_keeps_the_tasks_of_an_async_block() -> None:
    async def main(params: dict[str, Any], context: Context) -> Any:
        async def later() -> None:
            await asyncio.sleep(0.01)
            await context.finish(result={"y": 1})

        tasks.append(asyncio.create_task(later()))
        return context.keepAlive

    tasks: list[asyncio.Task[None]] = []
    assert (await run_scriptlet(main)).result == {"y": 1}


# -- cancellation ---------------------------------------------------------------------------------------------------


NEVER: dict[str, Any] = {"known_blocks": {"self::never": NO_ANSWER}}


def wait_until_cancelled(context: Context) -> None:
    """Wait for an answer that never comes: the cancellation ends that."""
    with pytest.raises(JobCancelledError):
        context.query_block("self::never").result()


def assert_cancelled(record: Record) -> None:
    assert (record.ended, record.error) == ("cancelled", "Cancelled: its flow has ended")


async def test_cancelling_an_async_block_runs_its_clean_up() -> None:
    async def main(params: dict[str, Any], context: Context) -> None:
        try:
            await context.output("begun", True)
            await asyncio.sleep(30)
        finally:
            context.output("cleaned", context.is_cancelled)

    async with start_scriptlet(main) as run:
        await run.wait_for_output("begun")
        run.cancel()
        record = await run.finished()
    assert_cancelled(record)
    assert record.last("cleaned") is True


async def test_a_run_that_is_left_early_records_the_clean_up() -> None:
    async def main(params: dict[str, Any], context: Context) -> None:
        try:
            await context.output("begun", True)
            await asyncio.sleep(30)
        finally:
            context.output("cleaned", True)

    async with start_scriptlet(main) as run:
        await run.wait_for_output("begun")
    assert run.record.last("cleaned") is True


async def test_a_sync_block_notices_its_cancellation() -> None:
    def main(params: dict[str, Any], context: Context) -> None:
        context.output("begun", context.is_cancelled)
        wait_until_cancelled(context)
        context.check_cancelled()
        raise AssertionError("not cancelled")

    async with start_scriptlet(main, **NEVER) as run:
        assert await run.wait_for_output("begun") is False
        run.cancel()
        assert_cancelled(await run.finished())


async def test_a_sync_block_may_finish_in_spite_of_its_cancellation() -> None:
    def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
        context.output("begun", True)
        wait_until_cancelled(context)
        return {"saved": True}

    async with start_scriptlet(main, **NEVER) as run:
        await run.wait_for_output("begun")
        run.cancel()
        record = await run.finished()
    assert (record.ended, record.result) == ("finished", {"saved": True})


async def test_a_kept_alive_block_ends_when_it_is_cancelled() -> None:
    def main(params: dict[str, Any], context: Context) -> Any:
        context.output("begun", True)
        return context.keepAlive

    async with start_scriptlet(main) as run:
        await run.wait_for_output("begun")
        run.cancel()
        assert_cancelled(await run.finished())


async def test_a_block_that_is_cancelled_just_before_it_is_kept_alive_ends() -> None:
    def main(params: dict[str, Any], context: Context) -> Any:
        context.output("begun", True)
        wait_until_cancelled(context)
        return context.keepAlive

    async with start_scriptlet(main, **NEVER) as run:
        await run.wait_for_output("begun")
        run.cancel()
        assert_cancelled(await run.finished())


async def test_a_block_that_is_cancelled_while_it_is_loaded_never_runs(
    scriptlet: WriteScriptlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, cancelled, ran = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    gate = SimpleNamespace(loading=lambda: loop.call_soon_threadsafe(loading.set), cancelled=cancelled, ran=ran)
    monkeypatch.setitem(sys.modules, "gate", gate)
    path = scriptlet("""
        import gate
        gate.loading()
        gate.cancelled.wait(5)

        async def main():
            gate.ran.set()
    """)
    async with start_scriptlet(path) as run:
        await loading.wait()
        run.cancel()
        await asyncio.sleep(0)  # the executor reads it
        await asyncio.sleep(0)
        cancelled.set()
        assert_cancelled(await run.finished())
    assert not ran.is_set()


async def test_a_block_that_waits_for_a_child_ends_when_it_is_cancelled() -> None:
    async def main(params: dict[str, Any], context: Context) -> None:
        await context.run_block("self::slow", inputs={}).finish()

    async with start_scriptlet(main, blocks={"self::slow": NO_ANSWER}) as run:
        await run.wait_for(lambda record: record.children)
        run.cancel()
        assert_cancelled(await run.finished())


async def test_a_cancelled_error_of_the_block_itself_is_an_error() -> None:
    async def main() -> None:
        raise asyncio.CancelledError

    record = await run_scriptlet(main)
    assert record.ended == "failed"
    assert "CancelledError" in str(record.error)
