"""Drop incomplete rows; an async block that sends two outputs as they are ready."""

from __future__ import annotations

from typing import Any

from oocana_async import Context


async def main(params: dict[str, Any], context: Context) -> None:
    penguins = params["penguins"]
    complete = penguins.dropna().reset_index(drop=True)
    await context.output("penguins", complete)
    dropped = len(penguins) - len(complete)
    await context.output("dropped", dropped)
    if dropped:
        await context.send_warning(f"{dropped} of {len(penguins)} rows lack a measurement and are left out")
