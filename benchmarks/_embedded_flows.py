"""Writes the flows that `embedded.py` measures: chains, fans, rows of nodes and a pipeline, all of trivial blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["write_chain", "write_fan", "write_pipeline", "write_row"]

_STEPS = {
    "steps_async.py": "async def step(params, context):\n    return {'out': params['x'] + 1}\n",
    "steps_sync.py": "def step(params, context):\n    return {'out': params['x'] + 1}\n",
    "emit.py": """
async def main(params, context):
    for value in range(params["n"]):
        await context.output("out", value)
""",
}

# At most `limit` values are under way; whoever takes one at the end makes room for the next.
_PIPELINE = {
    "window.py": """
import threading

limit = 1000
room = threading.Semaphore(limit)
samples = []
taken = total = 0


def resident_bytes():
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096
    except OSError:
        import resource
        import sys

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
""",
    "source.py": """
import window


def main(params, context):
    for value in range(params["n"]):
        window.room.acquire()
        context.output("out", value)
""",
    "sink.py": """
import window


async def main(params, context):
    window.taken += 1
    window.total += params["x"]
    if window.taken % 1000 == 0:
        window.samples.append(window.resident_bytes())
    window.room.release()
    if window.taken == params["n"]:
        return {"out": {"taken": window.taken, "total": window.total, "samples": window.samples}}
""",
}


def write_chain(folder: Path, n: int, *, kind: str) -> Path:
    """Write a chain of `n` nodes that each add one to what the node before gave, starting from 0."""
    nodes = [
        _node(f"n{index}", f"steps_{kind}.py", [_from(f"n{index - 1}") if index else "value: 0"], function="step")
        for index in range(n)
    ]
    return _write(folder, nodes, f"n{n - 1}", _STEPS)


def write_fan(folder: Path, n: int, *, kind: str, concurrency: int) -> Path:
    """Write one producer that gives `n` independent values to one node."""
    producer = _node("source", "emit.py", [f"value: {n}"], handles=("n",))
    taker = _node("taker", f"steps_{kind}.py", [_from("source")], function="step", concurrency=concurrency)
    return _write(folder, [producer, taker], "taker", _STEPS)


def write_row(folder: Path, n: int, *, kind: str) -> Path:
    """Write `n` nodes that do not depend on each other; the flow gives what the last one gives."""
    nodes = [_node(f"n{index}", f"steps_{kind}.py", [f"value: {index}"], function="step") for index in range(n)]
    return _write(folder, nodes, f"n{n - 1}", _STEPS)


def write_pipeline(folder: Path, n: int) -> Path:
    """Write three nodes; the first gives `n` values, never more than 1,000 ahead of the third."""
    nodes = [
        _node("source", "source.py", [f"value: {n}"], handles=("n",)),
        _node("middle", "steps_async.py", [_from("source")], function="step", concurrency=4),
        _node("sink", "sink.py", [_from("middle"), f"value: {n}"], handles=("x", "n")),
    ]
    return _write(folder, nodes, "sink", {**_STEPS, **_PIPELINE})


def _from(node_id: str) -> str:
    return f"from_node: [{{node_id: {node_id}, output_handle: out}}]"


def _node(
    node_id: str,
    entry: str,
    sources: Sequence[str],
    *,
    handles: Sequence[str] = ("x",),
    function: str = "main",
    concurrency: int = 1,
) -> str:
    inputs = ", ".join(f"{{handle: {handle}}}" for handle in handles)
    feeds = ", ".join(f"{{handle: {handle}, {source}}}" for handle, source in zip(handles, sources, strict=True))
    return f"""
  - node_id: {node_id}
    concurrency: {concurrency}
    task:
      inputs_def: [{inputs}]
      outputs_def: [{{handle: out}}]
      executor: {{name: python, options: {{entry: {entry}, function: {function}}}}}
    inputs_from: [{feeds}]
"""


def _write(folder: Path, nodes: Sequence[str], last: str, scriptlets: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in scriptlets.items():
        (folder / name).write_text(text, "utf-8")
    outputs = f"outputs_def: [{{handle: result}}]\noutputs_from: [{{handle: result, {_from(last)}}}]\n"
    manifest = folder / "flow.oo.yaml"
    manifest.write_text("nodes:\n" + "".join(nodes) + outputs, "utf-8")
    return manifest
