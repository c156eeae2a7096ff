"""From which topic the events of child blocks are taken."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from oocana_async.executor.child_events import ChildEvents, SessionTopic
from oocana_async.transport.base import Subscription

pytestmark = pytest.mark.anyio

COMMON = {"session_id": "S", "job_id": "child", "stacks": []}
OUTPUT = {**COMMON, "type": "BlockOutput", "handle": "out", "output": 1}


async def never() -> Subscription:
    raise NotImplementedError


async def with_session_topic() -> tuple[ChildEvents, list[Any]]:
    """Make a listener to a child of the real engine."""
    events, seen = ChildEvents("S"), list[Any]()
    events.session_topic = SessionTopic(never, events, asyncio.get_running_loop())
    events.add("child", seen.append)
    return events, seen


async def test_output_of_a_task_child_that_is_on_both_topics_comes_once() -> None:
    events, seen = await with_session_topic()
    events.feed_session(msgspec.json.encode(OUTPUT))
    events.feed_report(msgspec.json.encode(OUTPUT))
    assert len(seen) == 1


async def test_output_of_a_subflow_child_comes_from_the_report() -> None:
    events, seen = await with_session_topic()
    start = {**COMMON, "type": "SubflowBlockStarted", "block_path": "p", "create_at": 0}
    events.feed_report(msgspec.json.encode(start))
    events.feed_report(msgspec.json.encode(OUTPUT))
    assert len(seen) == 2
