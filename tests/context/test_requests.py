"""Questions to the engine: a question that is answered leaves nothing behind in its job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from oocana_async.context.messenger import JobMessenger
from oocana_async.errors import BlockExecuteException, ClosedError, RequestTimeoutError
from tests.context.bench import Bench, Child

pytestmark = pytest.mark.anyio


class Listeners:
    """Counts the callbacks that wait for the end or the cancellation of a job."""

    def __init__(self, messenger: JobMessenger, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting: list[object] = []
        for name in ("on_finished", "on_cancelled"):
            monkeypatch.setattr(messenger, name, self._counted(getattr(messenger, name)))

    def _counted(self, register: Callable[[Callable[[], object]], Callable[[], object]]) -> Any:
        def counted(callback: Callable[[], object]) -> Callable[[], object]:
            withdraw, mark = register(callback), object()
            self.waiting.append(mark)

            def withdraw_and_count() -> None:
                if mark in self.waiting:
                    self.waiting.remove(mark)
                withdraw()

            return withdraw_and_count

        return counted


@pytest.fixture
def listeners(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Listeners:
    return Listeners(bench.messenger, monkeypatch)


async def test_answered_query_no_longer_listens_to_its_job(bench: Bench, listeners: Listeners) -> None:
    reply = bench.context().query_block("a")
    assert len(listeners.waiting) == 2
    bench.exchange.answer((await bench.messages("BlockRequest"))[-1], {})
    await reply
    assert listeners.waiting == []


async def test_query_that_is_too_late_no_longer_listens_to_its_job(bench: Bench, listeners: Listeners) -> None:
    reply = bench.context().query_block("a")
    bench.clock.advance(30)
    with pytest.raises(RequestTimeoutError):
        await reply
    assert listeners.waiting == []


@pytest.mark.parametrize("error", [None, "bad"])
async def test_child_that_has_ended_is_no_longer_listened_for(
    bench: Bench, listeners: Listeners, error: str | None
) -> None:
    job = bench.context().run_block("self::crop", inputs={})
    assert listeners.waiting
    Child(bench, job)("BlockFinished", error=error)
    try:
        await job.finish()
    except BlockExecuteException:
        assert error is not None
    assert (listeners.waiting, bench.exchange.listeners, len(bench.exchange.pending)) == ([], {}, 0)


async def test_child_that_cannot_be_started_is_not_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ClosedError("the executor is leaving")

    monkeypatch.setattr(bench.exchange, "start_child", refuse)
    with pytest.raises(ClosedError, match="the executor is leaving"):
        bench.context().run_block("self::crop", inputs={})
    assert len(bench.exchange.pending) == 0


async def test_block_that_has_finished_starts_no_child(bench: Bench) -> None:
    context = bench.context()
    context.finish()
    context.run_block("self::crop", inputs={})
    assert await bench.messages("BlockRequest") == []
