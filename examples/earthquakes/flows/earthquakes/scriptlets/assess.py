"""Assess one earthquake: an async consumer of which many run at the same time."""

from __future__ import annotations

import asyncio
from typing import Any

from oocana_async import Context

LOOK_UP_SECONDS = 0.01
"""What asking a map service would take; the block waits, the other fifteen go on."""


def energy_in_joules(magnitude: float) -> float:
    """Return the radiated energy after Gutenberg and Richter."""
    return float(10 ** (1.5 * magnitude + 4.8))


def region_of(place: str) -> str:
    """Return what stands behind the last comma: `22km NNE of Hualian, Taiwan` is in Taiwan."""
    return place.rsplit(",", 1)[-1].strip()


async def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
    quake = params["quake"]
    magnitude = float(quake["magnitude"])
    await asyncio.sleep(LOOK_UP_SECONDS)
    assessment = {
        "number": quake["number"],
        "of": quake["of"],
        "time": quake["time"],
        "magnitude": magnitude,
        "place": quake["place"],
        "region": region_of(quake["place"]),
        "energy": energy_in_joules(magnitude),
        "alert": magnitude >= params["alert_from"],
    }
    return {"assessment": assessment}
