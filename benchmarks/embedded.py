"""Cost of a block in the embedded engine, beside dask.distributed and Prefect running the same functions in one run.

    python benchmarks/embedded.py             all of it, some minutes; installs the opponents into .benchmarks-venv
    python benchmarks/embedded.py --smoke     a few seconds, no opponents; exit code 1 if a value is missing

Each round measures every case on every side once, so that what else the machine does hits all of them alike; ratios are
taken within a round. A run of ours counts from `run_flow` to its result, so the start of a session is in it.
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

import anyio

from benchmarks._embedded_flows import write_chain, write_fan, write_pipeline, write_row
from benchmarks._rivals import Rival, RivalError, find_python
from oocana_async.engine.api import RunResult, run_flow
from oocana_async.engine.loading import LoadedTarget, load_target

KINDS = ("async", "sync")
CONCURRENCY = 16
FLAT = (100, 1_000, 10_000)
LOAD_NODES, LOAD_SECONDS = 10_000, 2.0

OPPONENTS = {
    "dask": ("_rival_dask.py", ("distributed",), ("distributed",)),
    # FastAPI 0.150 and later have lost a keyword that Prefect 3.8 uses.
    "prefect": ("_rival_prefect.py", ("prefect", "prefect.server.api.server"), ("prefect>=3", "fastapi<0.150")),
}
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
}


class CheckError(Exception):
    """A run did not do what it should have done."""


@dataclass(frozen=True)
class Sizes:
    """How much to measure."""

    rounds: int = 3
    chain: int = 1_000
    fan: int = 5_000
    dask_chain: int = 100
    prefect: int = 30
    flat: Sequence[int] = FLAT
    load: int = LOAD_NODES
    values: int = 100_000


SMOKE = Sizes(rounds=1, chain=50, fan=200, flat=(50, 200), load=500, values=2_000)


@dataclass
class Figures:
    """Milliseconds per block by case and side, one entry per round."""

    rounds: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, case: str, side: str, seconds: float, blocks: int) -> None:
        """Note what one run took."""
        self.rounds.setdefault((case, side), []).append(seconds / blocks * 1000)

    def show(self, case: str, side: str) -> None:
        """Print one side of a case, with its ratio to ours."""
        values = self.rounds[case, side]
        ours = self.rounds[case, "oocana_async"]
        line = f"  {side:28} {statistics.median(values):8.3f} ms/block   {_spread(values, '8.3f')}"
        if side != "oocana_async":
            ratios = [value / mine for value, mine in zip(values, ours, strict=False)]
            line += f"   {statistics.median(ratios):6.1f} x   {_spread(ratios, '.1f')}"
        print(line, flush=True)


def _spread(values: Sequence[float], form: str) -> str:
    return f"({min(values):{form}} to {max(values):{form}})"


# -- our side ---------------------------------------------------------------------------------------------------------


class Bench:
    """Flows on disk, loaded once and run as often as wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[str, LoadedTarget] = {}

    def chain(self, n: int, kind: str) -> float:
        """Run a chain; return its seconds."""
        name = f"chain-{kind}-{n}"
        target = self._target(name) or self._load(name, write_chain(self._at(name), n, kind=kind))
        seconds, result = self._run(target, blocks=n)
        _check(result.output("result") == n, f"a chain of {n} blocks gave {result.output('result')}")
        return seconds

    def fan(self, n: int, kind: str) -> float:
        """Run a fan; return its seconds."""
        name = f"fan-{kind}-{n}"
        target = self._target(name)
        if target is None:
            target = self._load(name, write_fan(self._at(name), n, kind=kind, concurrency=CONCURRENCY))
        seconds, result = self._run(target, blocks=n + 1)
        _check(sorted(result.outputs["result"]) == list(range(1, n + 1)), f"not all of {n} values came out of a fan")
        return seconds

    def row(self, n: int, kind: str) -> float:
        """Run independent nodes; return the seconds."""
        name = f"row-{kind}-{n}"
        target = self._target(name) or self._load(name, write_row(self._at(name), n, kind=kind))
        seconds, result = self._run(target, blocks=n)
        _check(result.output("result") == n, f"the last of {n} nodes gave {result.output('result')}")
        return seconds

    def load_seconds(self, n: int) -> float:
        """Load a chain and return the seconds."""
        manifest = write_chain(self._at(f"load-{n}"), n, kind="async")
        start = time.perf_counter()
        load_target(manifest)
        return time.perf_counter() - start

    def _at(self, name: str) -> Path:
        return self._folder / "flows" / name

    def _target(self, name: str) -> LoadedTarget | None:
        return self._loaded.get(name)

    def _load(self, name: str, manifest: Path) -> LoadedTarget:
        target = self._loaded[name] = load_target(manifest)
        return target

    def _run(self, target: LoadedTarget, *, blocks: int) -> tuple[float, RunResult]:
        async def run() -> tuple[float, RunResult]:
            start = time.perf_counter()
            result = await run_flow(target, temp_root=self._folder / "temp", keep=blocks)
            return time.perf_counter() - start, result

        seconds, result = anyio.run(run)
        result.raise_for_status()
        _check(result.run_count == blocks, f"{result.run_count} of {blocks} blocks ran")
        unended = sum(run.finished_at is None for run in result.runs)
        _check(unended == 0, f"{unended} of {blocks} blocks have no end")
        return seconds, result


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise CheckError(otherwise)


