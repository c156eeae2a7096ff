"""Cost of a block in the embedded engine, beside other schedulers running the same functions in one run.

    python benchmarks/embedded.py             all of it, some minutes; installs the opponents into .benchmarks-venv
    python benchmarks/embedded.py --smoke     a few seconds, no opponents; exit code 1 if a value is missing

The opponents are LangGraph (`ainvoke`, and `Send` for the fan), Hamilton's async driver, dask.distributed and Prefect.
Each round measures every case on every side once, so that what else the machine does hits all of them alike; ratios are
taken within a round. Running and loading are measured apart: all sides run what they have loaded, built or compiled
before. A run of ours counts from `run_flow` to its result, so the start of a session is in it. Processor time (cpu) is
that of the whole process, without the server that Prefect starts beside itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from benchmarks._embedded_flows import write_chain, write_fan, write_pipeline, write_row
from benchmarks._report import MEBIBYTE, machine, resident_bytes
from benchmarks._rivals import Rival, RivalError, find_python
from oocana_async.engine.api import RunResult, run_flow
from oocana_async.engine.target import LoadedTarget, load_target

KINDS = ("async", "sync")
OURS = "oocana_async"
CONCURRENCY = 16


class Opponent(NamedTuple):
    """What an opponent needs: an environment, what must be importable there, and what to install otherwise."""

    script: str
    environment: str
    modules: tuple[str, ...]
    packages: tuple[str, ...]


OPPONENTS = {
    "langgraph": Opponent("_rival_langgraph.py", "langgraph", ("langgraph.graph",), ("langgraph>=1,<2",)),
    "hamilton": Opponent("_rival_hamilton.py", "hamilton", ("hamilton.async_driver",), ("sf-hamilton",)),
    "dask": Opponent("_rival_dask.py", "schedulers", ("distributed",), ("distributed",)),
    "prefect": Opponent(
        "_rival_prefect.py",
        "schedulers",
        ("prefect", "prefect.server.api.server"),
        # FastAPI 0.150 and later have lost a keyword that Prefect 3.8 uses.
        ("prefect>=3", "fastapi<0.150"),
    ),
}
QUIET = {
    "DO_NOT_TRACK": "1",
    "HAMILTON_TELEMETRY_ENABLED": "false",
    "LANGSMITH_TRACING": "false",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
}
CHAIN, FAN, ROW, LOAD = "chain", "independent values into one node", "independent nodes", "loading"
LANGGRAPH, HAMILTON = "LangGraph", "Hamilton, async driver"
GOALS = {
    (CHAIN, LANGGRAPH): 1.5,
    (CHAIN, "dask, awaited one by one"): 10,
    (CHAIN, "Prefect"): 50,
    (FAN, LANGGRAPH): 2,
    (FAN, "dask, map"): 3,
}
"""How many times faster than an opponent we want to be, by case and side."""


class CheckError(Exception):
    """A run did not do what it should have done."""


@dataclass(frozen=True)
class Sizes:
    """How much to measure."""

    rounds: int = 3
    chain: int = 1_000
    fan: int = 1_200
    dask_chain: int = 100
    prefect: int = 30
    flat: Sequence[int] = (100, 1_000, 10_000)
    load: Sequence[int] = (300, 10_000)
    values: int = 100_000


SMOKE = Sizes(rounds=1, chain=50, fan=200, flat=(50, 200), load=(50, 500), values=2_000)


class Cost(NamedTuple):
    """Seconds of one run, of the clock and of the processor."""

    seconds: float
    cpu: float


@dataclass
class Figures:
    """Cost per block by case and side, one entry per round."""

    rounds: dict[tuple[str, str], list[Cost]] = field(default_factory=dict)

    def add(self, case: str, side: str, cost: Cost, blocks: int) -> None:
        """Note what one run took."""
        one = Cost(cost.seconds / blocks, cost.cpu / blocks)
        self.rounds.setdefault((case, side), []).append(one)

    def show(self) -> None:
        """Print all sides of all cases, in milliseconds per block or node."""
        for case in dict.fromkeys(case for case, _ in self.rounds):
            print(f"\n{case}")
            for side in [side for one, side in self.rounds if one == case]:
                self._show(case, side)

    def _show(self, case: str, side: str) -> None:
        costs, ours = self.rounds[case, side], self.rounds[case, OURS]
        clock, cpu = ([cost[index] * 1000 for cost in costs] for index in (0, 1))
        line = f"  {side:26} {_middle(clock, '8.3f')} ms, cpu {_middle(cpu, '.3f')}"
        if side != OURS:
            pairs = list(zip(costs, ours, strict=True))
            ratios, by_cpu = ([other[index] / mine[index] for other, mine in pairs] for index in (0, 1))
            goal = GOALS.get((case.partition(", ")[0], side))
            line += f"   {_middle(ratios, '.2f')} x, by cpu {_middle(by_cpu, '.2f')} x"
            line += f"; to reach: {goal:g} x" if goal else ""
        print(line, flush=True)


def _middle(values: Sequence[float], form: str) -> str:
    middle = f"{statistics.median(values):{form}}"
    return middle if len(values) == 1 else f"{middle} ({min(values):{form}} to {max(values):{form}})"


# -- our side ----------------------------------------------------------------------------------------------------------


class Bench:
    """Flows on disk, loaded once and run as often as wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[str, LoadedTarget] = {}

    def chain(self, n: int, kind: str) -> Cost:
        """Run a chain."""
        name = f"chain-{kind}-{n}"
        target = self._loaded.get(name) or self._load(name, write_chain(self._at(name), n, kind=kind))
        cost, result = self._run(target, blocks=n)
        _check(result.output("result") == n, f"a chain of {n} blocks gave {result.output('result')}")
        return cost

    def fan(self, n: int, kind: str) -> Cost:
        """Run one producer and one node that takes its values."""
        name = f"fan-{kind}-{n}"
        target = self._loaded.get(name)
        if target is None:
            target = self._load(name, write_fan(self._at(name), n, kind=kind, concurrency=CONCURRENCY))
        cost, result = self._run(target, blocks=n + 1)
        _check(sorted(result.outputs["result"]) == list(range(1, n + 1)), f"not all of {n} values came out of a fan")
        return cost

    def row(self, n: int, kind: str) -> Cost:
        """Run independent nodes."""
        name = f"row-{kind}-{n}"
        target = self._loaded.get(name) or self._load(name, write_row(self._at(name), n, kind=kind))
        cost, result = self._run(target, blocks=n)
        _check(result.output("result") == n, f"the last of {n} nodes gave {result.output('result')}")
        return cost

    def load(self, n: int) -> Cost:
        """Load a chain, files and all."""
        manifest = write_chain(self._at(f"load-{n}"), n, kind="async")
        start, cpu = time.perf_counter(), time.process_time()
        load_target(manifest)
        return Cost(time.perf_counter() - start, time.process_time() - cpu)

    def _at(self, name: str) -> Path:
        return self._folder / "flows" / name

    def _load(self, name: str, manifest: Path) -> LoadedTarget:
        target = self._loaded[name] = load_target(manifest)
        return target

    def _run(self, target: LoadedTarget, *, blocks: int) -> tuple[Cost, RunResult]:
        cost, result = _timed(target, temp_root=self._folder / "temp", keep=blocks)
        _check(result.run_count == blocks, f"{result.run_count} of {blocks} blocks ran")
        unended = sum(run.finished_at is None for run in result.runs)
        _check(unended == 0, f"{unended} of {blocks} blocks have no end")
        return cost, result


