"""Many messages in front of an engine that takes its time, with a broker at its defaults: all arrive, in order.

The broker drops what is more than 1,000 messages in front of a subscriber. The full sizes are in
`benchmarks/load.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.executor.conftest import StartEngine
from tests.stub.parsing import BlockFinished

if TYPE_CHECKING:
    from tests.conftest import StartBroker
    from tests.stub.engine import StubEngine

pytestmark = [pytest.mark.anyio, pytest.mark.broker]


@pytest.fixture
async def slow_engine(start_broker: StartBroker, start_engine: StartEngine) -> StubEngine:
    """An engine that takes 10,000 messages a second, behind a broker at its defaults."""
    return await start_engine(address=start_broker().address, pace=10_000)


async def test_many_outputs_of_one_block(slow_engine: StubEngine) -> None:
    job = await slow_engine.run(
        "def main(params, context):\n    for n in range(10_000):\n        context.output('out', n)"
    )
    assert [value for _, value in job.outputs] == list(range(10_000))
    assert [message for message in job.messages if isinstance(message, BlockFinished)] == job.messages[-1:]
    assert (slow_engine.rejected, slow_engine.dropped) == ([], [])


@pytest.mark.parametrize("reporter", [True, False])
async def test_many_jobs_with_many_outputs(
    start_broker: StartBroker, start_engine: StartEngine, *, reporter: bool
) -> None:
    engine = await start_engine(address=start_broker().address, pace=10_000, reporter=reporter)
    block = engine.write_block(
        "async def main(params, context):\n    for n in range(90):\n        context.output('out', n)"
    )
    await engine.ready()
    jobs = [engine.start(block) for _ in range(60)]
    for job in jobs:
        await job.end()
    await engine.finish_session()
    for job in jobs:
        assert [value for _, value in job.outputs] == list(range(90))
        assert len(job.messages) == 91 + sum(type(one).__name__ == "QueryDownstream" for one in job.messages)
    assert [one for one in engine.dropped if isinstance(one, BlockFinished)] == []


async def test_many_nodes_ready_at_once(slow_engine: StubEngine) -> None:
    """The inputs go the other way, where the broker drops as well."""
    block = slow_engine.write_block("async def main(params):\n    return {'out': params['n']}")
    await slow_engine.ready()
    jobs = [slow_engine.start(block, {"n": n, "ballast": "x" * 1000}) for n in range(1500)]
    ends = [await job.end() for job in jobs]
    assert [end.result for end in ends] == [{"out": n} for n in range(1500)]
    assert {job.readies for job in jobs} == {1}


async def test_many_large_previews(slow_engine: StubEngine) -> None:
    job = await slow_engine.run(
        "def main(params, context):\n    for n in range(100):\n"
        "        context.preview({'type': 'text', 'data': f'{n}:' + 'x' * 100_000})"
    )
    assert [preview["data"].partition(":")[0] for preview in job.previews] == [str(n) for n in range(100)]


async def test_log_lines_reach_a_reader_that_keeps_pace(slow_engine: StubEngine) -> None:
    job = await slow_engine.run("def main():\n    for n in range(10_000):\n        print(n)")
    assert (await job.end()).error is None
    await slow_engine.until(lambda: slow_engine.reports[-1]["type"] == "BlockFinished")
    lines = [event["log"] for event in slow_engine.reports if event["type"] == "BlockLog"]
    assert lines == [str(n) for n in range(10_000)]
