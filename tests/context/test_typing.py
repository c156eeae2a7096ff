"""The documented calls have the documented types; a type checker refuses the wrong ones (both checked by mypy)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, assert_type

import pytest

from oocana_async import BlockJob, Context, Reply, SyncContext, run_flow
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


async def wrong(context: Context) -> None:
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
