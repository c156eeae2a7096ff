"""Draw a scatter plot; a synchronous block with a figure preview."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from oocana_async import SyncContext


def draw(params: dict[str, Any]) -> Figure:
    table, x, y = params["table"], params["x"], params["y"]
    lines = {line[params["group"]]: line for line in params["lines"]}
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, rows in table.groupby(params["group"]):
        points = axes.scatter(rows[x], rows[y], s=12, alpha=0.6, label=name)
        ends = [rows[x].min(), rows[x].max()]
        heights = [lines[name]["slope"] * end + lines[name]["intercept"] for end in ends]
        axes.plot(ends, heights, color=points.get_facecolor()[0], alpha=1.0)
    axes.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
    axes.legend()
    return figure


def main(params: dict[str, Any], context: SyncContext) -> dict[str, Any]:
    figure = draw(params)
    context.preview(figure)
    picture = Path(params["folder"]).resolve() / f"{params['y']}-by-{params['x']}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=120)
    return {"picture": str(picture)}
