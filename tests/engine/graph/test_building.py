"""Graphs as they are built: fixed values, queues, additions, targets, scopes (flow-format.md 2-5.3)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from oocana_async.engine.graph.graph import FlowTarget, Graph, Node, NodeTarget, Scope, SubflowBlock
from oocana_async.engine.manifests.blocks import ConditionBlock, ServiceBlock, TaskBlock
from tests.engine.conftest import Project

FEED = """\
inputs_def: [{handle: in}]
nodes:
  - {node_id: v, values: [{handle: base, value: 10}, {handle: bare}, {handle: optional, nullable: true}]}
  - {node_id: w, values: [{handle: base, value: 20}]}
  - node_id: src
    task: {executor: {name: python}, outputs_def: [{handle: out}]}
  - node_id: n
    task: {executor: {name: python}, inputs_def: [{handle: x, value: 1}]}
    inputs_from:
"""


def fed(project: Project, entry: str) -> Node:
    """Return the node `n` whose handle `x` is fed by one entry."""
    return project.flow(f"{FEED}      - {entry}\n").graph().nodes["n"]


@pytest.mark.parametrize(
    ("entry", "static", "queued"),
    [
        ("{handle: x, value: 5}", 5, False),
        ("{handle: x, value: null}", None, False),
        ("{handle: x, value: }", None, False),
        ("{handle: x}", "unfed", False),
        ("{handle: y}", "unfed", False),
        ("{handle: x, from_node: [{node_id: v, output_handle: base}]}", 10, False),
        ("{handle: x, value: 5, from_node: [{node_id: v, output_handle: base}]}", 10, False),
        ("{handle: x, value: 5, from_node: [{node_id: v, output_handle: bare}]}", "unfed", False),
        ("{handle: x, from_node: [{node_id: v, output_handle: optional}]}", None, False),
        ("{handle: x, value: 5, from_node: [{node_id: v, output_handle: nowhere}]}", 5, False),
        (
            "{handle: x, from_node: [{node_id: v, output_handle: base}, {node_id: w, output_handle: base}]}",
            "unfed",
            False,
        ),
        (
            "{handle: x, value: 5, from_node: [{node_id: v, output_handle: base}, {node_id: w, output_handle: base}]}",
            5,
            False,
        ),
        ("{handle: x, value: 5, from_node: [{node_id: src, output_handle: out}]}", "unfed", True),
        (
            "{handle: x, from_node: [{node_id: src, output_handle: out}, {node_id: v, output_handle: base}]}",
            "unfed",
            True,
        ),
        ("{handle: x, value: 5, from_flow: [{input_handle: in}]}", "unfed", True),
        ("{handle: x, value: 5, from_flow: [{input_handle: nowhere}]}", 5, False),
        ("{handle: x, value: 5, from_node: [{node_id: nowhere, output_handle: out}]}", 5, False),
    ],
)
def test_input_is_a_fixed_value_or_a_queue(project: Project, entry: str, static: Any, queued: bool) -> None:
    node = fed(project, entry)
    assert node.static == ({} if static == "unfed" else {"x": static})
    assert node.queued == ({"x"} if queued else frozenset())
    assert node.unfed == (() if queued or static != "unfed" else ("x",))


def test_undeclared_value_is_ignored_but_an_undeclared_connection_delivers(project: Project) -> None:
    node = fed(project, "{handle: y, value: 1}\n      - {handle: z, from_node: [{node_id: src, output_handle: out}]}")
    assert (node.static, node.queued) == ({}, frozenset({"z"}))


def test_first_entry_of_a_handle_gives_the_value_and_all_give_connections(project: Project) -> None:
    assert fed(project, "{handle: x, value: 1}\n      - {handle: x, value: 2}").static == {"x": 1}
    node = fed(project, "{handle: x, value: 1}\n      - {handle: x, from_flow: [{input_handle: in}]}")
    assert (node.static, node.queued) == ({}, frozenset({"x"}))


@pytest.mark.parametrize(
    ("entry", "warning"),
    [
        ("{handle: x, from_node: [{node_id: scr, output_handle: out}]}",
         '10:33 unknown-node: the flow has no node "scr", the connection is ignored did you mean "src"?'),
        ("{handle: x, from_node: [{node_id: v, output_handle: bas}]}",
         ('10:33 unknown-handle: the value node "v" has no handle "bas", the connection is ignored '
          'did you mean "base"?')),
        ("{handle: x, from_flow: [{input_handle: inn}]}",
         '10:33 unknown-flow-input: the flow has no input "inn", the connection is ignored did you mean "in"?'),
    ],
)  # fmt: skip
def test_connection_to_nowhere_is_warned_about(project: Project, entry: str, warning: str) -> None:
    assert warning in project.warnings(f"{FEED}      - {entry}\n")


def test_targets_are_flow_outputs_first_then_nodes_in_file_order_with_repeats(project: Project) -> None:
    graph = project.flow(
        """\
        inputs_def: [{handle: in}]
        nodes:
          - node_id: b
            task: {executor: {name: shell}}
            inputs_from:
              - {handle: y, from_node: [{node_id: a, output_handle: o}, {node_id: a, output_handle: o}]}
              - {handle: x, from_node: [{node_id: a, output_handle: o}], from_flow: [{input_handle: in}]}
          - {node_id: a, task: {executor: {name: shell}}, inputs_from: [{handle: z, from_flow: [{input_handle: in}]}]}
        outputs_from:
          - {handle: r2, from_node: [{node_id: a, output_handle: o}], from_flow: [{input_handle: in}]}
          - {handle: r1, from_node: [{node_id: a, output_handle: o}]}
        """
    ).graph()
    assert graph.targets == {
        ("a", "o"): (
            FlowTarget("r2"),
            FlowTarget("r1"),
            NodeTarget("b", "y"),
            NodeTarget("b", "y"),
            NodeTarget("b", "x"),
        )
    }
    assert graph.input_targets == {"in": (FlowTarget("r2"), NodeTarget("b", "x"), NodeTarget("a", "z"))}


def test_ignored_nodes_and_value_nodes_are_gone_and_not_looked_up(project: Project) -> None:
    project.flow(
        """\
        nodes:
          - {node_id: gone, ignore: true, task: self::nowhere}
          - {node_id: v, ignore: true, values: [{handle: x, value: 1}]}
          - node_id: n
            task: {executor: {name: shell}, inputs_def: [{handle: x}]}
            inputs_from: [{handle: x, from_node: [{node_id: v, output_handle: x}, {node_id: gone, output_handle: y}]}]
        """
    )
    graph = project.graph()
    assert list(graph.nodes) == ["n"]
    assert (graph.nodes["n"].static, graph.nodes["n"].queued) == ({}, frozenset())


def test_node_keeps_its_settings(project: Project) -> None:
    node = project.flow(
        """\
        nodes:
          - node_id: n
            concurrency: -1
            timeout: 7
            progress_weight: 2
            description: what it does
            task: {executor: {name: shell}}
        """
    ).graph().nodes["n"]  # fmt: skip
    assert (node.concurrency, node.timeout, node.weight, node.description) == (-1, 7, 2.0, "what it does")
    assert (node.source and (node.source.path, node.source.line, node.source.column)) == (project.main, 2, 5)


def test_defaults_of_a_node(project: Project) -> None:
    node = project.flow("nodes:\n  - {node_id: n, task: {executor: {name: shell}}}").graph().nodes["n"]
    assert (node.concurrency, node.timeout, node.weight, node.inputs_def, node.outputs_def) == (
        1,
        None,
        1.0,
        None,
        None,
    )


def test_additions_count_only_if_the_task_allows_them(project: Project) -> None:
    project.write(
        "tasks/more/task.oo.yaml",
        """\
        executor: {name: python}
        inputs_def: [{handle: x, description: own}]
        outputs_def: [{handle: out}]
        additional_inputs: true
        additional_outputs: true
        """,
    )
    project.write("tasks/less/task.oo.yaml", "executor: {name: python}\nadditional_outputs: true\n")
    extra = "inputs_def: [{handle: x}, {handle: k}], outputs_def: [{handle: plus}]"
    project.flow(
        f"nodes:\n  - {{node_id: a, task: self::more, {extra}}}\n  - {{node_id: b, task: self::less, {extra}}}"
    )
    a, b = project.graph().nodes.values()
    assert [(h.handle, h.is_additional, h.description) for h in (a.inputs_def or {}).values()] == [
        ("x", False, "own"),
        ("k", True, None),
    ]
    assert [(h.handle, h.is_additional) for h in (a.outputs_def or {}).values()] == [("out", False), ("plus", True)]
    assert (b.inputs_def, b.outputs_def) == (None, None)
    assert isinstance(a.block, TaskBlock)
    assert list(a.block.inputs_def or ()) == ["x"]


def test_inline_task_runs_in_the_directory_of_the_flow(project: Project) -> None:
    block = project.flow("nodes:\n  - {node_id: n, task: {executor: {name: python}}}").graph().nodes["n"].block
    assert isinstance(block, TaskBlock)
    assert (block.path, block.directory, block.package_path) == (None, project.main.parent, project.root)


def test_task_file_runs_in_its_own_directory_and_is_shared(project: Project) -> None:
    path = project.write("tasks/t/task.oo.yaml", "executor: {name: python}\ndescription: d\n")
    graph = project.flow("nodes:\n  - {node_id: a, task: self::t}\n  - {node_id: b, task: self::t}").graph()
    block = graph.nodes["a"].block
    assert isinstance(block, TaskBlock)
    assert (block.path, block.directory, block.package_path, block.description) == (
        path,
        path.parent,
        project.root,
        "d",
    )
    assert graph.nodes["b"].block is block


def test_hidden_source_is_marked_on_task_files_only(project: Project) -> None:
    project.write(".metadata.oo.json", '{"hide_source": true}')
    project.write("tasks/t/task.oo.yaml", "executor: {name: python}")
    graph = project.flow(
        "nodes:\n  - {node_id: a, task: self::t}\n  - {node_id: b, task: {executor: {name: shell}}}"
    ).graph()
    blocks = [node.block for node in graph.nodes.values()]
    assert [isinstance(block, TaskBlock) and block.hide_source for block in blocks] == [True, False]


def test_spawned_inline_task_has_a_process_that_others_join(project: Project) -> None:
    project.write("tasks/t/task.oo.yaml", "executor: {name: python, options: {spawn: true}}")
    nodes = project.flow(
        """\
        nodes:
          - {node_id: own, task: {executor: {name: python, options: {spawn: true}}}}
          - {node_id: joins, task: {executor: {name: python}}, inject: {node_id: own}}
          - {node_id: file, task: self::t}
          - {node_id: package, task: {executor: {name: python}}, inject: {node_id: own, package: p}}
          - {node_id: lost, task: {executor: {name: python}}, inject: {node_id: nowhere}}
        """
    ).graph().nodes  # fmt: skip
    scopes = {node_id: node.scope for node_id, node in nodes.items()}
    assert scopes == {
        "own": Scope(node_id="own"), "joins": Scope(node_id="own"), "file": Scope(), "package": Scope(),
        "lost": Scope(),
    }  # fmt: skip
    assert nodes["joins"].inject_node == "own"


def test_inject_into_a_node_that_is_not_there_is_warned_about(project: Project) -> None:
    text = """\
        nodes:
          - {node_id: own, task: {executor: {name: python}}}
          - {node_id: lost, task: {executor: {name: python}}, inject: {node_id: onw}}
        """
    assert project.warnings(text) == [
        '3:5 unknown-node: the flow has no node "onw", "inject" is ignored did you mean "own"?'
    ]


def test_package_subflow_runs_in_the_scope_of_its_package(project: Project) -> None:
    path = project.write("../store/lib/subflows/s/subflow.oo.yaml", "")
    project.write("../store/lib/tasks/t/task.oo.yaml", "executor: {name: python}")
    project.write("subflows/s/subflow.oo.yaml", "")
    project.flow(
        """\
        nodes:
          - {node_id: foreign, subflow: lib::s}
          - {node_id: own, subflow: self::s}
          - {node_id: task, task: lib::t}
        """
    )
    scopes = [node.scope for node in project.graph(search_paths=["../store"]).nodes.values()]
    package = path.resolve().parent.parent.parent
    assert scopes == [Scope("package", None, "lib", package), Scope(), Scope()]


def test_subflow_node_has_the_definitions_of_the_subflow(project: Project) -> None:
    path = project.write(
        "subflows/s/subflow.oo.yaml", "inputs_def: [{handle: i}]\noutputs_def: [{handle: o}]\nforward_previews: [x]\n"
    )
    node = project.flow("nodes:\n  - {node_id: n, subflow: self::s, inputs_def: [{handle: z}]}").graph().nodes["n"]
    assert (list(node.inputs_def or ()), list(node.outputs_def or ())) == (["i"], ["o"])
    assert isinstance(node.block, SubflowBlock)
    inner = node.block.graph
    assert (inner.path, inner.kind, inner.directory, inner.package_path) == (path, "subflow", path.parent, project.root)
    assert inner.forward_previews == {"x"}


def test_subflow_used_twice_is_one_graph(project: Project) -> None:
    project.write("subflows/s/subflow.oo.yaml", "")
    graph = project.flow("nodes:\n  - {node_id: a, subflow: self::s}\n  - {node_id: b, subflow: self::s}").graph()
    a, b = (node.block for node in graph.nodes.values())
    assert isinstance(a, SubflowBlock)
    assert isinstance(b, SubflowBlock)
    assert a.graph is b.graph


def test_subflow_that_contains_itself_has_its_declared_inputs(project: Project) -> None:
    project.write(
        "subflows/s/subflow.oo.yaml",
        """\
        inputs_def: [{handle: n}]
        nodes:
          - {node_id: again, subflow: self::s, inputs_from: [{handle: n, from_flow: [{input_handle: n}]}]}
        """,
    )
    graph = project.graph("subflows/s")
    again = graph.nodes["again"]
    assert (list(again.inputs_def or ()), again.queued) == (["n"], frozenset({"n"}))
    assert isinstance(again.block, SubflowBlock)
    assert again.block.graph is graph


@pytest.mark.parametrize(
    ("name", "kind"),
    [("flow.oo.yaml", "flow"), ("subflow.oo.yml", "subflow"), ("slotflow.oo.yaml", "slotflow"),
     ("my-flow.oo.yaml", "flow"), ("other.oo.yaml", "slotflow")],
)  # fmt: skip
def test_kind_of_a_flow_follows_its_file_name(project: Project, name: str, kind: str) -> None:
    project.write(f"flows/x/{name}", "nodes: []")
    assert project.graph(f"./flows/x/{name}").kind == kind


def test_service_node(project: Project) -> None:
    service = """\
        executor: {name: python, entry: main.py, function: run, start_at: app_start, stop_at: never, keep_alive: 5}
        blocks: [{name: one, inputs_def: [{handle: x}], outputs_def: [{handle: y}]}, {name: svc}]
        """
    path = project.write("../store/lib/services/svc/service.oo.yaml", service)
    project.write("services/svc/service.oo.yaml", service)
    project.flow(
        """\
        nodes:
          - {node_id: a, service: lib::svc::one}
          - {node_id: b, service: lib::svc}
          - {node_id: c, service: self::svc::one}
        """
    )
    a, b, c = (node.block for node in project.graph(search_paths=["../store"]).nodes.values())
    assert isinstance(a, ServiceBlock)
    assert isinstance(b, ServiceBlock)
    assert isinstance(c, ServiceBlock)
    assert (a.path, a.directory, a.block_name) == (path.resolve(), path.resolve().parent, "one")
    assert a.executor.to_wire() == {
        "name": "python", "entry": "main.py", "function": "run", "start_at": "app_start", "stop_at": "never",
        "keep_alive": 5,
    }  # fmt: skip
    assert (b.block_name, c.block_name, c.directory) == ("svc", "one", project.root / "services" / "svc")
    assert a.service_hash == hashlib.sha256(str(a.directory).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("service", "reason", "hint"),
    [
        ("executor: {name: python}\nblocks: [{name: other}]", 'has no block "oter", expected "other"',
         'did you mean "other"?'),
        ("executor: {name: python}", 'has no block "oter", expected one; it has none', ""),
        ("executor: {entry: x}\nblocks: [{name: oter}]", 'names no executor, expected "executor.name"', ""),
        ("blocks: [{name: oter}]", 'names no executor, expected "executor.name"', ""),
    ],
)  # fmt: skip
def test_service_block_that_is_not_there(project: Project, service: str, reason: str, hint: str) -> None:
    project.write("services/svc/service.oo.yaml", service)
    fault = project.fault_in("nodes:\n  - {node_id: a, service: self::svc::oter}")
    assert reason in fault.reason
    assert (fault.line, fault.column, fault.hint) == (2, 27, hint)


@pytest.mark.parametrize(
    ("executor", "reason"),
    [("{name: python, keep_alive: soon}", '"keep_alive" must be an integer of at least 0'),
     ("[x]", '"executor" must be a mapping')],
)  # fmt: skip
def test_broken_service_file_is_a_fault(project: Project, executor: str, reason: str) -> None:
    path = project.write("services/svc/service.oo.yaml", f"executor: {executor}\nblocks: [{{name: one}}]")
    fault = project.faults_in("nodes:\n  - {node_id: a, service: self::svc::one}")[0]
    assert (fault.path, reason in fault.reason) == (path, True)


def test_unknown_start_and_stop_are_warned_about_and_the_default_is_used(project: Project) -> None:
    project.write(
        "services/svc/service.oo.yaml",
        "executor: {name: python, start_at: soon, stop_at: app_ends}\nblocks: [{name: a}]",
    )
    loaded = project.flow("nodes:\n  - {node_id: a, service: self::svc::a}").load()
    assert isinstance(loaded.root, Graph)
    block = loaded.root.nodes["a"].block
    assert isinstance(block, ServiceBlock)
    assert (block.executor.start_at, block.executor.stop_at) == ("block_start", "session_end")
    assert [(w.code, w.line, w.hint) for w in loaded.warnings] == [
        ("unknown-choice", 1, ""), ("unknown-choice", 1, 'did you mean "app_end"?'),
    ]  # fmt: skip


def test_condition_node(project: Project) -> None:
    node = project.flow(
        """\
        nodes:
          - node_id: route
            inputs_def: [{handle: amount, json_schema: {type: number}}]
            progress_weight: 5
            conditions:
              cases:
                - handle: large
                  logical: AND
                  expressions: [{input_handle: amount, operator: ">=", value: 100}]
                - {handle: none, expressions: []}
              default: {handle: rest}
        """
    ).graph().nodes["route"]  # fmt: skip
    assert isinstance(node.block, ConditionBlock)
    assert [(case.handle, case.logical, len(case.expressions)) for case in node.block.cases] == [
        ("large", "AND", 1),
        ("none", "OR", 0),
    ]
    assert (node.block.default, node.weight) == ("rest", 0.0)
    assert {h: d.json_schema for h, d in (node.outputs_def or {}).items()} == {
        "large": {"type": "number"}, "none": {"type": "number"}, "rest": {"type": "number"},
    }  # fmt: skip


def test_cache_flags_are_set_on_both_ends(project: Project) -> None:
    graph = project.flow(
        """\
        nodes:
          - {node_id: a, task: {executor: {name: python}, outputs_def: [{handle: o}, {handle: p}]}}
          - node_id: b
            task: {executor: {name: python}, inputs_def: [{handle: x}, {handle: y}]}
            inputs_from:
              - {handle: x, serialize_for_cache: true, from_node: [{node_id: a, output_handle: o}]}
              - {handle: y, from_node: [{node_id: a, output_handle: p}]}
        """
    ).graph()
    a, b = graph.nodes.values()
    assert [h.serialize_for_cache for h in (a.outputs_def or {}).values()] == [True, False]
    assert [h.deserialize_from_cache for h in (b.inputs_def or {}).values()] == [True, False]
    assert isinstance(a.block, TaskBlock)
    assert not (a.block.outputs_def or {})["o"].serialize_for_cache


def test_injection_and_descriptions_are_kept(project: Project) -> None:
    graph = project.flow("description: d\ninjection: {pkg: echo}\n").graph()
    assert (graph.description, graph.injection) == ("d", {"pkg": "echo"})


@pytest.mark.parametrize(
    ("source", "warning"),
    [
        ("gone", 'ignored-node: the node "gone" is ignored, and so is the connection from it'),
        ("v", 'value-node-output: the value node "v" cannot feed an output of the flow, the connection is ignored'),
        ("nowhere", 'unknown-node: the flow has no node "nowhere", the connection is ignored'),
    ],
)
def test_output_of_the_flow_needs_a_node_that_runs(project: Project, source: str, warning: str) -> None:
    text = f"""\
        nodes:
          - {{node_id: gone, ignore: true, task: self::x}}
          - {{node_id: v, values: [{{handle: o, value: 1}}]}}
        outputs_from:
          - {{handle: r, from_node: [{{node_id: {source}, output_handle: o}}]}}
        """
    assert project.warnings(text) == [f"5:29 {warning}"]
    assert project.graph().targets == {}


def test_places_and_links_read_well_in_messages(project: Project) -> None:
    project.write("subflows/s/subflow.oo.yaml")
    node = project.flow("nodes:\n  - {node_id: s, subflow: self::s}").graph().nodes["s"]
    assert str(node.source) == f"{project.main}:2:5"
    assert isinstance(node.block, SubflowBlock)
    assert node.block.path == project.root / "subflows/s/subflow.oo.yaml"
