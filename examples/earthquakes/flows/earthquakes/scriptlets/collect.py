"""Gather the assessments of a session and pass them on when all are there.

A scriptlet is loaded once and stays, so what stands at the top of its module lives from job to job.
This node has the default concurrency of 1: its jobs come one after the other and need no lock.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from oocana_async import Context

gathered: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)


async def main(params: dict[str, Any], context: Context) -> dict[str, Any] | None:
    assessment = params["assessment"]
    so_far = gathered[context.session_id]
    so_far.append(assessment)
    await context.report_progress(100 * len(so_far) / assessment["of"])
    if len(so_far) < assessment["of"]:
        return None
    del gathered[context.session_id]
    return {"assessments": sorted(so_far, key=lambda item: item["number"])}
