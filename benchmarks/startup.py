"""How long it takes to start: the import, the command line, and the first block.

    python benchmarks/startup.py             half a minute
    python benchmarks/startup.py --smoke     a few seconds; exit code 1 if something heavy is imported or nothing runs

Every figure is taken in fresh processes, in turn with its opponent. Imports are measured in CPU time inside the
process, commands by the clock from outside.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks._report import Checks, Figures, arguments, machine, measure

BASE = "asyncio, msgspec, anyio"
IMPORTS = {
    BASE: f"import {BASE}",
    "oocana_async": "import oocana_async",
    "oocana_async and Context": "from oocana_async import Context, SyncContext",
}
IMPORT_BOUND = 1.3
HELP_BOUND = 0.150
HEAVY = ("pandas", "numpy", "aiomqtt", "rich", "matplotlib", "plotly", "multiprocessing")

PROBE = """
import json, sys, time
start = time.process_time()
{statement}
spent = time.process_time() - start
print(json.dumps([spent, [name for name in {heavy!r} if name in sys.modules]]))
"""
SCRIPTLET = """
async def main(params, context):
    await context.output("out", params.get("x", 1) + 1)
"""
# The first round, which does not count, leaves compiled files behind, as installing the package does.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
COMMAND = [sys.executable, "-m", "oocana_async"]


def probe(statement: str) -> tuple[float, list[str]]:
    """Import in a fresh process; return the seconds of CPU and the heavy modules that came along."""
    text = PROBE.format(statement=statement, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    spent, heavy = json.loads(done.stdout)
    return spent, heavy


def timed(line: list[str], check: Callable[[subprocess.CompletedProcess[str]], None]) -> float:
    """Run a command, check what it did, and return its seconds."""
    start = time.perf_counter()
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    seconds = time.perf_counter() - start
    check(done)
    return seconds


def import_figures(rounds: int, checks: Checks) -> Figures:
    """Measure and print the imports."""
    for name, statement in IMPORTS.items():
        heavy = probe(statement)[1]
        checks.require(not heavy, f"importing {name} pulls in {', '.join(heavy)}")
    figures = measure({name: functools.partial(_import_ms, text) for name, text in IMPORTS.items()}, rounds)
    print(f"import, {rounds} rounds (bound {IMPORT_BOUND} x)")
    for name in IMPORTS:
        print(f"  {name:26} {figures.show(name, '6.1f', ' ms')}   {figures.ratio(name, BASE)}")
    return figures


def _import_ms(statement: str) -> float:
    return probe(statement)[0] * 1000


def command_figures(rounds: int, folder: Path, checks: Checks) -> Figures:
    """Measure and print the commands."""
    scriptlet = folder / "main.py"
    scriptlet.write_text(SCRIPTLET)

    def succeeds(done: subprocess.CompletedProcess[str]) -> None:
        checks.require(done.returncode == 0, f"{done.args} ended with {done.returncode}: {done.stderr[-500:]}")

    def runs_the_block(done: subprocess.CompletedProcess[str]) -> None:
        succeeds(done)
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        outputs = [event["output"] for event in events if event["type"] == "BlockOutput"]
        checks.require(outputs == [2], f"the first block gave {outputs} instead of [2]")

    first_block = [*COMMAND, "run", str(scriptlet), "--json", "--session-dir", str(folder / "session")]
    runs = {
        "python -c pass": functools.partial(timed, [sys.executable, "-c", "pass"], succeeds),
        "--help": functools.partial(timed, [*COMMAND, "--help"], succeeds),
        "run, one block": functools.partial(timed, first_block, runs_the_block),
    }
    figures = measure(runs, rounds)
    print(f"\ncommand, {rounds} rounds (bound for --help {HELP_BOUND * 1000:.0f} ms)")
    for name in runs:
        seconds = Figures()
        for value in figures.rounds[name]:
            seconds.add(name, value * 1000)
        print(f"  {name:26} {seconds.show(name, '6.0f', ' ms')}   {figures.ratio(name, 'python -c pass')}")
    return figures


def main() -> int:
    """Measure, print, check."""
    options = arguments(__doc__)
    rounds = options.rounds or (1 if options.smoke else 15)
    checks = Checks()
    print(machine())
    imports = import_figures(rounds, checks)
    with tempfile.TemporaryDirectory(prefix="oocana-startup-") as folder:
        commands = command_figures(rounds, Path(folder), checks)
    if not options.smoke:  # one round on a busy machine says nothing about bounds
        ratio = imports.median_ratio("oocana_async", BASE)
        checks.require(ratio <= IMPORT_BOUND, f"the import takes {ratio:.2f} x, bound {IMPORT_BOUND} x")
        help_seconds = min(commands.rounds["--help"])  # what else the machine does is not its fault
        checks.require(help_seconds <= HELP_BOUND, f"--help takes {help_seconds * 1000:.0f} ms")
    return checks.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