# -- the cases --------------------------------------------------------------------------------------------------------


def measure(bench: Bench, sizes: Sizes, rivals: Mapping[str, Rival]) -> Figures:
    """Measure chains, fans and rows on all sides, round by round."""
    figures = Figures()
    _warm_up(bench, rivals)
    for number in range(sizes.rounds):
        print(f"round {number + 1} of {sizes.rounds}", file=sys.stderr, flush=True)
        for kind in KINDS:
            _measure_chain(figures, bench, sizes, rivals, kind)
            _measure_fan(figures, bench, sizes, rivals, kind)
    return figures


def _warm_up(bench: Bench, rivals: Mapping[str, Rival]) -> None:
    for kind in KINDS:
        bench.chain(20, kind)
        for rival in rivals.values():
            rival.ask(case="chain", kind=kind, n=5)


def _measure_chain(figures: Figures, bench: Bench, sizes: Sizes, rivals: Mapping[str, Rival], kind: str) -> None:
    case = f"chain, {kind}"
    figures.add(case, "oocana_async", bench.chain(sizes.chain, kind), sizes.chain)
    if dask := rivals.get("dask"):
        n = sizes.dask_chain
        figures.add(case, "dask, awaited one by one", dask.ask(case="chain", kind=kind, n=n)["seconds"], n)
        figures.add(case, "dask, chain submitted", dask.ask(case="submitted", kind=kind, n=n)["seconds"], n)
    if prefect := rivals.get("prefect"):
        answer = prefect.ask(case="chain", kind=kind, n=sizes.prefect)
        figures.add(case, "Prefect", answer["seconds"], sizes.prefect)


def _measure_fan(figures: Figures, bench: Bench, sizes: Sizes, rivals: Mapping[str, Rival], kind: str) -> None:
    into_one, row = f"independent values into one node, {kind}", f"independent nodes, {kind}"
    figures.add(into_one, "oocana_async", bench.fan(sizes.fan, kind), sizes.fan)
    figures.add(row, "oocana_async", bench.row(sizes.fan, kind), sizes.fan)
    if dask := rivals.get("dask"):
        seconds = dask.ask(case="fan", kind=kind, n=sizes.fan)["seconds"]
        for case in (into_one, row):
            figures.add(case, "dask, map", seconds, sizes.fan)
    if prefect := rivals.get("prefect"):
        seconds = prefect.ask(case="fan", kind=kind, n=sizes.prefect)["seconds"]
        for case in (into_one, row):
            figures.add(case, "Prefect, map", seconds, sizes.prefect)


def show_flatness(bench: Bench, sizes: Sizes) -> None:
    """Print the cost of a block of short and long chains, the start of a session taken off."""
    print("\ncost per block by length of the chain (async; without the start of the session)")
    start = statistics.median(bench.chain(1, "async") for _ in range(5))
    costs = {}
    for n in sizes.flat:
        runs = [bench.chain(n, "async") for _ in range(sizes.rounds)]
        costs[n] = [(seconds - start) / (n - 1) * 1000 for seconds in runs]
        print(f"  {n:6} blocks  {statistics.median(costs[n]):8.3f} ms/block   {_spread(costs[n], '.3f')}", flush=True)
    ratio = statistics.median(costs[sizes.flat[-1]]) / statistics.median(costs[sizes.flat[0]])
    print(f"  longest to shortest: {ratio:.2f} x; start and end of a session with one block: {start * 1000:.1f} ms")


