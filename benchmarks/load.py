"""Floods between a `python-executor` and an engine that takes 15,000 messages a second, the broker at its defaults.

    python benchmarks/load.py             a minute or two
    python benchmarks/load.py --smoke     a few seconds with a tenth or less of everything
    python benchmarks/load.py --executor PATH     another `python-executor`

The broker drops what is more than 1,000 messages in front of a subscriber, and the real engine takes 15,000 to 25,000 a
second; the stub engine keeps to that pace. Each case checks that everything was taken, in order, with one BlockFinished
per job; exit code 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks._mosquitto import Mosquitto, NoBrokerError, nothing_measured
from benchmarks._official import OURS
from benchmarks._report import Checks, machine
from tests.stub.engine import StubEngine
from tests.stub.parsing import BlockFinished

PACE = 15_000
LIMIT = 120.0

OUTPUTS = "async def main(params, context):\n    for n in range(params['n']):\n        context.output('out', n)\n"
SUM = "async def main(params):\n    return {'out': params['n']}\n"
PREVIEWS = """
def main(params, context):
    for n in range(params["n"]):
        context.preview({"type": "text", "data": f"{n}:" + "x" * 100_000})
"""
LINES = "def main(params):\n    for n in range(params['n']):\n        print(n)\n"


def _faults(engine: StubEngine) -> list[str]:
    """Say what the engine did not understand, or got too often."""
    second = [message for message in engine.dropped if isinstance(message, BlockFinished)]
    found = [f"{len(engine.rejected)} messages were rejected"] if engine.rejected else []
    return [*found, f"{len(second)} jobs ended twice"] if second else found


async def outputs(engine: StubEngine, count: int) -> list[str]:
    """Outputs of one block."""
    job = engine.start(engine.write_block(OUTPUTS), {"n": count})
    await job.end(LIMIT)
    values = [value for _, value in job.outputs]
    return [] if values == list(range(count)) else [f"{len(values):,} of {count:,} outputs, or not in order"]


async def bursts(engine: StubEngine, count: int) -> list[str]:
    """Jobs of 90 outputs each, all at once."""
    block = engine.write_block(OUTPUTS)
    jobs = [engine.start(block, {"n": 90}) for _ in range(count)]
    for job in jobs:
        await job.end(LIMIT)
    bad = sum([value for _, value in job.outputs] != list(range(90)) for job in jobs)
    return [f"{bad} of {count} jobs have lost outputs, or their order"] if bad else []


async def nodes(engine: StubEngine, count: int) -> list[str]:
    """Independent nodes, all ready at once."""
    block = engine.write_block(SUM)
    jobs = [engine.start(block, {"n": n}) for n in range(count)]
    ends = [await job.end(LIMIT) for job in jobs]
    bad = sum(end.result != {"out": n} for n, end in enumerate(ends))
    return [f"{bad} of {count} nodes have no or a wrong result"] if bad else []


async def previews(engine: StubEngine, count: int) -> list[str]:
    """Previews of 100 kB."""
    job = engine.start(engine.write_block(PREVIEWS), {"n": count})
    await job.end(LIMIT)
    numbers = [preview["data"].partition(":")[0] for preview in job.previews]
    return [] if numbers == [str(n) for n in range(count)] else [f"{len(numbers)} of {count} previews"]


async def lines(engine: StubEngine, count: int) -> list[str]:
    """Lines of a block's log, for a reader of `report` that keeps pace."""
    job = engine.start(engine.write_block(LINES), {"n": count})
    await job.end(LIMIT)
    await engine.until(lambda: engine.reports[-1]["type"] == "BlockFinished", LIMIT)
    found = [event["log"] for event in engine.reports if event["type"] == "BlockLog"]
    return [] if found == [str(n) for n in range(count)] else [f"{len(found):,} of {count:,} lines, or not in order"]


Case = Callable[[StubEngine, int], Awaitable[list[str]]]
CASES: list[tuple[Case, int, int]] = [
    (outputs, 100_000, 5_000),
    (bursts, 1_000, 50),
    (nodes, 3_000, 1_500),
    (previews, 1_000, 100),
    (lines, 10_000, 10_000),
]


async def run(case: Case, count: int, executor: Path, folder: Path) -> tuple[float, list[str]]:
    """Run a case with a broker, an engine and an executor of its own; returns seconds and faults."""
    with Mosquitto(folder / "broker", nodelay=False) as broker:
        front = case is lines  # a reader of `report` in this process would share its time with the engine
        async with StubEngine(
            broker.address, folder / "engine", command=(str(executor),), pace=PACE, front=front
        ) as engine:
            await engine.ready()
            started = time.monotonic()
            try:
                faults = await case(engine, count)
            except TimeoutError:
                faults = [f"not finished within {LIMIT:g} s"]
            seconds = time.monotonic() - started
            await engine.finish_session()
            return seconds, [*faults, *_faults(engine)]


def main(given: argparse.Namespace) -> int:
    """Run all cases; returns the exit code."""
    checks = Checks()
    print(machine())
    for case, full, smoke in CASES:
        count = smoke if given.smoke else full
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            seconds, faults = asyncio.run(run(case, count, given.executor, Path(folder)))
        print(f"{count:>9,}  {(case.__doc__ or '').rstrip('.'):<60}{seconds:7.1f} s", flush=True)
        for fault in faults:
            checks.require(False, f"{case.__name__}: {fault}")
    return checks.exit_code


if __name__ == "__main__":
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    options.add_argument("--smoke", action="store_true", help="a few seconds")
    options.add_argument("--executor", type=Path, default=OURS, metavar="PATH", help="the python-executor to flood")
    try:
        sys.exit(main(options.parse_args()))
    except NoBrokerError as error:
        sys.exit(nothing_measured(error))
