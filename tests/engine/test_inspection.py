"""Answers of `oocana-async query`, in the shapes of the reference's CLI."""

from __future__ import annotations

import pytest

from oocana_async.engine.inspection import (
    package_lines,
    query_inputs,
    query_nodes_inputs,
    query_packages,
    query_services,
    query_upstream,
    upstream_lines,
)
from oocana_async.errors import LoadError
from tests.engine.conftest import MAIN, Project

FLOW = """\
inputs_def: [{handle: in, value: 1, json_schema: {type: number}}]
nodes:
  - {node_id: a, task: {executor: {name: python}, outputs_def: [{handle: o}]}}
  - node_id: b
    task:
      executor: {name: python}
      inputs_def: [{handle: x}, {handle: y, value: 9}, {handle: z, value: 9}, {handle: n, nullable: true}]
    inputs_from:
      - {handle: x, from_node: [{node_id: a, output_handle: o}]}
      - {handle: y, value: 2}
      - {handle: n, value: null}
  - {node_id: c, task: {executor: {name: python}}}
"""


def test_upstream_lines(project: Project) -> None:
    selection = query_upstream(MAIN, ["b"], base_dir=project.flow(FLOW).root)
    assert upstream_lines(selection) == ["run:a", "waiting:", "whole:a"]


def test_inputs_are_the_definitions(project: Project) -> None:
    assert query_inputs(MAIN, base_dir=project.flow(FLOW).root) == {
        "in": {"handle": "in", "value": 1, "json_schema": {"type": "number"}}
    }
    assert query_inputs(MAIN, base_dir=project.flow("").root) is None


def test_nodes_inputs_have_the_value_that_the_flow_gives(project: Project) -> None:
    assert query_nodes_inputs(MAIN, base_dir=project.flow(FLOW).root) == {
        "b": [{"handle": "y", "value": 2}, {"handle": "z"}, {"handle": "n", "nullable": True, "value": None}]
    }


def test_services_are_listed_once(project: Project) -> None:
    path = project.write(
        "services/s/service.oo.yaml",
        "executor: {name: python, entry: m.py, stop_at: never}\nblocks: [{name: a}, {name: b}]",
    )
    project.flow("nodes:\n  - {node_id: a, service: self::s::a}\n  - {node_id: b, service: self::s::b}\n")
    (service,) = query_services(MAIN, base_dir=project.root)
    assert str(service) == (
        f'service: {{ "dir": "{path.parent}", "service_hash": "{service.service_hash}", "is_global": true, '
        f'"entry": "m.py", "package": "{project.root}" }}'
    )


def test_packages_that_need_a_layer_are_not_ready(project: Project) -> None:
    for name, text in (("lib", ""), ("mail", "name: '@connector/mail'"), ("secret", "")):
        project.write(f"../store/{name}/tasks/t/task.oo.yaml", "executor: {name: shell}")
        project.write(f"../store/{name}/package.oo.yaml", text)
    project.write("../store/secret/.metadata.oo.json", '{"hide_source": true}')
    project.write("../store/mail/package.oo.yaml", "name: mail")
    project.write("../store/@connector/m/tasks/t/task.oo.yaml", "executor: {name: shell}")
    project.write("../store/@connector/m/package.oo.yaml", "name: '@connector/m'")
    names = ("lib", "secret", "@connector/m")
    inline = "  - {node_id: i, task: {executor: {name: shell}}}\n"
    project.flow("nodes:\n" + inline + "".join(f"  - {{node_id: '{name}', task: '{name}::t'}}\n" for name in names))
    store = (project.root.parent / "store").resolve()
    lines = package_lines(query_packages(MAIN, base_dir=project.root, search_paths=[store]))
    assert lines == [
        f'package-status: "{store}/lib":"false"',
        f'package-status: "{store}/secret":"true"',
        f'package-status: "{store}/@connector/m":"true"',
    ]


def test_packages_of_subflows_and_services_count(project: Project) -> None:
    project.write("subflows/s/subflow.oo.yaml", "")
    project.write("../store/lib/services/s/service.oo.yaml", "executor: {name: python}\nblocks: [{name: a}]")
    project.flow("nodes:\n  - {node_id: a, subflow: self::s}\n  - {node_id: b, service: lib::s::a}\n")
    store = (project.root.parent / "store").resolve()
    assert list(query_packages(MAIN, base_dir=project.root, search_paths=[store])) == [project.root, store / "lib"]


@pytest.mark.parametrize("query", [query_nodes_inputs, query_packages])
def test_task_has_no_nodes_to_ask_about(project: Project, query: object) -> None:
    project.write("tasks/t/task.oo.yaml", "executor: {name: shell}")
    assert callable(query)
    with pytest.raises(LoadError, match="this is a task, expected a flow or a subflow"):
        query("tasks/t", base_dir=project.root)


def test_task_uses_no_services(project: Project) -> None:
    project.write("tasks/t/task.oo.yaml", "executor: {name: shell}")
    assert query_services("tasks/t", base_dir=project.root) == []
