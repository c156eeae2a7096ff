"""Running scriptlets with the kit: targets, inputs, outputs, time-outs, and what is left behind."""

from __future__ import annotations

import asyncio
import functools
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from oocana_async import Context
from oocana_async.errors import EncodingError, LoadError
from oocana_async.handles import CredentialInput
from oocana_async.testing import (
    Ended,
    RunFailedError,
    RunTimeoutError,
    run_scriptlet,
    run_scriptlet_sync,
    start_scriptlet,
)
from oocana_async.testing.recorder import Recorder

pytestmark = pytest.mark.anyio
WriteScriptlet = Callable[..., Path]
VAR = {"contentMediaType": "oomol/var"}
BIN = {"contentMediaType": "oomol/bin"}
SECRET = {"contentMediaType": "oomol/secret"}


# -- targets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_file_runs(scriptlet: WriteScriptlet, kind: str) -> None:
    path = scriptlet(f"{kind} main(params, context):\n    return {{'y': params['x'] + 1}}")
    record = await run_scriptlet(path, {"x": 1})
    assert (record.ended, record.result, record.error) == (Ended.FINISHED, {"y": 2}, None)


async def test_another_function_of_a_file_runs(scriptlet: WriteScriptlet) -> None:
    path = scriptlet("def main(): return {'y': 1}\ndef other(): return {'y': 2}")
    assert (await run_scriptlet(str(path), function="other")).last("y") == 2


async def test_an_edited_file_runs_as_it_is_now(scriptlet: WriteScriptlet) -> None:
    assert (await run_scriptlet(scriptlet("def main(): return {'y': 1}"))).last("y") == 1
    assert (await run_scriptlet(scriptlet("def main(): return {'y': 'new'}"))).last("y") == "new"


async def test_a_function_runs_with_its_closure() -> None:
    seen: list[Any] = []

    def main(params: dict[str, Any], context: Context) -> None:
        seen.append((params, isinstance(context, Context), threading.current_thread() is threading.main_thread()))

    await run_scriptlet(main, {"x": 1})
    assert seen == [({"x": 1}, True, False)]


async def test_an_async_function_runs_on_another_loop_than_the_test() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())

    (await run_scriptlet(main)).raise_for_error()
    assert loops != [asyncio.get_running_loop()]


async def test_a_partial_and_a_callable_object_run() -> None:
    class Adder:
        def __call__(self, params: dict[str, int]) -> dict[str, int]:
            return {"y": params["x"] + 1}

    assert (await run_scriptlet(functools.partial(Adder().__call__), {"x": 1})).result == {"y": 2}
    assert (await run_scriptlet(Adder(), {"x": 2})).result == {"y": 3}


def test_without_a_loop_the_sync_twin_runs() -> None:
    assert run_scriptlet_sync(lambda params: {"y": params["x"]}, {"x": 1}).result == {"y": 1}


async def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no scriptlet .*/nowhere\.py; give the path"):
        await run_scriptlet("nowhere.py")


async def test_a_wrong_target_is_named() -> None:
    with pytest.raises(TypeError, match="a target is the path of a scriptlet or a function, but got int"):
        await run_scriptlet(42)  # type: ignore[arg-type]


TASK = """
inputs_def:
  - {handle: width, json_schema: {type: number}}
  - {handle: factor, value: 2}
outputs_def:
  - {handle: size}
executor:
  name: python
  options: {entry: resize.py, function: resize}
"""


async def test_a_task_file_runs_as_it_declares(scriptlet: WriteScriptlet) -> None:
    scriptlet(
        """
        def resize(params, context):
            return {"size": params["width"] * params["factor"], "path": context.block_path}
        """,
        "resize.py",
    )
    task = scriptlet(TASK, "task.oo.yaml")
    record = await run_scriptlet(task, {"width": 10})
    assert record.result == {"size": 20}
    assert record.warnings == ["Output handle key: [path] is not defined in Block outputs schema."]
    with pytest.raises(ValueError, match="no input for width"):
        await run_scriptlet(task)


