"""Random flows against a slow, obvious model of flow-format.md 9."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.graphs import Play, Sources, node

HANDLES = ("p", "q")
EMITTED = ("out", "more")


@dataclass
class Spec:
    """A node: which (node, output handle) pairs feed its inputs, and how many of its runs go at once."""

    name: str
    sources: Sources
    concurrency: int


@dataclass
class Model:
    """The algorithm as it is written in the fact sheet, with lists and scans."""

    specs: list[Spec]
    queues: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    active: dict[str, list[str]] = field(default_factory=dict)
    pending: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def start(self) -> list[str]:
        return [self._run(spec) for spec in self.specs if self._is_satisfied(spec)]

    def value(self, job: str, handle: str, value: Any) -> list[str]:
        started = []
        for spec in self.specs:
            for input_handle, sources in spec.sources.items():
                for source in sources:
                    if source == (self._node_of(job), handle):
                        started += self._push(spec, input_handle, value)
        return started

    def end(self, job: str, result: Mapping[str, Any]) -> list[str]:
        name = self._node_of(job)
        self.active[name].remove(job)
        started = []
        spec = next(spec for spec in self.specs if spec.name == name)
        if self.pending.get(name, 0) > 0 and self._has_slot(spec):
            self.pending[name] -= 1
            started.append(self._run(spec))
        for handle, value in result.items():
            started += self.value(job, handle, value)
        return started

    @property
    def is_over(self) -> bool:
        return not any(self.active.values())

    def _push(self, spec: Spec, handle: str, value: Any) -> list[str]:
        before = self._complete_sets(spec)
        self.queues.setdefault((spec.name, handle), []).append(value)
        if not self._is_satisfied(spec):
            return []
        if self._has_slot(spec):
            return [self._run(spec)]
        if self._complete_sets(spec) > before:
            self.pending[spec.name] = self.pending.get(spec.name, 0) + 1
        return []

    def _complete_sets(self, spec: Spec) -> int:
        return min((len(self.queues.get((spec.name, handle), [])) for handle in spec.sources), default=0)

    def _is_satisfied(self, spec: Spec) -> bool:
        return all(self.queues.get((spec.name, handle)) for handle in spec.sources)

    def _has_slot(self, spec: Spec) -> bool:
        return spec.concurrency < 0 or len(self.active.get(spec.name, [])) < spec.concurrency

    def _run(self, spec: Spec) -> str:
        number = self.runs[spec.name] = self.runs.get(spec.name, 0) + 1
        job = f"{spec.name}{number}"
        self.active.setdefault(spec.name, []).append(job)
        self.inputs[job] = {handle: self.queues[spec.name, handle].pop(0) for handle in spec.sources}
        return job

    @staticmethod
    def _node_of(job: str) -> str:
        return job[0]


@st.composite
def acyclic_flows(draw: st.DrawFn) -> list[Spec]:
    specs: list[Spec] = []
    for index in range(draw(st.integers(1, 6))):
        earlier = [(spec.name, handle) for spec in specs for handle in EMITTED]
        handles = draw(st.lists(st.sampled_from(HANDLES), unique=True)) if earlier else []
        sources = {handle: draw(st.lists(st.sampled_from(earlier), min_size=1, max_size=3)) for handle in handles}
        specs.append(Spec("abcdef"[index], sources, draw(st.sampled_from([-1, 0, 1, 1, 2, 3]))))
    return specs


def play_of(specs: list[Spec]) -> Play:
    return Play(*(node(spec.name, spec.sources, concurrency=spec.concurrency) for spec in specs))


@settings(max_examples=120, deadline=None)
@given(acyclic_flows(), st.data())
def test_flow_state_does_what_the_model_does(specs: list[Spec], data: st.DataObject) -> None:
    """Whatever runs emit, in whatever order they end: the same runs start with the same inputs, and the flow ends."""
    model, play = Model(specs), play_of(specs)
    assert play.start() == model.start()
    ended: list[str] = []
    emitted: dict[tuple[str, str], list[int]] = {}
    for step in range(10_000):
        assert (play.finish is not None) == model.is_over
        if play.finish is not None:
            break
        job = data.draw(st.sampled_from(sorted(play.running)))
        emits = step < 40 and data.draw(st.booleans())
        handle = data.draw(st.sampled_from(EMITTED))
        emitted.setdefault((job[0], handle), []).append(step)
        if emits:
            assert play.output(job, handle, step) == model.value(job, handle, step)
        else:
            ended.append(job)
            assert play.end(job, {handle: step}) == model.end(job, {handle: step})
    assert play.finish is not None, "the flow hangs"
    assert play.inputs == model.inputs
    assert sorted(ended) == sorted(play.inputs), "every run that started has exactly one end"
    assert_first_in_first_out(specs, play, emitted)


def assert_first_in_first_out(specs: list[Spec], play: Play, emitted: Mapping[tuple[str, str], list[int]]) -> None:
    """A handle with one connection consumes the values of its source in the order of their emission."""
    for spec in specs:
        runs = [play.inputs[f"{spec.name}{n}"] for n in range(1, sum(job[0] == spec.name for job in play.inputs) + 1)]
        for handle, sources in spec.sources.items():
            if len(sources) == 1:
                taken = [inputs[handle] for inputs in runs]
                assert taken == emitted.get(sources[0], [])[: len(taken)]


@settings(max_examples=50, deadline=None)
@given(acyclic_flows(), st.data())
def test_failure_ends_the_flow_at_once(specs: list[Spec], data: st.DataObject) -> None:
    play = play_of(specs)
    play.start()
    for step in range(data.draw(st.integers(0, 8))):
        if play.running:
            play.end(data.draw(st.sampled_from(sorted(play.running))), {"out": step})
    if play.running:
        job = data.draw(st.sampled_from(sorted(play.running)))
        assert play.end(job, {"out": 1}, error="boom") == []
        assert play.finish is not None
        assert (play.finish.node_id, play.finish.error) == (job[0], "boom")
