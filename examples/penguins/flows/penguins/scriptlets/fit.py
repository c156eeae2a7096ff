"""One straight line per species; an async block that keeps the arithmetic off its event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from oocana_async import Context


def fit_line(species: str, birds: pd.DataFrame) -> dict[str, Any]:
    flipper, mass = birds["flipper_length_mm"], birds["body_mass_g"]
    slope, intercept = np.polyfit(flipper, mass, 1)
    return {
        "species": species,
        "birds": len(birds),
        "slope": round(float(slope), 2),
        "intercept": round(float(intercept), 1),
        "correlation": round(float(flipper.corr(mass)), 3),
    }


async def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
    groups = list(params["penguins"].groupby("species"))
    jobs = [asyncio.to_thread(fit_line, species, birds) for species, birds in groups]
    lines = []
    for done, job in enumerate(asyncio.as_completed(jobs), start=1):
        lines.append(await job)
        await context.report_progress(100 * done / len(groups))
    lines.sort(key=lambda line: line["species"])
    await context.preview({"type": "json", "data": lines})
    return {"lines": lines}
