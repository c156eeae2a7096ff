"""Write the results; an async block that leaves files in a place that one can find."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pandas as pd

from oocana_async import Context


def compose(lines: list[dict[str, Any]], picture: Path, dropped: int) -> str:
    rows = [f"| {line['species']} | {line['birds']} | {line['slope']} | {line['correlation']} |" for line in lines]
    return "\n".join(
        [
            "# Palmer penguins",
            "",
            f"How much heavier a penguin is per millimetre of flipper. {dropped} incomplete rows were left out.",
            "",
            "| species | birds | grams per mm | correlation |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            f"![mass against flipper length]({picture.name})",
            "",
        ]
    )


def write(folder: Path, summary: pd.DataFrame, text: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    summary.to_csv(folder / "summary.csv", index=False)
    (folder / "report.md").write_text(text, encoding="utf-8")
    return [folder / "report.md", folder / "summary.csv"]


async def main(params: dict[str, Any], context: Context) -> dict[str, Any]:
    picture = Path(params["picture"])
    text = compose(params["lines"], picture, params["dropped"])
    written = await asyncio.to_thread(write, picture.parent, params["summary"], text)
    await context.preview({"type": "markdown", "data": text})
    print(f"the report is {written[0]}")
    return {"files": [str(path) for path in (*written, picture)]}
