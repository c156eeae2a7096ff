"""Read the measurements; a plain synchronous block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from oocana_async import SyncContext

PACKAGE = Path(__file__).resolve().parents[3]


def main(params: dict[str, Any], context: SyncContext) -> dict[str, Any]:
    penguins = pd.read_csv(PACKAGE / "data" / "penguins.csv")
    context.preview(penguins)
    print(f"{len(penguins)} penguins of {penguins['species'].nunique()} species")
    return {"penguins": penguins}