def _timed(target: LoadedTarget, *, temp_root: Path, keep: int) -> tuple[Cost, RunResult]:
    async def run() -> tuple[Cost, RunResult]:
        start, cpu = time.perf_counter(), time.process_time()
        result = await run_flow(target, temp_root=temp_root, keep=keep)
        return Cost(time.perf_counter() - start, time.process_time() - cpu), result

    cost, result = anyio.run(run)
    result.raise_for_status()
    return cost, result


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise CheckError(otherwise)


# -- beside the opponents ----------------------------------------------------------------------------------------------


def measure(bench: Bench, sizes: Sizes, rivals: Mapping[str, Rival]) -> Figures:
    """Measure chains, fans and rows on all sides, round by round."""
    figures = Figures()
    for kind in KINDS:  # the first runs import what is imported late
        bench.chain(20, kind)
        for rival in rivals.values():
            rival.ask(case="chain", kind=kind, n=5)
    for number in range(sizes.rounds):
        print(f"round {number + 1} of {sizes.rounds}", file=sys.stderr, flush=True)
        for kind in KINDS:
            _measure_chain(figures, bench, sizes, rivals, kind)
            _measure_fan(figures, bench, sizes, rivals, kind)
        for n in sizes.load:
            _measure_load(figures, bench, n, rivals)
    return figures


