"""Write the strong earthquakes as CSV and show which regions were busy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from oocana_async import SyncContext


def main(params: dict[str, Any], context: SyncContext) -> dict[str, Any]:
    quakes = pd.DataFrame(params["assessments"])
    alerts = quakes.loc[quakes["alert"], ["time", "magnitude", "place"]]
    regions = quakes.groupby("region").agg(
        quakes=("number", "size"), strongest=("magnitude", "max"), energy=("energy", "sum")
    )
    regions = regions.sort_values("energy", ascending=False).reset_index()
    context.preview({"type": "table", "data": regions.head(10)})

    folder = Path(params["folder"]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    alerts.to_csv(folder / "alerts.csv", index=False)
    regions.to_csv(folder / "regions.csv", index=False)
    print(f"{len(alerts)} strong earthquakes among {len(quakes)}, listed in {folder / 'alerts.csv'}")
    return {"alerts": len(alerts), "files": [str(folder / name) for name in ("alerts.csv", "regions.csv")]}
