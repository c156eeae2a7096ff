"""The documented calls have the documented types; a type checker refuses the wrong ones (both checked by mypy)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, assert_type
from unittest.mock import Mock

import pytest

from oocana_async import BlockJob, Context, Reply, SyncContext, run_flow
from oocana_async.compat import BlockInfo, HandleDefDict, Mainframe
from tests.context.bench import Bench

pytestmark = pytest.mark.anyio


async def documented(context: Context) -> None:
    assert_type(context.output("out", 1), Awaitable[None])
    assert_type(
        context.output("out", 1, to_node=[{"node_id": "a", "input_handle": "b"}], to_flow=None), Awaitable[None]
    )
    assert_type(context.outputs({"out": 1}), Awaitable[None])
    assert_type(context.preview({"type": "text", "data": "a"}, id="b"), Awaitable[None])
    assert_type(context.report_progress(50), Awaitable[None])
    assert_type(context.report_log("a", stdio="stderr"), Awaitable[None])
    assert_type(context.oomol_token(), Reply[str])
    assert_type(context.query_block("self::a", deadline=1), Reply[dict[str, Any]])
    assert_type(context.internal.update_node_weight("a", 2), Reply[None])
    assert_type(context.inputs_def["width"]["handle"], Any)
    child = context.run_block("self::a", inputs={"w": 1})
    assert_type(child, BlockJob)
    assert_type(child.finish(), Reply[None])
    assert_type(await context.flush(), bool)
    await context.output("out", 1)
    assert_type(context.finish(result={"out": 1}), Awaitable[None])


def documented_sync(context: SyncContext) -> None:
    assert_type(context.output("out", 1), None)
    assert_type(context.oomol_token().result(), str)
    assert_type(context.flush(timeout=1), bool)
    assert_type(context.done(), None)


def made_by_hand(info: BlockInfo, mainframe: Mainframe, directory: Path) -> list[Context | SyncContext]:
    outputs: dict[str, HandleDefDict] = {"out": {"handle": "out"}}
    async_one = Context({}, info, mainframe, {}, outputs, "/session")
    assert_type(async_one, Context)
    sync_one = SyncContext({}, info, Mock(), None, None, directory)
    assert_type(sync_one.done(), None)
    keywords = Context(
        inputs={"a": 1},
        blockInfo=info.block_dict(),
        mainframe=Mock(),
        store={},
        inputs_def={},
        outputs_def=outputs,
        session_dir="/session",
        tmp_dir="/tmp",
        package_name="tools",
        pkg_dir="/data",
    )
    named = SyncContext(inputs={}, blockInfo=info, mainframe=mainframe, store={}, outputs=None, session_dir="/session")
    return [async_one, sync_one, keywords, named, Context(), SyncContext(inputs={}, outputs_def=outputs)]


def wrongly_made_by_hand(info: BlockInfo, mainframe: Mainframe) -> None:
    Context({})  # type: ignore[call-overload]
    Context(mainframe=mainframe)  # type: ignore[call-overload]
    Context(blockInfo=info, session_dir="/session")  # type: ignore[call-overload]
    Context({}, info, mainframe, {}, None)  # type: ignore[call-overload]
    Context({}, info, "localhost:1883", {}, None, "/session")  # type: ignore[call-overload]
    Context({}, "J1", mainframe, {}, None, "/session")  # type: ignore[call-overload]
    Context({}, info, mainframe, {}, None, "/session", "/tmp")  # type: ignore[call-overload]
    SyncContext({}, info, mainframe, 7, None, "/session")  # type: ignore[call-overload]
    SyncContext({}, info, mainframe, {}, [], "/session")  # type: ignore[call-overload]
    SyncContext(store={})  # type: ignore[call-overload]
    SyncContext(outputs={}, outputs_def={})  # type: ignore[call-overload]


async def wrong(context: Context) -> None:
    context.outputs_def["more"] = {}  # type: ignore[index]
    context.output("out")  # type: ignore[call-arg]
    context.output(1, 2)  # type: ignore[arg-type]
    context.output("out", 1, to_node="a")  # type: ignore[arg-type]
    context.finish({"out": 1})  # type: ignore[call-arg]
    context.report_progress("half")  # type: ignore[arg-type]
    context.report_log("a", "b", "c")  # type: ignore[call-arg]
    context.run_block("a")  # type: ignore[call-arg]
    context.node_id = "a"  # type: ignore[misc]
    context.nothing  # type: ignore[attr-defined]  # noqa: B018
    await run_flow()  # type: ignore[call-arg]


async def test_documented_calls_work(bench: Bench) -> None:
    await documented(bench.context())
    assert len(await bench.messages("BlockOutput")) == 3


async def test_documented_sync_calls_work(bench: Bench) -> None:
    await asyncio.to_thread(documented_sync, bench.sync_context())
    assert len(await bench.messages("BlockFinished")) == 1


@pytest.mark.filterwarnings("ignore:this Context belongs to no job")
def test_documented_ways_to_make_one_work(tmp_path: Path) -> None:
    made = made_by_hand(BlockInfo(session_id="S1", job_id="J1", stacks=[]), Mock(), tmp_path)
    assert [one.job_id for one in made] == ["J1"] * 4 + ["desk"] * 2
