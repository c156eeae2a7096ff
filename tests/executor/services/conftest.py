"""An executor whose services are processes of their own, and a small engine for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oocana_async.executor.core import Executor
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.scope import ExecutorScope, ExecutorSession
from oocana_async.transport.memory import MemoryTransport
from tests.executor.small_engine import Engine, running_engine


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine for session S."""
    async with running_engine(tmp_path / "service") as one:
        yield one


@pytest.fixture
async def executor(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Executor]:
    """An executor whose services are processes on pipes."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    session = ExecutorSession("S", tmp_path)
    async with Runtime() as runtime, Executor(MemoryTransport(engine.bus), session, runtime) as one:
        one.add_scope(ExecutorScope("I", None, "workspace", str(tmp_path / "data"), tmp_path))
        yield one