def show_load(bench: Bench, sizes: Sizes) -> None:
    """Print how long a large flow takes to load."""
    runs = [bench.load_seconds(sizes.load) for _ in range(sizes.rounds)]
    print(f"\nload a flow of {sizes.load} nodes: {statistics.median(runs):.2f} s {_spread(runs, '.2f')}")
    if sizes.load == LOAD_NODES:
        print(f"  to reach: below {LOAD_SECONDS:g} s")


# -- the pipeline, in a process of its own so that its memory is its own ----------------------------------------------


def show_pipeline(sizes: Sizes) -> None:
    """Print rate and memory of many values through three nodes."""
    command = [sys.executable, __file__, "--pipeline", str(sizes.values)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    _check(done.returncode == 0, f"the pipeline of {sizes.values} values failed with exit code {done.returncode}")
    found = json.loads(done.stdout)
    _check(found["total"] == sum(range(1, sizes.values + 1)), f"the pipeline of {sizes.values} values lost some")
    print(f"\n{sizes.values} values through three nodes, at most 1,000 under way: {found['seconds']:.1f} s,")
    print(f"  {2 * sizes.values / found['seconds']:.0f} blocks/s")
    samples = [sample / 2**20 for sample in found["samples"]]
    print(f"  resident set in MiB: at the start {found['start'] / 2**20:.1f}, ", end="")
    print(f"after 1,000 values {samples[0]:.1f}, at most {max(samples):.1f}, at the end {samples[-1]:.1f}")


def run_pipeline(n: int) -> None:
    """Run the pipeline in this process and print what was seen, as JSON."""
    with tempfile.TemporaryDirectory(prefix="oocana-bench-") as folder:
        target = load_target(write_pipeline(Path(folder, "flows", "pipeline"), n))

        async def run() -> tuple[float, RunResult]:
            start = time.perf_counter()
            result = await run_flow(target, temp_root=Path(folder, "temp"), keep=100)
            return time.perf_counter() - start, result

        start = _resident_bytes()
        seconds, result = anyio.run(run)
        result.raise_for_status()
        found = result.output("result")
        _check(result.run_count == 2 * n + 1, f"{result.run_count} of {2 * n + 1} blocks ran")
        print(json.dumps({"seconds": seconds, "start": start, **found}))


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


# -- the command ------------------------------------------------------------------------------------------------------


@contextmanager
def opponents(python: str | None) -> Iterator[dict[str, Rival]]:
    """Start the opponents that can be had; say which cannot, and why."""
    with ExitStack() as stack:
        running = {}
        for name, (script, modules, packages) in OPPONENTS.items():
            try:
                interpreter = python or find_python("schedulers", modules, packages)
                rival = stack.enter_context(Rival(name, interpreter, script, env=QUIET))
                rival.ask(case="chain", kind="sync", n=1)
                running[name] = rival
            except RivalError as error:
                print(f"{name} is left out: {error}", flush=True)
        yield running


def run(arguments: argparse.Namespace) -> None:
    """Measure and print what was asked for."""
    sizes = SMOKE if arguments.smoke else Sizes(rounds=arguments.rounds, values=arguments.values)
    with tempfile.TemporaryDirectory(prefix="oocana-bench-") as folder, ExitStack() as stack:
        bench = Bench(Path(folder))
        rivals = {} if arguments.smoke else stack.enter_context(opponents(arguments.opponents))
        figures = measure(bench, sizes, rivals)
        for case in dict.fromkeys(case for case, _ in figures.rounds):
            print(f"\n{case}")
            for side in [side for one, side in figures.rounds if one == case]:
                figures.show(case, side)
        stack.close()
        show_flatness(bench, sizes)
        show_load(bench, sizes)
        show_pipeline(sizes)


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="a few seconds, no opponents, checks only")
    parser.add_argument("--opponents", metavar="PYTHON", help="interpreter that has distributed and prefect")
    parser.add_argument("--rounds", type=int, default=Sizes.rounds)
    parser.add_argument("--values", type=int, default=Sizes.values, help="values through the pipeline")
    parser.add_argument("--pipeline", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        if arguments.pipeline:
            run_pipeline(arguments.pipeline)
        else:
            run(arguments)
    except CheckError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
