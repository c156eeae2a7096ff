"""Cost of a block in a `python-executor` process over a real broker, ours and the official one, under a stub engine.

    python benchmarks/blocks.py             some minutes; installs the official packages into .benchmarks-venv
    python benchmarks/blocks.py --smoke     a few seconds, ours alone; exit code 1 if a block is missing
    python benchmarks/blocks.py --executor PATH    measure another `python-executor`, too

Each round starts every executor once, and each measures all of its cases in one session. The stub engine follows the
protocol and answers at once, so what is measured is the executor, the broker (mosquitto, `set_tcp_nodelay true`) and
this process, which shares the cores with them. A case that is not through after 20 s counts as not finished, and the
executor is started anew for the next one.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._mosquitto import Mosquitto, NoBrokerError, nothing_measured
from benchmarks._official import OURS, executor_of, find_official, wire_arguments
from benchmarks._report import Checks, Figures, machine
from tests.stub.engine import Block, Job, StubEngine

KINDS = ("async", "sync")
WIDTHS = {1: 100, 10: 500, 50: 1_000, 1_000: 2_000}
SMOKE_WIDTHS = {1: 20, 10: 50}
LIMIT = 20.0
SLEEPERS, SLEEP = 1_000, 2.0
WARM_UP = 20
BLOCKS = {
    "async": "async def main(params, context):\n    return {'out': params['x'] + 1}\n",
    "sync": "def main(params, context):\n    return {'out': params['x'] + 1}\n",
    "sleep": "import asyncio\nasync def main(params):\n    await asyncio.sleep(params['x'])\n    return {'out': 1}\n",
}


class NotFinishedError(Exception):
    """A case took too long."""


class Session:
    """An executor under the stub engine, started anew when it got stuck.

    Args:
        executor: the program.
        broker: where they meet.
        home: HOME of the executor, kept from session to session: libraries have caches there.
    """

    def __init__(self, executor: Path, broker: Mosquitto, home: Path) -> None:
        self._executor = executor
        self._broker = broker
        self._home = home
        self.engine: StubEngine
        self.blocks: dict[str, Block] = {}

    async def start(self) -> tuple[float, float]:
        """Start; returns the seconds to ExecutorReady and to the end of a first block."""
        folder = Path(tempfile.mkdtemp(prefix="blocks"))
        variables = {"HOME": str(self._home)}
        engine = StubEngine(
            self._broker.address, folder, command=(str(self._executor),), front=False, environment=variables
        )
        self.engine = await engine.__aenter__()
        self.blocks = {kind: engine.write_block(source, name=f"{kind}.py") for kind, source in BLOCKS.items()}
        started = time.monotonic()
        job = engine.start(self.blocks["async"], {"x": 0})
        await job.end()
        return engine.readies[0][0] - started, time.monotonic() - started

    async def stop(self) -> None:
        """Stop it."""
        await self.engine.__aexit__(None, None, None)

    async def run(self, kind: str, count: int, width: int, x: float = 0) -> list[float]:
        """Run blocks, a number of them at once; returns the seconds of each.

        Raises:
            NotFinishedError: Not all were through in time.
        """
        left = iter(range(count))
        taken: list[float] = []
        over = asyncio.Event()

        def begin() -> None:
            if next(left, None) is not None:
                started = time.monotonic()
                job = self.engine.start(self.blocks[kind], {"x": x})
                job.on_end = lambda job: end(job, started)

        def end(job: Job, started: float) -> None:
            if (error := job.ended.result().error) is not None:
                raise NotFinishedError(error)
            taken.append(time.monotonic() - started)
            if len(taken) == count:
                over.set()
            begin()

        for _ in range(width):
            begin()
        try:
            async with asyncio.timeout(LIMIT):
                await over.wait()
        except TimeoutError:
            raise NotFinishedError(f"{len(taken)} of {count} blocks ended within {LIMIT:g} s") from None
        return taken

    def footprint(self) -> tuple[float, float]:
        """Return peak resident MiB and the number of threads, where the system tells."""
        status = Path(f"/proc/{self.engine.process.pid}/status")
        if not status.exists():
            return 0.0, 0.0
        found = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(found["VmHWM"].split()[0]) / 1024, float(found["Threads"])


class Measurement:
    """All figures of all executors."""

    def __init__(self, *, smoke: bool) -> None:
        self.figures = Figures()
        self.stuck: dict[str, str] = {}
        self._smoke = smoke

    async def round(self, name: str, session: Session) -> None:
        """Measure an executor once."""
        ready, first = await session.start()
        values = {"ExecutorReady after, ms": 1000 * ready, "first block ended after, ms": 1000 * first}
        for kind in KINDS:
            await self._case(session, f"{name}: warm-up", values, kind, WARM_UP, 1)
            for width, count in (SMOKE_WIDTHS if self._smoke else WIDTHS).items():
                await self._case(session, f"{name}: {kind} blocks, {width} at once", values, kind, count, width)
        await self._sleepers(name, session, values)
        values["peak resident MiB"], values["threads"] = session.footprint()
        await session.stop()
        for what, value in values.items():
            self.figures.add(f"{what}|{name}", value)

    async def _case(
        self, session: Session, name: str, values: dict[str, float], kind: str, count: int, width: int
    ) -> None:
        started = time.monotonic()
        try:
            taken = sorted(await session.run(kind, count, width))
        except NotFinishedError as error:
            self.stuck[name] = str(error)
            await session.stop()
            await session.start()
            return
        rate = count / (time.monotonic() - started)
        if "warm-up" not in name:
            values[f"{kind} blocks/s, {width} at once"] = rate
        if width == 1 and "warm-up" not in name:
            values[f"{kind} block p50, ms"] = 1000 * statistics.median(taken)
            values[f"{kind} block p99, ms"] = 1000 * taken[int(0.99 * (len(taken) - 1))]

    async def _sleepers(self, name: str, session: Session, values: dict[str, float]) -> None:
        count, seconds = (50, 0.2) if self._smoke else (SLEEPERS, SLEEP)
        started = time.monotonic()
        try:
            await session.run("sleep", count, count, seconds)
        except NotFinishedError as error:
            self.stuck[f"{name}: {count} blocks that sleep {seconds:g} s"] = str(error)
            await session.stop()
            await session.start()
        else:
            values[f"{count} blocks that sleep {seconds:g} s, all ended after, s"] = time.monotonic() - started

    def report(self, names: list[str]) -> None:
        """Print a table and the ratios."""
        rows = list(dict.fromkeys(key.partition("|")[0] for key in self.figures.rounds))
        for row in rows:
            print(f"\n{row}")
            for name in names:
                key = f"{row}|{name}"
                print(f"  {name:<12}{self.figures.show(key, ',.1f', '') if self._whole(key) else 'not finished'}")
            ours = f"{row}|{names[0]}"
            for name in names[1:]:
                other = f"{row}|{name}"
                if self._whole(ours) and self._whole(other) and self.figures.median(ours):
                    better = (ours, other) if "/s" in row else (other, ours)
                    print(f"  {'ours is better by':<20}{self.figures.ratio(*better)}")
        for case, why in self.stuck.items():
            print(f"\nnot finished: {case}: {why}")

    def _whole(self, key: str) -> bool:
        most = max(len(values) for values in self.figures.rounds.values())
        return len(self.figures.rounds.get(key, ())) == most


async def measure(given: argparse.Namespace, executors: dict[str, Path]) -> Measurement:
    """Run the rounds."""
    measurement = Measurement(smoke=given.smoke)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        Mosquitto(Path(folder) / "broker", nodelay=True) as broker,
    ):
        homes = {name: Path(folder) / f"home-{name}" for name in executors}
        for name, executor in executors.items():
            homes[name].mkdir()
            session = Session(executor, broker, homes[name])
            await session.start()  # libraries fill their caches
            await session.stop()
        for _ in range(1 if given.smoke else given.rounds):
            for name, executor in executors.items():
                await measurement.round(name, Session(executor, broker, homes[name]))
    return measurement


def main(given: argparse.Namespace) -> int:
    """Measure and print; returns the exit code."""
    executors = {"ours": OURS}
    if (official := find_official(given)) is not None:
        executors["official"] = executor_of(official)
    if given.executor is not None:
        executors["given"] = given.executor
    print(machine())
    measurement = asyncio.run(measure(given, executors))
    measurement.report(list(executors))
    checks = Checks()
    for case, why in measurement.stuck.items():
        checks.require(not case.startswith("ours"), f"{case}: {why}")
    return checks.exit_code


if __name__ == "__main__":
    options = wire_arguments(__doc__)
    options.add_argument("--executor", type=Path, metavar="PATH", help="another python-executor to measure")
    try:
        sys.exit(main(options.parse_args()))
    except NoBrokerError as error:
        sys.exit(nothing_measured(error))
