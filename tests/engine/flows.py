"""Writes small flows for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def task(
    node_id: str,
    inputs: Mapping[str, Any] | None = None,
    *,
    outputs: Sequence[str] = ("out",),
    executor: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A task node; an input is `("node", "handle")`, a list of them, `"<flow input"`, or a static value in a dict."""
    return {
        "node_id": node_id,
        "task": {
            "inputs_def": [{"handle": handle} for handle in inputs or {}],
            "outputs_def": [{"handle": handle} for handle in outputs],
            "executor": executor or {"name": "python", "options": {"entry": f"{node_id}.py"}},
        },
        "inputs_from": connections(inputs),
        **more,
    }


def connections(inputs: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return [{"handle": handle, **_connection(source)} for handle, source in (inputs or {}).items()]


def _connection(source: Any) -> dict[str, Any]:
    if isinstance(source, str) and source.startswith("<"):
        return {"from_flow": [{"input_handle": source[1:]}]}
    if isinstance(source, tuple):
        source = [source]
    if isinstance(source, list):
        return {"from_node": [{"node_id": node, "output_handle": handle} for node, handle in source]}
    return {"value": source["value"]}


def write_flow(
    root: Path,
    nodes: Sequence[Mapping[str, Any]],
    *,
    kind: str = "flow",
    name: str = "main",
    inputs: Sequence[str] = (),
    outputs: Mapping[str, Any] | None = None,
    **more: Any,
) -> Path:
    """Write `<root>/<kind>s/<name>/<kind>.oo.yaml` (JSON is YAML) and return its path."""
    path = root / f"{kind}s" / name / f"{kind}.oo.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest = {
        "inputs_def": [{"handle": handle} for handle in inputs],
        "outputs_def": [{"handle": handle} for handle in outputs or {}],
        "outputs_from": connections(outputs),
        "nodes": list(nodes),
        **more,
    }
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return path
