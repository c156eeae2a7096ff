"""Runs a target with fake blocks and keeps all there is to see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oocana_async.engine import RunResult, open_session
from tests.engine.fake_executor import Behaviour, FakeHost, fake_host

Event = dict[str, Any]


class Watched:
    """A finished run: its result, its events, its host."""

    def __init__(self, result: RunResult, events: list[Event], host: FakeHost | None) -> None:
        self.result = result
        self.events = events
        self.host = host

    def of(self, *kinds: str) -> list[Event]:
        return [event for event in self.events if event["type"] in kinds]

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]


async def watch(target: Path, behaviours: Mapping[str, Behaviour] | None = None, **options: Any) -> Watched:
    """Run a target of a package with fake blocks; all directories are inside the package."""
    made: list[FakeHost] = []
    root = target.parents[2]
    places = {"temp_root": root, "session_dir": root / "session", "project_data": root / "data"}
    settings = {"host": fake_host(behaviours, made), **places, **options}
    async with open_session(target, **settings) as running, asyncio.timeout(15):
        events = [json.loads(event) async for event in running.raw_events(lossless=True)]
        result = await running.result()
    return Watched(result, events, made[0] if made else None)
