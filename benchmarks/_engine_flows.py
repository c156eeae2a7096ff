"""Writes the flows that `engine.py` runs on the real engine."""

from __future__ import annotations

from pathlib import Path

from benchmarks._embedded_flows import write_chain, write_row

__all__ = ["write_bursts", "write_chain", "write_outputs", "write_row", "write_values"]

_OUTPUTS = """
async def main(params, context):
    for number in range({count}):
        sent = context.output("out", number)
        if sent is not None:  # the official one returns nothing
            await sent
"""

_SOURCE = """
def main(params, context):
    for number in range({count}):
        context.output("out", number)
"""

_TASK = """
  - node_id: {node}
    concurrency: {concurrency}
    task:
      inputs_def: [{inputs}]
      outputs_def: [{{handle: out}}]
      executor: {{name: python, options: {{entry: {entry}}}}}
    inputs_from: [{feeds}]
"""


def write_outputs(folder: Path, count: int) -> Path:
    """Write one node that gives `count` outputs."""
    node = _TASK.format(node="source", concurrency=1, inputs="", entry="source.py", feeds="")
    return _write(folder, node, {"source.py": _OUTPUTS.format(count=count)})


def write_bursts(folder: Path, jobs: int, outputs: int, *, concurrency: int) -> Path:
    """Write a source of `jobs` values, and a node that gives `outputs` outputs for each of them."""
    source = _TASK.format(node="source", concurrency=1, inputs="", entry="source.py", feeds="")
    feed = "{handle: x, from_node: [{node_id: source, output_handle: out}]}"
    burst = _TASK.format(node="burst", concurrency=concurrency, inputs="{handle: x}", entry="burst.py", feeds=feed)
    scriptlets = {"source.py": _SOURCE.format(count=jobs), "burst.py": _OUTPUTS.format(count=outputs)}
    return _write(folder, source + burst, scriptlets)


def write_values(folder: Path, count: int, *, concurrency: int) -> Path:
    """Write a source of `count` values, and a trivial node that takes some of them at once."""
    return write_bursts(folder, count, 0, concurrency=concurrency)


def _write(folder: Path, nodes: str, scriptlets: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in scriptlets.items():
        (folder / name).write_text(text, "utf-8")
    manifest = folder / "flow.oo.yaml"
    manifest.write_text("nodes:" + nodes, "utf-8")
    return manifest
