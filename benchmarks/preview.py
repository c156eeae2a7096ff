"""Time of `context.preview(frame)` for a data frame of 500,000 rows and ten columns, beside the official SDK.

    python benchmarks/preview.py             half a minute; installs the official SDK into .benchmarks-venv
    python benchmarks/preview.py --smoke     a second, without it; exit code 1 if a preview is not as it should be

Ours is called in a block on the real executor and counts until the preview has been delivered. The official Context
has a stand-in for its connection that takes messages without sending them; it writes the whole frame as CSV.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio

from benchmarks._official import find_official, wire_arguments
from benchmarks._preview_frame import make_frame
from benchmarks._report import Checks, Figures, machine, measure
from benchmarks._rivals import Rival, RivalError
from oocana_async.context import Context
from oocana_async.testing import run_scriptlet

ROWS, SMOKE_ROWS = 500_000, 20_000
CUT = 11
"""Rows that a preview shows of a long table: five, a row of dots, five."""

GOAL = 100
OURS, OFFICIAL = "oocana_async", "official SDK"


def ours(frame: Any, checks: Checks) -> float:
    """Preview a frame in a block and return the seconds until it has been delivered."""
    seconds = 0.0

    async def main(params: dict[str, Any], context: Context) -> None:
        nonlocal seconds
        start = time.perf_counter()
        await context.preview(frame)
        await context.flush()
        seconds = time.perf_counter() - start

    record = anyio.run(run_scriptlet, main).raise_for_error()
    table = record.previews[0]["data"]
    checks.require(table["row_count"] == len(frame), f"row_count {table['row_count']} of {len(frame)}")
    checks.require(len(table["rows"]) == CUT, f"{len(table['rows'])} rows are shown, not {CUT}")
    checks.require(table["rows"][-1][-4:] != table["rows"][0][-4:], "the last row is the first one")
    return seconds


def official(rival: Rival, rows: int, checks: Checks) -> float:
    """Preview the same frame with the official SDK and return the seconds."""
    answer = rival.ask(rows=rows)
    checks.require(answer["sent"] == 1, f"the official SDK sent {answer['sent']} messages for one preview")
    return float(answer["seconds"])


def report(figures: Figures, rows: int) -> None:
    """Print what was measured."""
    print(f"\npreview of a data frame of {rows} x 10")
    for name in figures.rounds:
        print(f"  {name:14} {figures.show(name, '9.3f', ' ms')}")
    if OFFICIAL in figures.rounds:
        print(f"  {OFFICIAL} / {OURS}: {figures.ratio(OFFICIAL, OURS)}; to reach: {GOAL} x")


def start_official(stack: ExitStack, python: Path | None) -> Rival | None:
    """Start the official side; say why when that does not work."""
    if python is None:
        return None
    rival = stack.enter_context(Rival(OFFICIAL, python, "_rival_preview.py"))
    try:
        rival.ask(rows=10)
    except RivalError as error:
        print(f"without the official SDK: {error}", file=sys.stderr, flush=True)
        return None
    return rival


def main() -> int:
    """Run the benchmark; return the exit code."""
    given = wire_arguments(__doc__).parse_args()
    rows = SMOKE_ROWS if given.smoke else ROWS
    checks = Checks()
    frame = make_frame(rows)
    print(machine())
    with ExitStack() as stack:
        rival = start_official(stack, find_official(given))
        runs: dict[str, Callable[[], float]] = {OURS: lambda: ours(frame, checks) * 1000}
        if rival is not None:
            runs[OFFICIAL] = lambda: official(rival, rows, checks) * 1000
        report(measure(runs, 1 if given.smoke else given.rounds), rows)
    return checks.exit_code


if __name__ == "__main__":
    sys.exit(main())