async def test_what_a_test_defines_comes_before_the_task_file(scriptlet: WriteScriptlet) -> None:
    scriptlet("def resize(params, context): return {'path': context.block_path}", "resize.py")
    task = scriptlet(TASK, "task.oo.yaml")
    record = await run_scriptlet(task, inputs_def=[], outputs_def=["path"])
    assert record.result == {"path": str(task)}


async def test_a_task_file_that_cannot_be_read_is_named_with_its_line(scriptlet: WriteScriptlet) -> None:
    with pytest.raises(LoadError, match=r"task\.oo\.yaml:1"):
        await run_scriptlet(scriptlet("executor: 42", "task.oo.yaml"))


async def test_a_task_for_another_language_is_refused(scriptlet: WriteScriptlet) -> None:
    with pytest.raises(TypeError, match="is no task for Python"):
        await run_scriptlet(scriptlet("executor: {name: shell}", "task.oo.yaml"))


# -- inputs ---------------------------------------------------------------------------------------------------------


def echo(params: dict[str, Any]) -> dict[str, Any]:
    return {"got": list(params.values())}


async def see(inputs: dict[str, Any], **options: Any) -> dict[str, Any]:
    seen: list[dict[str, Any]] = []
    (await run_scriptlet(seen.append, inputs, **options)).raise_for_error()
    return seen[0]


async def test_plain_inputs_arrive_as_copies() -> None:
    given = {"rows": [1, {"a": (2, 3)}]}
    seen = await see(given)
    assert seen == {"rows": [1, {"a": [2, 3]}]}
    assert seen["rows"] is not given["rows"]


async def test_what_is_no_json_arrives_as_the_very_object() -> None:
    frame, generator = pd.DataFrame({"x": [1]}), (number for number in range(3))
    seen = await see({"frame": frame, "generator": generator, "frames": {"a": frame}})
    assert seen["frame"] is frame
    assert seen["generator"] is generator
    assert seen["frames"]["a"] is frame


async def test_bytes_arrive_as_bytes() -> None:
    assert await see({"photo": b"\xff\x00", "view": memoryview(b"12")}) == {"photo": b"\xff\x00", "view": b"12"}


async def test_a_var_handle_takes_any_object_by_reference() -> None:
    given = {"a": 1}
    seen = await see({"x": given}, inputs_def=[{"handle": "x", "json_schema": VAR}])
    assert seen["x"] is given


async def test_a_value_that_cannot_travel_on_its_handle_is_refused() -> None:
    with pytest.raises(EncodingError, match=r"input \[x\]\[0\].*declare the handle as oomol/var"):
        await run_scriptlet(echo, {"x": [object()]}, inputs_def=["x"])


async def test_a_bin_handle_takes_bytes_only() -> None:
    with pytest.raises(EncodingError, match=r"input \[x\].*is defined as binary, but the value is not bytes"):
        await run_scriptlet(echo, {"x": 1}, inputs_def={"x": {"json_schema": BIN}})


async def test_missing_inputs_get_their_defaults() -> None:
    definitions = [{"handle": "a", "value": 7}, {"handle": "b", "nullable": True}, "c"]
    assert await see({"c": 1}, inputs_def=definitions) == {"a": 7, "b": None, "c": 1}


async def test_an_input_without_any_value_is_named() -> None:
    with pytest.raises(ValueError, match="no input for a, b: the engine starts a block when every input has a value"):
        await run_scriptlet(echo, {"c": 1}, inputs_def=["a", "b", "c"])


async def test_a_definition_without_a_handle_is_refused() -> None:
    with pytest.raises(ValueError, match=r"but got \{.name.: .a.\}"):
        await run_scriptlet(echo, inputs_def=[{"name": "a"}])


async def test_a_secret_arrives_in_clear_and_is_kept_out_of_logs() -> None:
    def main(params: dict[str, Any]) -> dict[str, Any]:
        print("token is", params["token"])
        return {"length": len(params["token"])}

    record = await run_scriptlet(main, {"token": "hunter2"}, inputs_def={"token": {"json_schema": SECRET}})
    assert record.result == {"length": 7}
    assert "hunter2" not in record.log_text()
    assert record.log_text().startswith("token is ")


