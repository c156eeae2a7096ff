"""Random flows, from their files through the real executor to their events."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from oocana_async.engine import open_session
from tests.engine.flows import task, write_flow

KINDS = {
    "async": "async def main(params, context):\n    for n in range(params['count']):\n"
    "        await context.output('out', [context.job_id, n])\n",
    "sync": "def main(params, context):\n    for n in range(params['count']):\n"
    "        context.output('out', [context.job_id, n])\n",
}


@dataclass(frozen=True)
class Spec:
    """A node: how many values each of its runs emits, and which nodes feed each of its inputs."""

    name: str
    count: int
    sources: dict[str, list[str]]
    concurrency: int
    kind: str

    def to_node(self) -> dict[str, Any]:
        inputs: dict[str, Any] = {handle: [(name, "out") for name in names] for handle, names in self.sources.items()}
        executor = {"name": "python", "options": {"entry": f"{self.kind}.py"}}
        inputs["count"] = {"value": self.count}
        return task(self.name, inputs, executor=executor, concurrency=self.concurrency)


@st.composite
def acyclic_flows(draw: st.DrawFn) -> list[Spec]:
    specs: list[Spec] = []
    for name in "abcdef"[: draw(st.integers(1, 6))]:
        earlier = st.lists(st.sampled_from([spec.name for spec in specs] or [""]), min_size=1, max_size=2)
        handles = draw(st.lists(st.sampled_from("pq"), unique=True)) if specs else []
        sources = {handle: draw(earlier) for handle in handles}
        kind = draw(st.sampled_from(sorted(KINDS)))
        specs.append(Spec(name, draw(st.integers(0, 3)), sources, draw(st.sampled_from([-1, 1, 1, 2, 3])), kind))
    return specs


def runs_of(specs: list[Spec]) -> Counter[str]:
    """Count the runs as a person would: each takes one value of every input (flow-format.md 5.4)."""
    runs: Counter[str] = Counter()
    for spec in specs:
        arriving = [sum(runs[s.name] * s.count for name in names for s in specs if s.name == name)
                    for names in spec.sources.values()]  # fmt: skip
        runs[spec.name] = min(arriving, default=1)
    return +runs


async def events_of(specs: list[Spec], root: Path) -> list[dict[str, Any]]:
    flow = write_flow(root, [spec.to_node() for spec in specs])
    for kind, text in KINDS.items():
        flow.with_name(f"{kind}.py").write_text(text, encoding="utf-8")
    places: dict[str, Any] = {"session_dir": root / "session", "temp_root": root, "project_data": root / "data"}
    async with asyncio.timeout(30), open_session(flow, **places) as running:
        events = [json.loads(event) async for event in running.raw_events(lossless=True)]
        (await running.result()).raise_for_status()
    return events


@settings(max_examples=60, deadline=None)
@given(acyclic_flows())
def test_flow_ends_and_every_run_has_one_end_and_its_values_in_order(specs: list[Spec]) -> None:
    with tempfile.TemporaryDirectory() as root:
        events = asyncio.run(events_of(specs, Path(root)))
    started = [event for event in events if event["type"] == "BlockStarted"]
    ended = [event["job_id"] for event in events if event["type"] == "BlockFinished"]
    assert Counter(event["stacks"][-1]["node_id"] for event in started) == runs_of(specs)
    assert sorted(ended) == sorted(event["job_id"] for event in started)
    for spec in specs:
        for handle, names in spec.sources.items():
            taken = [event["inputs"][handle] for event in started if event["stacks"][-1]["node_id"] == spec.name]
            assert taken == emitted_by(names, events)[: len(taken)]


def emitted_by(names: list[str], events: list[dict[str, Any]]) -> list[Any]:
    """Return what arrives at an input, in order; a connection that is written twice delivers twice."""
    outputs = [event for event in events if event["type"] == "BlockOutput"]
    return [event["output"] for event in outputs for _ in range(names.count(event["stacks"][-1]["node_id"]))]
