"""Mean measurements per species and sex; a synchronous block with a table preview."""

from __future__ import annotations

from typing import Any

from oocana_async import SyncContext

MEASUREMENTS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]


def main(params: dict[str, Any], context: SyncContext) -> dict[str, Any]:
    groups = params["penguins"].groupby(["species", "sex"])
    summary = groups[MEASUREMENTS].mean().round(1)
    summary.insert(0, "birds", groups.size())
    summary = summary.reset_index()
    context.preview({"type": "table", "data": summary})
    return {"summary": summary}