async def test_a_credential_arrives_as_one() -> None:
    given = CredentialInput("basic", "id-1", "mail")
    assert await see({"login": given}) == {"login": given}


async def test_the_context_shows_definitions_variables_and_directories(tmp_path: Path) -> None:
    shown: dict[str, Any] = {}

    def main(params: dict[str, Any], context: Context) -> None:
        shown.update(
            inputs_def=context.inputs_def,
            outputs_def=context.outputs_def,
            models=context.oomol_llm_env["models"],
            exists=Path(context.tmp_pkg_dir).is_dir() and Path(context.pkg_data_dir).is_dir(),
            session_dir=context.session_dir,
            node_id=context.node_id,
        )

    variables = {"OOMOL_LLM_MODELS": "a,b"}
    options: Any = {"outputs_def": ["y"], "variables": variables, "session_dir": tmp_path}
    await run_scriptlet(main, {"x": 1}, **options)
    assert shown == {
        "inputs_def": {"x": {"handle": "x"}},
        "outputs_def": {"y": {"handle": "y"}},
        "models": ["a", "b"],
        "exists": True,
        "session_dir": str(tmp_path),
        "node_id": "main",
    }


async def test_the_variables_of_whoever_runs_the_tests_are_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OO_HOST_ENDPOINT", "http://real")
    record = await run_scriptlet(lambda params, context: {"endpoint": context.host_endpoint})
    assert record.result == {"endpoint": None}


# -- outputs --------------------------------------------------------------------------------------------------------


async def test_without_outputs_def_every_handle_is_declared() -> None:
    frame = pd.DataFrame({"x": [1]})

    async def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
        await context.output("plain", {"a": 1})
        await context.outputs({"bytes": b"\xff", "frame": frame})
        return {"again": frame}

    record = await run_scriptlet(main)
    assert [handle for handle, _ in record.outputs] == ["plain", "bytes", "frame"]
    assert record.all("bytes") == [b"\xff"]
    assert record.last("frame") is frame
    assert record.last("again") is frame
    assert record.warnings == []


async def test_with_outputs_def_the_block_is_held_to_it() -> None:
    def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
        context.output("known", 1)
        context.output("unknown", 2)
        return {"known": 3, "other": 4}

    record = await run_scriptlet(main, outputs_def=["known"])
    assert record.outputs == [("known", 1)]
    assert record.result == {"known": 3}
    assert record.warnings == [
        f"Output handle key: [{handle}] is not defined in Block outputs schema." for handle in ("unknown", "other")
    ]


async def test_bytes_of_several_outputs_on_one_handle_stay_apart() -> None:
    def main(params: dict[str, Any], context: Context) -> None:
        for number in range(3):
            context.output("photo", bytes([number]))

    record = await run_scriptlet(main, outputs_def={"photo": {"json_schema": BIN}})
    assert record.all("photo") == [b"\x00", b"\x01", b"\x02"]


async def test_the_target_of_an_output_is_recorded() -> None:
    def main(params: dict[str, Any], context: Context) -> None:
        context.output("y", 1, to_node=[{"node_id": "save", "input_handle": "img"}])

    (output,) = (await run_scriptlet(main)).outputs
    assert output.target == {"to_node": [{"node_id": "save", "input_handle": "img"}], "to_flow": None}


async def test_ten_thousand_outputs_are_all_there_in_order() -> None:
    async def main(params: dict[str, Any], context: Context) -> None:
        for number in range(10_000):
            context.output("n", number)

    assert (await run_scriptlet(main)).all("n") == list(range(10_000))


# -- while it runs --------------------------------------------------------------------------------------------------


async def test_a_test_can_look_at_a_run_and_let_it_go_on() -> None:
    go_on = threading.Event()

    def main(params: dict[str, Any], context: Context) -> None:
        context.output("step", 1)
        go_on.wait(5)
        context.output("step", 2)

    async with start_scriptlet(main) as run:
        assert await run.wait_for_output("step") == 1
        before = run.record
        assert before.ended == "running"
        go_on.set()
        assert await run.wait_for_output("step", count=2) == 2
        record = await run.finished()
    assert (len(before.outputs), len(record.outputs)) == (1, 2)


