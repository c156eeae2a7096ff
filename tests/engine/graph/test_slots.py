"""What fills the slots of a subflow, and how added inputs travel (flow-format.md 2.5)."""

from __future__ import annotations

import pytest

from oocana_async.engine.graph.graph import Graph, Node, NodeTarget, Scope, SlotBlock, SubflowBlock
from oocana_async.engine.manifests.blocks import TaskBlock
from tests.engine.conftest import Project

HOST = """\
inputs_def: [{handle: n}]
outputs_def: [{handle: res}]
nodes:
  - node_id: hole
    slot: {inputs_def: [{group: In}, {handle: x}], outputs_def: [{handle: out}]}
    inputs_from: [{handle: x, from_flow: [{input_handle: n}]}]
outputs_from: [{handle: res, from_node: [{node_id: hole, output_handle: out}]}]
"""
FILLER = """\
inputs_def: [{handle: other}]
nodes:
  - node_id: t
    task: {executor: {name: python}, inputs_def: [{handle: y}]}
    inputs_from: [{handle: y, from_flow: [{input_handle: extra}]}]
"""
SOURCE = "{node_id: k, task: {executor: {name: python}, outputs_def: [{handle: out}]}}"


@pytest.fixture
def host(project: Project) -> Project:
    """A package with a subflow that has a slot, and providers for it."""
    project.write("subflows/host/subflow.oo.yaml", HOST)
    project.write("slotflows/filler/slotflow.oo.yaml", FILLER)
    project.write("tasks/filler/task.oo.yaml", "executor: {name: python}\ninputs_def: [{handle: other}]\n")
    return project


def use(host: Project, slots: str, inputs: str = "") -> Graph:
    """Load a flow whose node `s` uses the subflow with some slots."""
    return host.flow(
        f"inputs_def: [{{handle: in}}]\nnodes:\n  - {SOURCE}\n  - {{node_id: v, values: [{{handle: a, value: 7}}]}}\n"
        f"  - {{node_id: s, subflow: self::host, slots: [{slots}], inputs_from: [{{handle: n, value: 1}}{inputs}]}}\n"
    ).graph()


def inner(graph: Graph, node_id: str = "s") -> Graph:
    """Return the graph that a subflow node runs."""
    block = graph.nodes[node_id].block
    assert isinstance(block, SubflowBlock)
    return block.graph


def hole(graph: Graph, node_id: str = "s") -> tuple[Node, SlotBlock]:
    """Return the slot node inside a subflow node, and its block."""
    node = inner(graph, node_id).nodes["hole"]
    assert isinstance(node.block, SlotBlock)
    return node, node.block


def test_task_runs_with_the_definitions_of_the_slot(host: Project) -> None:
    node, block = hole(use(host, "{slot_node_id: hole, task: self::filler}"))
    assert isinstance(block.provider, TaskBlock)
    assert (list(node.inputs_def or ()), list(node.outputs_def or ())) == (["x"], ["out"])
    assert block.scope == Scope("slot")


def test_subflow_fills_a_slot(host: Project) -> None:
    path = host.write("subflows/filler/subflow.oo.yaml", "inputs_def: [{handle: x}]")
    _, block = hole(use(host, "{slot_node_id: hole, subflow: self::filler}"))
    assert isinstance(block.provider, SubflowBlock)
    assert block.provider.graph.path == path


def test_package_provider_runs_in_the_scope_of_its_package(host: Project) -> None:
    path = host.write("../store/lib/tasks/t/task.oo.yaml", "executor: {name: python}").resolve()
    host.flow("nodes:\n  - {node_id: s, subflow: self::host, slots: [{slot_node_id: hole, task: lib::t}]}")
    _, block = hole(host.graph(search_paths=["../store"]))
    assert block.scope == Scope("package", None, "lib", path.parent.parent.parent)


def test_slotflow_has_the_inputs_of_the_slot_and_the_added_ones(host: Project) -> None:
    graph = use(host, "{slot_node_id: hole, slotflow: self::filler, inputs_def: [{handle: extra}, {handle: x}]}")
    _, block = hole(graph)
    assert isinstance(block.provider, SubflowBlock)
    filler = block.provider.graph
    assert (filler.kind, list(filler.inputs_def or ())) == ("slotflow", ["x", "extra"])
    assert filler.nodes["t"].queued == {"y"}


def test_slotflow_without_additions_drops_connections_to_its_own_inputs(host: Project) -> None:
    _, block = hole(use(host, "{slot_node_id: hole, slotflow: self::filler}"))
    assert isinstance(block.provider, SubflowBlock)
    filler = block.provider.graph
    assert list(filler.inputs_def or ()) == ["x"]
    assert filler.nodes["t"].unfed == ("y",)


