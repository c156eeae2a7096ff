"""Loading targets as `run` and `run_block` name them (flow-format.md 1.3, 1.6, 1.8, 6.1, 8)."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from oocana_async.engine.graph.graph import Graph, SubflowBlock
from oocana_async.engine.manifests.blocks import TaskBlock
from oocana_async.engine.target import load_target, resolve_block, with_nodes_inputs
from oocana_async.errors import LoadError
from tests.engine.conftest import Project

TASK = "executor: {name: python}\n"


@pytest.mark.parametrize("target", ["flows/main", "flows/main/flow.oo.yaml", "./flows/main", "flows/../flows/main/"])
def test_flow_is_named_by_directory_or_file(project: Project, target: str) -> None:
    loaded = project.flow("").load(target)
    assert (loaded.path, loaded.root.path) == (project.main, project.main)


@pytest.mark.parametrize(
    ("file", "target"),
    [
        ("tasks/t/task.oo.yaml", "tasks/t"), ("tasks/t/task.oo.yml", "tasks/t/task.oo.yml"),
        ("blocks/t/block.oo.yaml", "./blocks/t"), ("tasks/t/odd.oo.yaml", "tasks/t/odd.oo.yaml"),
        ("flows/x/tasks/t.oo.yaml", "flows/x/tasks/t.oo.yaml"),
    ],
)  # fmt: skip
def test_task_is_named_by_directory_or_file(project: Project, file: str, target: str) -> None:
    path = project.write(file, TASK)
    loaded = project.load(target)
    assert isinstance(loaded.root, TaskBlock)
    assert loaded.path == path


@pytest.mark.parametrize("target", ["subflows/s", "subflows/s/subflow.oo.yaml"])
def test_subflow_is_named_by_directory_or_file(project: Project, target: str) -> None:
    path = project.write("subflows/s/subflow.oo.yaml")
    assert project.load(target).path == path


def test_directory_with_subflow_and_task_is_a_flow(project: Project) -> None:
    project.write("x/task.oo.yaml", TASK)
    path = project.write("x/subflow.oo.yaml")
    assert project.load("x").path == path


@pytest.mark.parametrize("name", ["slotflow.oo.yaml", "odd.oo.yaml"])
def test_file_of_another_name_without_executor_is_a_flow(project: Project, name: str) -> None:
    path = project.write(f"x/{name}", "nodes: []")
    loaded = project.load(f"x/{name}")
    assert isinstance(loaded.root, Graph)
    assert loaded.path == path


def test_reference_is_a_target_too(project: Project) -> None:
    path = project.write("../store/lib/tasks/t/task.oo.yaml", TASK)
    assert project.load("lib::t", search_paths=["../store"]).path == path.resolve()


def test_file_with_the_name_of_a_task_must_be_one(project: Project) -> None:
    project.write("t/task.oo.yaml", "nodes: []")
    assert project.fault("t/task.oo.yaml").reason == 'the key "executor" is missing'


def test_service_cannot_be_run_by_itself(project: Project) -> None:
    path = project.write("services/s/service.oo.yaml", "executor: {name: python}")
    for target in ("services/s", "services/s/service.oo.yaml"):
        fault = project.fault(target)
        assert (fault.path, "a service cannot be run by itself" in fault.reason) == (path, True)


def test_target_that_is_not_there_names_where_it_was_looked_for(project: Project) -> None:
    project.flow("")
    fault = project.fault("mian", search_paths=["../store"])
    assert fault.reason.startswith(
        f'the block "mian" was not found, searched: {project.root.parent}/store/mian/block.oo'
    )
    assert f"{project.root}/mian/flow.oo.yaml" in fault.reason


def test_file_whose_name_is_no_manifests_is_told_so(project: Project) -> None:
    path = project.write("flows/main/flow.yaml", "nodes: []")
    fault = project.fault("flows/main/flow.yaml")
    assert (fault.path, fault.reason.startswith("by its name this is no manifest")) == (path, True)


@pytest.mark.parametrize(
    ("target", "reason", "hint"),
    [
        ("flows/main/flw.oo.yaml", "there is no file {root}/flows/main/flw.oo.yaml", 'did you mean "flow.oo.yaml"?'),
        ("flows/nowhere/flow.oo.yaml", "there is no directory {root}/flows/nowhere", ""),
    ],
)
def test_file_that_is_not_there_is_named(project: Project, target: str, reason: str, hint: str) -> None:
    project.flow("")
    fault = project.fault(target)
    assert (fault.reason, fault.hint) == (reason.format(root=project.root), hint)


def test_missing_block_is_a_fault_at_the_reference(project: Project) -> None:
    project.write("tasks/resize/task.oo.yaml", TASK)
    fault = project.fault_in("nodes:\n  - node_id: a\n    task: self::resiz\n")
    assert (fault.path, fault.line, fault.column) == (project.main, 3, 11)
    assert fault.hint == 'did you mean "resize"?'
    assert f"{project.root}/tasks/resiz/task.oo.yaml" in fault.reason


def test_block_that_is_missing_twice_is_one_fault(project: Project) -> None:
    assert len(project.faults_in("nodes:\n  - {node_id: a, task: self::x}\n  - {node_id: b, task: self::x}")) == 1


def test_dependency_decides_the_version(project: Project) -> None:
    old = project.write("../store/lib-1.0.0/tasks/t/task.oo.yaml", TASK)
    project.write("../store/lib-1.0.0/package.oo.yaml", "name: lib\nversion: 1.0.0")
    new = project.write("../store/lib-1.1.0/tasks/t/task.oo.yaml", TASK)
    project.write("../store/lib-1.1.0/package.oo.yaml", "name: lib\nversion: 1.1.0")
    project.flow("nodes:\n  - {node_id: a, task: lib::t}")

    def used() -> Path | None:
        block = project.graph(search_paths=["../store"]).nodes["a"].block
        assert isinstance(block, TaskBlock)
        return block.path

    assert used() == new.resolve()
    project.write("package.oo.yaml", "dependencies: {lib: 1.0.0}")
    assert used() == old.resolve()
    project.write("package.oo.yaml", "dependencies: {lib: 3.0.0}")
    assert 'the version of "lib" is 3.0.0' in project.fault(search_paths=["../store"]).reason


def test_references_inside_a_package_use_that_package(project: Project) -> None:
    inner = project.write("../store/lib/tasks/t/task.oo.yaml", TASK)
    project.write("../store/lib/subflows/s/subflow.oo.yaml", "nodes:\n  - {node_id: a, task: self::t}")
    project.write("tasks/t/task.oo.yaml", TASK)
    project.flow("nodes:\n  - {node_id: s, subflow: lib::s}")
    found = resolve_block("self::t", _subflow(project.graph(search_paths=["../store"])))
    assert found.path == inner.resolve()


def _subflow(graph: Graph) -> Graph:
    block = graph.nodes["s"].block
    assert isinstance(block, SubflowBlock)
    return block.graph


def test_search_context_of_a_graph_has_what_its_references_need(project: Project) -> None:
    project.write("package.oo.yaml", "dependencies: {lib: 1.0.0}")
    search = project.flow("").graph(search_paths=["../store"]).search
    assert (search.base, search.search_paths) == (project.main.parent, (project.root.parent / "store",))
    assert search.versions == {"lib": "1.0.0"}


def test_relative_target_starts_at_the_current_directory(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.flow("")
    monkeypatch.chdir(project.root)
    assert load_target("flows/main").path == project.main


def test_home_is_expanded_in_search_paths(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project.write("../home/store/lib/tasks/t/task.oo.yaml", TASK)
    monkeypatch.setenv("HOME", str(project.root.parent / "home"))
    assert project.load("lib::t", search_paths=["~/store"]).path == path.resolve()


def test_symbolic_link_to_a_flow_stays_as_it_is(project: Project) -> None:
    project.flow("")
    (project.root / "link").symlink_to(project.main.parent)
    assert project.load("link").path == project.root / "link" / "flow.oo.yaml"


def test_run_block_resolves_from_the_directory_of_the_flow(project: Project) -> None:
    path = project.write("tasks/t/task.oo.yaml", TASK)
    beside = project.write("flows/main/odd.oo.yaml", TASK)
    graph = project.flow("").graph()
    assert resolve_block("self::t", graph).path == path
    assert resolve_block("./odd.oo.yaml", graph).path == beside


def test_run_block_takes_subflows_with_their_slots_unfilled(project: Project) -> None:
    project.write("subflows/s/subflow.oo.yaml", "nodes:\n  - {node_id: h, slot: {}}")
    found = resolve_block("self::s", project.flow("").graph())
    assert isinstance(found, Graph)
    assert (found.has_slot, found.unfilled_slots) == (True, frozenset({"h"}))


def test_run_block_prefers_a_flow_in_the_current_directory(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("self::t/flow.oo.yaml")
    project.write("tasks/t/task.oo.yaml", TASK)
    graph = project.flow("").graph()
    monkeypatch.chdir(project.root)
    assert resolve_block("self::t", graph).path == project.root / "self::t" / "flow.oo.yaml"


@pytest.mark.parametrize("reference", ["self::nowhere", "lib::svc::one", ""])
def test_run_block_refuses_what_is_no_block(project: Project, reference: str) -> None:
    project.write("flows/main/lib/services/svc/service.oo.yaml", "executor: {name: python}\nblocks: [{name: one}]")
    with pytest.raises(LoadError):
        resolve_block(reference, project.flow("").graph())


NODES = """\
nodes:
  - {node_id: a, task: {executor: {name: python}, outputs_def: [{handle: o}]}}
  - node_id: b
    task: {executor: {name: python}, inputs_def: [{handle: x}, {handle: y}, {handle: z}]}
    inputs_from: [{handle: x, value: 1}, {handle: y, from_node: [{node_id: a, output_handle: o}]}]