async def test_waiting_for_a_condition() -> None:
    def main(params: dict[str, Any], context: Context) -> None:
        context.send_warning("careful")

    async with start_scriptlet(main) as run:
        record = await run.wait_for(lambda record: record.warnings)
    assert record.warnings == ["careful"]


async def test_waiting_for_an_output_that_never_comes_ends_with_the_scriptlet() -> None:
    async with start_scriptlet(lambda: {"other": 1}) as run:
        with pytest.raises(RunFailedError, match=r"(?s)ended without doing.*'other': 1"):
            await run.wait_for_output("y")


async def test_too_slow_a_scriptlet_is_cancelled_and_shown() -> None:
    cancelled: list[bool] = []

    async def main(params: dict[str, Any], context: Context) -> None:
        context.output("begun", True)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(
        RunTimeoutError, match=r"(?s)main did not finish within 0.2 s.*timed out.*'begun', True"
    ) as info:
        await run_scriptlet(main, timeout=0.2)
    assert isinstance(info.value, TimeoutError)
    assert info.value.record.ended is Ended.TIMED_OUT
    assert cancelled == [True]


async def test_waiting_too_long_for_an_output_names_it() -> None:
    async with start_scriptlet(lambda params, context: context.keepAlive, timeout=0.1) as run:
        with pytest.raises(RunTimeoutError, match=r"did not send 1 value\(s\) on \[y\] within 0.1 s"):
            await run.wait_for_output("y")


async def test_two_runs_at_once_do_not_mix() -> None:
    both = threading.Barrier(2, timeout=5)

    def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
        for number in range(20):
            both.wait()
            print(params["name"], number)
            context.output("n", (params["name"], number))
        return {"name": params["name"]}

    names = ("a", "b")
    records = await asyncio.gather(*(run_scriptlet(main, {"name": name}) for name in names))
    for name, record in zip(names, records, strict=True):
        assert record.log_text() == "\n".join(f"{name} {number}" for number in range(20))
        assert record.all("n") == [[name, number] for number in range(20)]
        assert record.result == {"name": name}


# -- what is left behind --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["finish", "fail", "leave early"])
async def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    printer = print

    async def main(params: dict[str, Any], context: Context) -> None:
        context.output("bytes", b"x" * 100)
        await context.run_block("self::slow", inputs={}).finish()
        if how == "fail":
            raise RuntimeError(how)

    async def slow(inputs: dict[str, Any]) -> dict[str, Any]:
        if how == "leave early":
            await asyncio.sleep(30)
        return {}

    async with start_scriptlet(main, blocks={"self::slow": slow}) as run:
        await run.wait_for_output("bytes")
        if how != "leave early":
            await run.finished()
    assert set(threading.enumerate()) == threads
    assert asyncio.all_tasks() == tasks
    assert list(tmp_path.iterdir()) == []
    assert print is printer


async def test_a_given_session_dir_is_kept_without_secrets(tmp_path: Path) -> None:
    directory = tmp_path / "session"
    definitions = {"token": {"json_schema": SECRET}}
    await run_scriptlet(lambda: {"b": b"123"}, {"token": "hunter2"}, inputs_def=definitions, session_dir=directory)
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in files] == [b"123"]


async def test_a_stuck_thread_does_not_hold_up_the_test() -> None:
    stop = threading.Event()

    def main(params: dict[str, Any], context: Context) -> None:
        context.output("begun", True)
        stop.wait(20)

    begin = time.monotonic()
    with pytest.raises(RunTimeoutError):
        await run_scriptlet(main, timeout=0.1)
    stop.set()
    assert time.monotonic() - begin < 5


async def test_a_fault_of_the_kit_is_raised_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Recorder, message: object) -> None:
        raise RuntimeError("cannot record")

    monkeypatch.setattr(Recorder, "take", fail)
    with pytest.raises(RuntimeError, match="cannot record"):
        await run_scriptlet(lambda: None)


def test_the_kit_needs_neither_pytest_nor_pandas() -> None:
    import subprocess
    import sys

    code = "import sys, oocana_async.testing; print({'pytest', 'pandas', 'aiomqtt', 'rich'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert found.stdout.strip() == "set()"
