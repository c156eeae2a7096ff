"""The data frame that is previewed, the same on both sides: numbers, texts and dates in ten columns."""

from __future__ import annotations

from typing import Any

__all__ = ["make_frame"]


def make_frame(rows: int) -> Any:
    """Return a frame of so many rows and ten columns, the same each time."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(7)
    columns: dict[str, Any] = {"id": np.arange(rows)}
    columns |= {f"reading_{number}": random.normal(size=rows) for number in range(6)}
    columns["count"] = random.integers(0, 1000, rows)
    columns["station"] = np.array(["north", "south, old", "east"])[random.integers(0, 3, rows)]
    columns["at"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 10**6, rows), unit="s")
    return pd.DataFrame(columns)