"""


def test_nodes_inputs_set_values_of_declared_handles_without_connection(project: Project) -> None:
    graph = project.flow(NODES).graph(nodes_inputs={"b": {"x": 2, "z": None}})
    assert graph.nodes["b"].static == {"x": 2, "z": None}


@pytest.mark.parametrize(
    ("values", "message", "hint"),
    [
        ({"b": {"y": 1}}, 'the input "y" of node "b" has a connection, its given value is ignored', ""),
        ({"b": {"xx": 1}}, 'the node "b" has no input "xx", its given value is ignored', 'did you mean "x"?'),
        ({"bb": {"x": 1}}, 'the flow has no node "bb", its inputs are ignored', 'did you mean "b"?'),
    ],
)
def test_nodes_inputs_without_effect_are_warned_about(
    project: Project, values: dict[str, dict[str, int]], message: str, hint: str
) -> None:
    loaded = project.flow(NODES).load(nodes_inputs=values)
    assert [(w.message, w.hint) for w in loaded.warnings if w.code != "never-runs"] == [(message, hint)]
    assert isinstance(loaded.root, Graph)
    assert loaded.root.nodes["b"].static == {"x": 1}


def test_garbage_collector_runs_again_after_a_load(project: Project) -> None:
    assert gc.isenabled()
    project.faults("nowhere")
    assert gc.isenabled()


def test_chain_of_a_thousand_subflows_needs_no_recursion(project: Project) -> None:
    for number in range(1000):
        text = f"nodes:\n  - {{node_id: s, subflow: self::s{number + 1}}}\n" if number < 999 else ""
        project.write(f"subflows/s{number}/subflow.oo.yaml", text)
    graph = project.graph("subflows/s0")
    for _ in range(999):
        graph = _subflow(graph)
    assert graph.path.parent.name == "s999"


def test_run_block_into_another_package_uses_the_installed_versions_there(project: Project) -> None:
    project.write("../store/lib-1.0.0/package.oo.yaml", "name: lib\nversion: 1.0.0")
    path = project.write("../store/lib-1.0.0/tasks/t/task.oo.yaml", TASK)
    project.write("../store/app/package.oo.yaml", "name: app")
    project.write("../store/app/subflows/s/subflow.oo.yaml", "nodes:\n  - {node_id: a, task: lib::t}")
    project.write("package.oo.yaml", "dependencies: {lib: 9.0.0}")
    found = resolve_block("app::s", project.flow("").graph(search_paths=["../store"]))
    assert isinstance(found, Graph)
    block = found.nodes["a"].block
    assert isinstance(block, TaskBlock)
    assert block.path == path.resolve()


def test_task_that_is_run_directly_has_a_search_context_too(project: Project) -> None:
    project.write("package.oo.yaml", "dependencies: {lib: 1.0.0}")
    path = project.write("tasks/t/task.oo.yaml", TASK)
    beside = project.write("tasks/u/task.oo.yaml", TASK)
    search = project.load("tasks/t").search
    assert (search.base, search.versions) == (path.parent, {"lib": "1.0.0"})
    assert resolve_block("self::u", search).path == beside


UNFED = """\
nodes:
  - node_id: a
    task: {executor: {name: python}, inputs_def: [{handle: x, value: 1}]}
"""


def test_node_that_can_never_run_is_warned_about_with_its_place(project: Project) -> None:
    (warning,) = project.flow(UNFED).load().warnings
    assert str(warning).startswith(f'{project.main}:2:5: warning: the node "a" never runs: its input "x" has neither')


def test_node_of_a_subflow_that_can_never_run_is_warned_about_once(project: Project) -> None:
    path = project.write("subflows/s/subflow.oo.yaml", UNFED)
    project.flow("nodes: [{node_id: s, subflow: self::s}, {node_id: t, subflow: self::s}]")
    assert [(w.severity, w.code, w.path, w.line) for w in project.load().warnings] == [
        ("warning", "never-runs", path, 2)
    ]


def test_value_from_outside_takes_the_warning_back(project: Project) -> None:
    loaded = project.flow(UNFED).load()
    assert with_nodes_inputs(loaded, {"a": {"x": 2}}).warnings == ()
    assert project.load(nodes_inputs={"a": {"x": None}}).warnings == ()