@pytest.mark.parametrize("source", ["from_node: [{node_id: k, output_handle: out}]", "from_flow: [{input_handle: in}]"])
def test_added_input_travels_through_the_subflow_and_is_remembered(host: Project, source: str) -> None:
    added = f"inputs_def: [{{handle: extra}}], inputs_from: [{{handle: extra, {source}}}]"
    graph = use(host, f"{{slot_node_id: hole, slotflow: self::filler, {added}}}")
    node, _ = hole(graph)
    assert (list(node.inputs_def or ()), node.queued, node.remembered) == (
        ["x", "extra"],
        frozenset({"x", "extra"}),
        frozenset({"extra"}),
    )
    assert (node.inputs_def or {})["extra"].is_additional
    assert inner(graph).input_targets["runtime::hole-extra"] == (NodeTarget("hole", "extra"),)
    outer = graph.nodes["s"]
    assert list(outer.inputs_def or ()) == ["n", "runtime::hole-extra"]
    assert (outer.inputs_def or {})["runtime::hole-extra"].handle == "runtime::hole-extra"
    assert outer.queued == {"runtime::hole-extra"}
    targets = [*graph.targets.values(), *graph.input_targets.values()]
    assert targets == [(NodeTarget("s", "runtime::hole-extra"),)]


@pytest.mark.parametrize("source", ["value: 7", "from_node: [{node_id: v, output_handle: a}]"])
def test_added_input_with_a_fixed_value_is_static_on_both_sides(host: Project, source: str) -> None:
    added = f"inputs_def: [{{handle: extra}}], inputs_from: [{{handle: extra, {source}}}]"
    graph = use(host, f"{{slot_node_id: hole, slotflow: self::filler, {added}}}")
    node, _ = hole(graph)
    assert (node.static, node.remembered) == ({"extra": 7}, frozenset())
    assert graph.nodes["s"].static == {"n": 1, "runtime::hole-extra": 7}
    assert "runtime::hole-extra" not in inner(graph).input_targets


def test_added_input_without_value_blocks_the_node_and_is_warned_about(host: Project) -> None:
    graph = use(host, "{slot_node_id: hole, slotflow: self::filler, inputs_def: [{handle: extra}]}")
    assert graph.nodes["s"].unfed == ("runtime::hole-extra",)
    assert [(w.code, w.line) for w in host.load().warnings if w.code == "unfed-slot-input"] == [("unfed-slot-input", 5)]


def test_shared_subflow_is_not_changed_by_one_of_its_uses(host: Project) -> None:
    host.flow(
        f"""\
        nodes:
          - {SOURCE}
          - node_id: one
            subflow: self::host
            inputs_from: [{{handle: n, value: 1}}]
            slots:
              - slot_node_id: hole
                slotflow: self::filler
                inputs_def: [{{handle: extra}}]
                inputs_from: [{{handle: extra, from_node: [{{node_id: k, output_handle: out}}]}}]
          - node_id: two
            subflow: self::host
            inputs_from: [{{handle: n, value: 2}}]
            slots: [{{slot_node_id: hole, slotflow: self::filler}}]
          - {{node_id: three, subflow: self::host, inputs_from: [{{handle: n, value: 3}}]}}
        """
    )
    graph = host.graph()
    assert [list(hole(graph, name)[0].inputs_def or ()) for name in ("one", "two", "three")] == [
        ["x", "extra"], ["x"], ["x"],
    ]  # fmt: skip
    assert [inner(graph, name).unfilled_slots for name in ("one", "two", "three")] == [
        frozenset(), frozenset(), frozenset({"hole"}),
    ]  # fmt: skip
    assert list(graph.nodes["three"].inputs_def or ()) == ["n"]


def test_unfilled_slot(host: Project) -> None:
    graph = use(host, "")
    node, block = hole(graph)
    assert (block.provider, list(node.inputs_def or ())) == (None, ["x"])
    assert (inner(graph).has_slot, graph.has_slot) == (True, False)


def test_subflow_that_fills_its_own_slot_with_itself_can_be_loaded(project: Project) -> None:
    project.write(
        "subflows/host/subflow.oo.yaml",
        """\
        nodes:
          - {node_id: hole, slot: {}}
          - {node_id: again, subflow: self::host, slots: [{slot_node_id: hole, subflow: self::host}]}
        """,
    )
    graph = project.graph("subflows/host")
    first = inner(graph, "again")
    assert inner(first, "again") is first


@pytest.mark.parametrize(
    ("slots", "warning"),
    [
        ("{slot_node_id: hol, task: self::filler}",
         'unknown-slot: the subflow has no slot "hol", the entry is ignored did you mean "hole"?'),
        ("{slot_node_id: hole, subflow: self::host}",
         'unfilled-slot: the subflow "self::host" has slots, which stay unfilled'),
        ("{slot_node_id: hole, slotflow: self::filler, inputs_from: [{handle: z, value: 1}]}",
         'unknown-handle: the input "z" is not added to the slot "hole" by "inputs_def", its value is ignored'),
    ],
)  # fmt: skip
def test_slot_entry_without_effect_is_warned_about(host: Project, slots: str, warning: str) -> None:
    found = host.warnings(f"nodes:\n  - {{node_id: s, subflow: self::host, slots: [{slots}]}}")
    assert warning in [text.split(" ", 1)[1] for text in found]


def test_slotflow_must_be_of_the_own_package(host: Project) -> None:
    fault = host.fault_in(
        "nodes:\n  - {node_id: s, subflow: self::host, slots: [{slot_node_id: hole, slotflow: 'p::f'}]}"
    )
    assert fault.reason == 'a slotflow must be named as "self::name", found "p::f"'
    assert (fault.line, fault.column) == (2, 78)