def _measure_chain(figures: Figures, bench: Bench, sizes: Sizes, rivals: Mapping[str, Rival], kind: str) -> None:
    case = f"{CHAIN}, {kind}"
    figures.add(case, OURS, bench.chain(sizes.chain, kind), sizes.chain)
    for name, side in (("langgraph", LANGGRAPH), ("hamilton", HAMILTON)):
        if rival := rivals.get(name):
            figures.add(case, side, _ask(rival, "chain", kind, sizes.chain), sizes.chain)
    if dask := rivals.get("dask"):
        n = sizes.dask_chain
        figures.add(case, "dask, awaited one by one", _ask(dask, "chain", kind, n), n)
        figures.add(case, "dask, chain submitted", _ask(dask, "submitted", kind, n), n)
    if prefect := rivals.get("prefect"):
        figures.add(case, "Prefect", _ask(prefect, "chain", kind, sizes.prefect), sizes.prefect)


def _measure_fan(figures: Figures, bench: Bench, sizes: Sizes, rivals: Mapping[str, Rival], kind: str) -> None:
    into_one, row = f"{FAN}, {kind}", f"{ROW}, {kind}"
    figures.add(into_one, OURS, bench.fan(sizes.fan, kind), sizes.fan)
    figures.add(row, OURS, bench.row(sizes.fan, kind), sizes.fan)
    if langgraph := rivals.get("langgraph"):
        figures.add(into_one, LANGGRAPH, _ask(langgraph, "fan", kind, sizes.fan), sizes.fan)
    for name, side, n in (("dask", "dask, map", sizes.fan), ("prefect", "Prefect, map", sizes.prefect)):
        if rival := rivals.get(name):
            cost = _ask(rival, "fan", kind, n)
            for case in (into_one, row):
                figures.add(case, side, cost, n)


def _measure_load(figures: Figures, bench: Bench, n: int, rivals: Mapping[str, Rival]) -> None:
    case = f"{LOAD}, {n} nodes"
    figures.add(case, OURS, bench.load(n), n)
    if langgraph := rivals.get("langgraph"):
        figures.add(case, "LangGraph, compile", _ask(langgraph, "load", "async", n), n)


def _ask(rival: Rival, case: str, kind: str, n: int) -> Cost:
    answer: dict[str, Any] = rival.ask(case=case, kind=kind, n=n)
    _check(answer["result"] == n, f"{rival.name}: {case} of {n} gave {answer['result']}")
    return Cost(answer["seconds"], answer["cpu"])


@contextmanager
def opponents(python: str | None) -> Iterator[dict[str, Rival]]:
    """Start the opponents that can be had; say which cannot, and why."""
    with ExitStack() as stack:
        running = {}
        for name, opponent in OPPONENTS.items():
            try:
                interpreter = python or find_python(opponent.environment, opponent.modules, opponent.packages)
                rival = stack.enter_context(Rival(name, interpreter, opponent.script, env=QUIET))
                rival.ask(case="chain", kind="sync", n=1)
                running[name] = rival
            except RivalError as error:
                print(f"{name} is left out: {error}", flush=True)
        yield running


# -- by ourselves ------------------------------------------------------------------------------------------------------


