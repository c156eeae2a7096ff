"""Flows on the real engine with our `python-executor` and the official one.

    python benchmarks/engine.py                    `oocana` from PATH; some minutes, most of them waiting for time-outs
    python benchmarks/engine.py --engine PATH      another engine
    python benchmarks/engine.py --only chain --only outputs
    python benchmarks/engine.py --smoke            a few seconds, ours alone; exit code 1 if a message is missing

Without an engine there is nothing to measure, which is no fault. Executors take turns, case by case; each case is run
by every one of them in each round. A run that is not through within its limit is stopped and reported as such, with
what had arrived. The broker is mosquitto, at its defaults where a case does not say `nodelay` (`set_tcp_nodelay true`).
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks._engine_flows import write_bursts, write_chain, write_outputs, write_row, write_values
from benchmarks._mosquitto import Mosquitto, NoBrokerError, nothing_measured
from benchmarks._official import OURS, executor_of, find_official, wire_arguments
from benchmarks._real_engine import EngineRun, run_on_engine
from benchmarks._report import Checks, Figures, machine


@dataclass(frozen=True)
class Case:
    """One flow.

    Attributes:
        title: what the figure says.
        write: writes the flow for a size.
        size, smoke: how many blocks or messages.
        read: takes the figure out of a run.
        counted: event, as `EngineRun` names it, of which there must be `times` for each unit of size.
        limit: seconds that a run may take.
        smaller: whether a smaller figure is the better one.
    """

    title: str
    write: Callable[[Path, int], Path]
    size: int
    smoke: int
    read: Callable[[EngineRun, int], float]
    counted: str
    times: int = 1
    nodelay: bool = False
    limit: float = 60.0
    smaller: bool = False


def per_block(run: EngineRun, size: int) -> float:
    """Return milliseconds from one end of a block to the next."""
    return 1000 * (run.last["BlockFinished"] - run.first["BlockFinished"]) / (size - 1)


def first_end(run: EngineRun, _size: int) -> float:
    """Return milliseconds from the start of the engine to the end of the first block."""
    return 1000 * run.first["BlockFinished"]


def rate(event: str, times: int = 1) -> Callable[[EngineRun, int], float]:
    """Return a reader of events per second, between the first and the last of them."""
    return lambda run, size: (size * times - 1) / (run.last[event] - run.first[event])


def blocks_rate(run: EngineRun, size: int) -> float:
    """Return blocks per second, from the start of the first one."""
    return size / (run.last["BlockFinished"] - run.first["BlockStarted"])


def chain(folder: Path, size: int) -> Path:
    """Write a chain of async blocks."""
    return write_chain(folder, size, kind="async")


def row(folder: Path, size: int) -> Path:
    """Write independent async blocks."""
    return write_row(folder, size, kind="async")


def fan(concurrency: int) -> Callable[[Path, int], Path]:
    """Return a writer of values for one node that takes some of them at once."""
    return lambda folder, size: write_values(folder, size, concurrency=concurrency)


def bursts(folder: Path, size: int) -> Path:
    """Write jobs of 90 outputs each."""
    return write_bursts(folder, size, 90, concurrency=50)


END, OUTPUT = "BlockFinished", "BlockOutput"
CASES = {
    "start": Case("start to the end of the first block, ms", chain, 2, 2, first_end, END, nodelay=True, smaller=True),
    "nodelay": Case("chain of 50, nodelay, ms per block", chain, 50, 10, per_block, END, nodelay=True, smaller=True),
    "chain": Case("chain of 50, broker at its defaults, ms per block", chain, 50, 5, per_block, END, smaller=True),
    "outputs": Case("outputs of one block per second", write_outputs, 50_000, 2_000, rate(OUTPUT), OUTPUT),
    "bursts": Case(
        "outputs of 1,000 jobs of 90 each, per second", bursts, 1_000, 50, rate(f"{OUTPUT} burst", 90),
        f"{OUTPUT} burst", 90,
    ),
    "fan10": Case("300 values, concurrency 10, blocks per second", fan(10), 300, 30, blocks_rate, f"{END} burst"),
    "fan50": Case("300 values, concurrency 50, blocks per second", fan(50), 300, 30, blocks_rate, f"{END} burst"),
    "fan10-nodelay": Case(
        "300 values, concurrency 10, nodelay, blocks per second", fan(10), 300, 30, blocks_rate, f"{END} burst",
        nodelay=True,
    ),
    "fan50-nodelay": Case(
        "300 values, concurrency 50, nodelay, blocks per second", fan(50), 300, 30, blocks_rate, f"{END} burst",
        nodelay=True,
    ),
    "row": Case("independent nodes ready at once, blocks per second", row, 3_000, 100, blocks_rate, END),
}  # fmt: skip


class Bench:
    """Runs cases with executors."""

    def __init__(self, engine: str, executors: dict[str, Path], folder: Path, checks: Checks) -> None:
        self._engine = engine
        self._executors = executors
        self._folder = folder
        self._checks = checks

    def warm_up(self) -> None:
        """Run a small flow with each executor: libraries fill their caches."""
        for name in self._executors:
            self._run(CASES["start"], 2, name)

    def case(self, case: Case, rounds: int, *, smoke: bool) -> None:
        """Measure one case and print it."""
        size = case.smoke if smoke else case.size
        figures = Figures()
        failed: dict[str, str] = {}
        for _ in range(rounds):
            for name in self._executors:
                if name in failed:
                    continue  # it would only cost another limit
                run = self._run(case, size, name)
                fault = _fault(case, size, run)
                if fault is None:
                    figures.add(name, case.read(run, size))
                else:
                    failed[name] = fault
                    self._checks.require(name != "ours", f"{case.title}: {fault}")
        print(f"\n{case.title}")
        for name in self._executors:
            print(f"  {name:<12}{failed[name] if name in failed else figures.show(name, ',.1f', '')}")
        for name in self._executors:
            if name != "ours" and name not in failed and "ours" not in failed:
                better = (name, "ours") if case.smaller else ("ours", name)
                print(f"  {'ours is better by':<20}{figures.ratio(*better)}")
        sys.stdout.flush()

    def _run(self, case: Case, size: int, name: str) -> EngineRun:
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as folder:
            place = Path(folder)
            home = self._folder / f"home-{name}"
            home.mkdir(exist_ok=True)
            flow = case.write(place / "flow", size)
            with Mosquitto(place / "broker", nodelay=case.nodelay) as broker:
                run = run_on_engine(self._engine, self._executors[name], broker, flow, home=home, limit=case.limit)
                return asyncio.run(run)


def _fault(case: Case, size: int, run: EngineRun) -> str | None:
    """Say what went wrong, None for nothing."""
    wanted, found = size * case.times, run.counts[case.counted]
    arrived = f"{found:,} of {wanted:,} arrived"
    if run.exit_code is None:
        return f"not finished within {case.limit:g} s; {arrived} {' '.join(run.errors)[:200]}"
    if run.exit_code != 0 or run.errors:
        return f"exit code {run.exit_code}; {arrived}; {' '.join(run.errors)[:500]}"
    twice = sum(count > 1 for count in run.finished.values())
    return arrived if found != wanted else f"{twice} jobs ended twice" if twice else None


def main(given: argparse.Namespace) -> int:
    """Measure and print; returns the exit code."""
    engine = given.engine or shutil.which("oocana")
    if engine is None:
        print("engine.py: no engine (`oocana` on PATH, or --engine PATH), nothing is measured")
        return 0
    executors = {"ours": OURS}
    if (official := find_official(given)) is not None:
        executors["official"] = executor_of(official)
    checks = Checks()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        bench = Bench(engine, executors, Path(folder), checks)
        bench.warm_up()
        for name in given.only or CASES:
            bench.case(CASES[name], 1 if given.smoke else given.rounds, smoke=given.smoke)
    return checks.exit_code


if __name__ == "__main__":
    options = wire_arguments(__doc__)
    options.add_argument("--engine", metavar="PATH", help="the engine (default: `oocana` on PATH)")
    options.add_argument("--only", action="append", choices=sorted(CASES), help="measure this case; may be repeated")
    try:
        sys.exit(main(options.parse_args()))
    except NoBrokerError as error:
        sys.exit(nothing_measured(error))
