"""Send a week of earthquakes, one output each: an async producer."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from oocana_async import Context

PACKAGE = Path(__file__).resolve().parents[3]


def read_quakes() -> list[dict[str, Any]]:
    with (PACKAGE / "data" / "earthquakes.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


async def main(params: dict[str, Any], context: Context) -> None:
    quakes = read_quakes()
    for number, quake in enumerate(quakes, start=1):
        # The await is back pressure: it waits only while the channel to the engine is full.
        await context.output("quake", {**quake, "number": number, "of": len(quakes)})
        await context.report_progress(100 * number / len(quakes))
    print(f"sent {len(quakes)} earthquakes")
