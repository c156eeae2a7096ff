"""The engine with the executor that it really uses."""

from __future__ import annotations

import asyncio
import builtins
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oocana_async.engine import RunResult, open_session, run_flow
from oocana_async.wire.messages import report
from tests.engine.flows import task, write_flow

pytestmark = pytest.mark.anyio

SLEEPER = """\
import asyncio
from pathlib import Path

async def main(params, context):
    try:
        await asyncio.sleep(300)
    finally:
        Path(context.session_dir, "cleaned").touch()
"""


def places(root: Path) -> dict[str, Any]:
    return {
        "temp_root": root,
        "session_dir": root / "session",
        "project_data": root / "data",
        "pkg_data_root": root / "data",
    }


def scriptlets(root: Path, **texts: str) -> None:
    directory = root / "flows" / "main"
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / f"{name}.py").write_text(text, encoding="utf-8")


async def run(root: Path, nodes: list[dict[str, Any]], **more: Any) -> RunResult:
    async with asyncio.timeout(20):
        return await run_flow(write_flow(root, nodes, **more), **places(root))


async def test_async_and_sync_blocks_pass_values(tmp_path: Path) -> None:
    scriptlets(
        tmp_path,
        a="async def main(params, context):\n    for n in range(3):\n        await context.output('out', n)\n",
        b="def main(params, context):\n    return {'out': params['x'] * 10}\n",
    )
    result = await run(tmp_path, [task("a"), task("b", {"x": ("a", "out")})], outputs={"res": ("b", "out")})
    assert result.outputs == {"res": [0, 10, 20]}


async def test_task_that_is_run_directly_runs_without_inputs_that_it_declares(tmp_path: Path) -> None:
    scriptlets(tmp_path, a="def main(params, context):\n    return {'out': list(params)}\n")
    manifest = tmp_path / "flows" / "main" / "task.oo.yaml"
    manifest.write_text(
        "executor: {name: python, options: {entry: a.py}}\ninputs_def: [{handle: x}]\noutputs_def: [{handle: out}]\n"
    )
    async with asyncio.timeout(20):
        assert (await run_flow(manifest, **places(tmp_path))).outputs == {"out": [[]]}


async def test_timeout_cancels_the_block(tmp_path: Path, timers: dict[float, Callable[[], None]]) -> None:
    scriptlets(tmp_path, a=SLEEPER.replace("try:", "context.report_log('up')\n    try:"))
    async with open_session(write_flow(tmp_path, [task("a", timeout=60)]), **places(tmp_path)) as session:
        async for event in session.events():
            if isinstance(event, report.BlockLog):
                timers[60]()
        assert (await session.result()).cause == "Timeout"
    assert (tmp_path / "session" / "cleaned").exists()


async def test_failing_block_cancels_the_others(tmp_path: Path) -> None:
    up = SLEEPER.replace("try:", "context.output('out', 'up')\n    try:")
    scriptlets(tmp_path, a=up, b="def main(params, context):\n    raise ValueError('boom')\n")
    result = await run(tmp_path, [task("a"), task("b", {"x": ("a", "out")})])
    assert result.cause is not None
    assert "ValueError: boom" in result.cause
    assert (tmp_path / "session" / "cleaned").exists()


async def test_leaving_cancels_blocks_and_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    scriptlets(tmp_path, a=SLEEPER.replace("try:", "context.report_log('up')\n    try:"))
    async with open_session(write_flow(tmp_path, [task("a")]), **places(tmp_path)) as session:
        async for event in session.events():
            if isinstance(event, report.BlockLog):
                break
    assert (tmp_path / "session" / "cleaned").exists()
    pools = ("asyncio_", "AnyIO")  # of the loop, with which they end
    left = [thread.name for thread in set(threading.enumerate()) - before if not thread.name.startswith(pools)]
    assert left == []


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_stuck_block_and_its_thread_share_one_deadline(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oocana_async.engine.hosts.in_process.LEAVING", 0.3)
    release = threading.Event()
    monkeypatch.setattr(builtins, "oocana_test_release", release, raising=False)
    scriptlets(tmp_path, a=f"{kind} main(params, context):\n    print('up')\n    oocana_test_release.wait(30)\n")
    async with open_session(write_flow(tmp_path, [task("a")]), **places(tmp_path)) as session:
        async for event in session.events():
            if isinstance(event, report.BlockLog):
                break
        cancelled_at = asyncio.get_running_loop().time()
    took = asyncio.get_running_loop().time() - cancelled_at
    release.set()
    assert took < 3  # each of them has 5 s of its own elsewhere


async def test_child_block_answers_its_parent(tmp_path: Path) -> None:
    child = tmp_path / "tasks" / "child"
    child.mkdir(parents=True)
    (child / "task.oo.yaml").write_text(
        "executor: {name: python, options: {entry: main.py}}\n"
        "inputs_def: [{handle: x}]\noutputs_def: [{handle: out}]\n",
        encoding="utf-8",
    )
    (child / "main.py").write_text(
        "def main(params, context):\n    return {'out': params['x'] + 1}\n", encoding="utf-8"
    )
    scriptlets(
        tmp_path,
        a=(
            "async def main(params, context):\n"
            "    job = context.run_block('self::child', inputs={'x': 1})\n"
            "    got = {}\n"
            "    job.add_output_callback(got.update)\n"
            "    await job.finish()\n"
            "    return {'out': got}\n"
        ),
    )
    result = await run(tmp_path, [task("a")], outputs={"res": ("a", "out")})
    assert result.raise_for_status().output("res") == {"out": 2}


async def test_many_blocks_run_in_many_sessions_at_once(tmp_path: Path) -> None:
    async def one(number: int) -> list[Any]:
        root = tmp_path / str(number)
        scriptlets(root, s=f"def main(params, context):\n    return {{'out': (params.get('x') or {number}) + 1}}\n")
        executor = {"name": "python", "options": {"entry": "s.py"}}
        nodes = [task("n0", executor=executor)]
        nodes += [task(f"n{i}", {"x": (f"n{i - 1}", "out")}, executor=executor) for i in range(1, 50)]
        return (await run(root, nodes, outputs={"res": ("n49", "out")})).raise_for_status().outputs["res"]

    assert await asyncio.gather(*(one(number) for number in (100, 200, 300))) == [[150], [250], [350]]


async def test_sessions_at_once_import_from_their_own_packages(tmp_path: Path) -> None:
    before = list(sys.path)

    async def one(number: int) -> Any:
        root = tmp_path / str(number)
        scriptlets(root, a="import common\ndef main(params, context):\n    return {'out': common.NUMBER}\n")
        (root / "common.py").write_text(f"NUMBER = {number}", encoding="utf-8")
        return (await run(root, [task("a")], outputs={"res": ("a", "out")})).raise_for_status().output("res")

    assert await asyncio.gather(*(one(number) for number in range(4))) == [0, 1, 2, 3]
    assert sys.path == before