def show_flatness(bench: Bench, sizes: Sizes) -> None:
    """Print the cost of a block of short and long chains, the start of a session taken off."""
    print("\ncost per block by length of the chain (async, without the start of the session)")
    starts: list[Cost] = []
    costs: dict[int, list[Cost]] = {n: [] for n in sizes.flat}
    for _ in range(sizes.rounds):
        starts.append(_mean_chain(bench, 1))
        for n in sizes.flat:
            costs[n].append(_per_block(_mean_chain(bench, n), starts[-1], n))
    for n, found in costs.items():
        clock, cpu = ([one[index] * 1000 for one in found] for index in (0, 1))
        print(f"  {n:6} blocks  {_middle(clock, '.3f')} ms/block, cpu {_middle(cpu, '.3f')}")
    pairs = zip(costs[sizes.flat[-1]], costs[sizes.flat[0]], strict=True)
    ratios = [longest.cpu / shortest.cpu for longest, shortest in pairs]
    print(f"  longest to shortest by cpu: {_middle(ratios, '.2f')} x; ", end="")
    print(f"a session with one block: {_middle([one.seconds * 1000 for one in starts], '.1f')} ms", flush=True)


def _mean_chain(bench: Bench, n: int) -> Cost:
    """Return the mean cost of a chain; short ones are run more often."""
    runs = [bench.chain(n, "async") for _ in range(max(1, min(20, 1_000 // n)))]
    return Cost(statistics.mean(one.seconds for one in runs), statistics.mean(one.cpu for one in runs))


def _per_block(whole: Cost, start: Cost, n: int) -> Cost:
    return Cost((whole.seconds - start.seconds) / (n - 1), (whole.cpu - start.cpu) / (n - 1))


def show_pipeline(sizes: Sizes) -> None:
    """Print rate and memory of many values through three nodes; in a process of its own, so its memory is its own."""
    command = [sys.executable, __file__, "--pipeline", str(sizes.values)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    _check(done.returncode == 0, f"the pipeline of {sizes.values} values failed with exit code {done.returncode}")
    found = json.loads(done.stdout)
    _check(found["total"] == sum(range(1, sizes.values + 1)), f"the pipeline of {sizes.values} values lost some")
    samples = [sample / MEBIBYTE for sample in found["samples"]]
    print(f"\n{sizes.values} values through three nodes, at most 1,000 under way: {found['seconds']:.1f} s, ", end="")
    print(f"{2 * sizes.values / found['seconds']:.0f} blocks/s")
    print(
        f"  resident set in MiB: before {found['before'] / MEBIBYTE:.1f}, after 1,000 values {samples[0]:.1f}, ", end=""
    )
    print(f"at most {max(samples):.1f}, at the end {samples[-1]:.1f}")


def run_pipeline(n: int) -> None:
    """Run the pipeline in this process and print what was seen, as JSON."""
    with tempfile.TemporaryDirectory(prefix="oocana-bench-") as folder:
        target = load_target(write_pipeline(Path(folder, "flows", "pipeline"), n))
        before = resident_bytes()
        cost, result = _timed(target, temp_root=Path(folder, "temp"), keep=100)
        _check(result.run_count == 2 * n + 1, f"{result.run_count} of {2 * n + 1} blocks ran")
        print(json.dumps({"seconds": cost.seconds, "before": before, **result.output("result")}))


# -- the command -------------------------------------------------------------------------------------------------------


def run(given: argparse.Namespace) -> None:
    """Measure and print what was asked for."""
    sizes = SMOKE if given.smoke else Sizes(rounds=given.rounds, values=given.values)
    print(machine())
    with tempfile.TemporaryDirectory(prefix="oocana-bench-") as folder:
        bench = Bench(Path(folder))
        with ExitStack() as stack:
            rivals = {} if given.smoke else stack.enter_context(opponents(given.opponents))
            figures = measure(bench, sizes, rivals)
        figures.show()
        show_flatness(bench, sizes)
        show_pipeline(sizes)


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--smoke", action="store_true", help="a few seconds, no opponents, checks only")
    parser.add_argument("--opponents", metavar="PYTHON", help="interpreter that has all opponents")
    parser.add_argument("--rounds", type=int, default=Sizes.rounds, help="rounds of measurement (default: 3)")
    parser.add_argument("--values", type=int, default=Sizes.values, help="values through the pipeline")
    parser.add_argument("--pipeline", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    try:
        if given.pipeline:
            run_pipeline(given.pipeline)
        else:
            run(given)
    except CheckError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
