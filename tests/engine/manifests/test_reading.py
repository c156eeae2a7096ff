"""Faults in manifests: exact place, what was found, what would be right (flow-format.md 1.1-2.3, 4)."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import msgspec
import pytest

from oocana_async.engine.manifests.blocks import (
    ConnectorExecutor,
    NodeExecutor,
    PythonExecutor,
    RustExecutor,
    ShellExecutor,
    TaskBlock,
)
from oocana_async.engine.manifests.findings import Finding
from oocana_async.engine.manifests.reading.files import (
    Faults,
    has_executor,
    hides_source,
    read_flow_file,
    read_package_file,
)
from tests.engine.conftest import Project

TASK = "task: {executor: {name: python}}"


def node(text: str) -> str:
    """Return a flow with one inline task node that has further keys, the first of them in line 4."""
    return f"nodes:\n  - node_id: a\n    {TASK}\n" + "".join(
        f"    {line}\n" for line in dedent(text).strip().splitlines()
    )


@pytest.mark.parametrize(
    ("text", "place", "reason", "hint"),
    [
        ("nodes: null", (1, 8), '"nodes" must be a list, found null', "leave it blank for no nodes"),
        ("nodes: 5", (1, 8), '"nodes" must be a list, found the integer 5', ""),
        ("nodes: {a: 1}", (1, 8), '"nodes" must be a list, found a mapping', ""),
        ("- a", (1, 1), "a flow file must hold a mapping", ""),
        ("null", (1, 1), "a flow file must hold a mapping", ""),
        ("nodes: []\nnodes: []", (2, 1), 'the key "nodes" is given twice, expected once', ""),
        ("nodes:\n  - x", (2, 5), 'a node must be a mapping, found the text "x"', ""),
        ("nodes:\n  - node_id: a", (2, 5), 'the node "a" has no kind', ""),
        ("nodes:\n  - node_id: a\n    comment: x", (2, 5), "found comment", ""),
        (
            "nodes:\n  - node_id: a\n    condition: {}",
            (2, 5),
            "found condition",
            'is "condition" meant to be "conditions"?',
        ),
        ("nodes:\n  - {node_id: a, tasks: x}", (2, 5), "found tasks", 'is "tasks" meant to be "task"?'),
        (f"nodes:\n  - {TASK}", (2, 5), 'the key "node_id" is missing', ""),
        (
            f"nodes:\n  - nodeid: a\n    {TASK}",
            (2, 5),
            'the key "node_id" is missing',
            'is "nodeid" meant to be "node_id"?',
        ),
        (
            f"nodes:\n  - node_id: 1\n    {TASK}",
            (2, 14),
            '"node_id" must be text, found the integer 1',
            'write it in quotes: "1"',
        ),
        (
            f"nodes:\n  - node_id: null\n    {TASK}",
            (2, 14),
            '"node_id" must be text, found null',
            'write it in quotes: "null"',
        ),
        (f"nodes:\n  - node_id:\n    {TASK}", (2, 13), '"node_id" must be text, found nothing', ""),
        (node("concurrency: 1.5"), (4, 18), '"concurrency" must be an integer, found the number 1.5', ""),
        (node("concurrency: ~"), (4, 18), '"concurrency" must be an integer, found null', ""),
        (node("concurrency: 3000000000"), (4, 18), '"concurrency" must be an integer', ""),
        (node("timeout: -1"), (4, 14), '"timeout" must be an integer of at least 0, found the integer -1', ""),
        (node("timeout: 1.0"), (4, 14), '"timeout" must be an integer of at least 0', ""),
        (node("progress_weight: heavy"), (4, 22), '"progress_weight" must be a number', ""),
        (node('ignore: "true"'), (4, 13), '"ignore" must be true or false, found the text "true"', ""),
        (node("ignore: True!"), (4, 13), '"ignore" must be true or false', 'did you mean "true"?'),
        (node("ignore: null"), (4, 13), '"ignore" must be true or false, found null', ""),
        (node("description: 5"), (4, 18), '"description" must be text, found the integer 5', 'write it in quotes: "5"'),
        (node("inputs_from: {a: 1}"), (4, 18), '"inputs_from" must be a list, found a mapping', ""),
        (node("inputs_from: [x]"), (4, 19), '"an entry of inputs_from" must be a mapping', ""),
        (node("inputs_from: [{value: 1}]"), (4, 19), 'the key "handle" is missing', ""),
        (
            node("inputs_from: [{handle: 1}]"),
            (4, 28),
            '"handle" must be text, found the integer 1',
            'write it in quotes: "1"',
        ),
        (
            node("inputs_from:\n- handle: a\n  from_node: [{node_id: a}]"),
            (6, 19),
            'the key "output_handle" is missing',
            "",
        ),
        (node("inputs_from:\n- handle: a\n  from_node: {node_id: a}"), (6, 18), '"from_node" must be a list', ""),
        (
            node("inputs_from:\n- handle: a\n  from_flow: [{handle: a}]"),
            (6, 19),
            'the key "input_handle" is missing',
            "is",
        ),
        (node("inputs_from:\n- {handle: a, schema_overrides: [{path: -1}]}"), (5, 45), '"path" must be a key', ""),
        (
            node("inputs_from:\n- {handle: a, schema_overrides: [{schema: x}]}"),
            (5, 47),
            '"schema" must be a mapping',
            "",
        ),
        (node("inputs_def: [{group: x}]"), (4, 18), '"inputs_def" may not have group entries here', ""),
        (node("inputs_def: [{handle: a, nullable: 1}]"), (4, 40), '"nullable" must be true or false', ""),
        (
            node("inputs_from: [{handle: a, value: {1: x}}]"),
            (4, 39),
            "the integer 1 cannot be a key",
            "write it in quotes",
        ),
        (node("ui: {pos: {1: x}}"), (4, 16), "the integer 1 cannot be a key", "write it in quotes"),
        (node("inputs_from: [{handle: a, value: !x y}]"), (4, 38), 'the tag "!x" is not known', ""),
        (node("concurrency: 1\nconcurrency: 2"), (5, 5), 'the key "concurrency" is given twice', ""),
        ("nodes:\n  - {node_id: a, task: 5}", (2, 24), '"task" must be a reference (text) or an inline task', ""),
        ("nodes:\n  - {node_id: a, task: {}}", (2, 24), 'the key "executor" is missing', ""),
        (
            "nodes:\n  - {node_id: a, task: {executor: x}}",
            (2, 35),
            '"executor" must be a mapping with the key name',
            "",
        ),
        ("nodes:\n  - {node_id: a, task: {executor: {}}}", (2, 35), 'the key "name" is missing', ""),
        (
            "nodes:\n  - {node_id: a, task: {executor: {name: Python}}}",
            (2, 42),
            'no executor "Python"',
            'did you mean "python"?',
        ),
        ("nodes:\n  - {node_id: a, task: {executor: {name: cobol}}}", (2, 42), "expected", ""),
        (
            "nodes:\n  - {node_id: a, task: {executor: {name: python, options: {spawn: 1}}}}",
            (2, 67),
            '"spawn" must be',
            "",
        ),
        (
            "nodes:\n  - {node_id: a, task: {executor: {name: rust, options: {}}}}",
            (2, 57),
            'the key "bin" is missing',
            "",
        ),
        (
            "nodes:\n  - {node_id: a, task: {executor: {name: rust, options: {bin: x, args: [1]}}}}",
            (2, 73),
            "must be text",
            'write it in quotes: "1"',
        ),
        ("nodes:\n  - {node_id: a, task: {executor: {name: connector}}}", (2, 35), 'the key "options" is missing', ""),
        ("nodes:\n  - {node_id: a, subflow: [x]}", (2, 27), '"subflow" must be text, found a list', ""),
        (
            "nodes:\n  - {node_id: a, subflow: self::s, slots: [{slot_node_id: h}]}",
            (2, 44),
            "the slot has no provider",
            "",
        ),
        ("nodes:\n  - {node_id: a, slot: x}", (2, 24), '"slot" must be a mapping', ""),
        ("nodes:\n  - {node_id: a, values: [{group: x}]}", (2, 27), '"values" may not have group entries here', ""),
        ("nodes:\n  - {node_id: a, values: }", (2, 26), '"values" must be a list, found nothing', ""),
        ("nodes:\n  - {node_id: a, conditions: []}", (2, 30), '"conditions" must be a mapping, found a list', ""),
        (
            "nodes:\n  - {node_id: a, conditions: {cases: [{handle: x}]}}",
            (2, 39),
            'the key "expressions" is missing',
            "",
        ),
        (
            "nodes:\n  - {node_id: a, conditions: {cases: [{handle: x, logical: and, expressions: []}]}}",
            (2, 60),
            '"logical" must be "AND" or "OR", found "and"',
            'write "AND"',
        ),
        ("nodes:\n  - {node_id: a, conditions: {default: {}}}", (2, 40), 'the key "handle" is missing', ""),
        ("inputs_def: [{handle: 1}]", (1, 23), '"handle" must be text', 'write it in quotes: "1"'),
        ("inputs_def: [{group: 1}]", (1, 14), '"inputs_def" may not have group entries here', ""),
        ("forward_previews: [[a]]", (1, 20), '"an entry of forward_previews" must be text, found a list', ""),
        ("injection: [a]", (1, 12), '"injection" must be a mapping', ""),
    ],
)
def test_fault_in_a_flow(project: Project, text: str, place: tuple[int, int], reason: str, hint: str) -> None:
    project.write("subflows/s/subflow.oo.yaml")
    fault = project.fault_in(text)
    assert (fault.path, fault.line, fault.column) == (project.main, *place)
    assert reason in fault.reason
    assert fault.hint == hint or (hint == "is" and fault.hint.startswith("is "))


@pytest.mark.parametrize(
    ("operator", "hint"),
    [("===", 'did you mean "=="?'), ("=", 'did you mean "=="?'), ("<>", 'did you mean "!="?'),
     ("IS NULL", 'did you mean "is null"?'), ("contain", 'did you mean "contains"?'), ("~", "")],
)  # fmt: skip
def test_unknown_operator_names_the_nearest(project: Project, operator: str, hint: str) -> None:
    fault = project.fault_in(
        f"""\
        nodes:
          - node_id: a
            conditions:
              cases:
                - handle: x
                  expressions:
                    - {{input_handle: i, operator: "{operator}"}}
        """
    )
    assert (fault.line, fault.hint) == (7, hint)
    assert f'there is no operator "{operator}", expected "==", "!="' in fault.reason


def test_all_faults_of_a_load_are_raised_together(project: Project) -> None:
    project.write("subflows/s/subflow.oo.yaml", "nodes: 5")
    project.write("tasks/t/task.oo.yaml", "executor: {name: pyton}")
    project.flow(
        """\
        nodes:
          - {node_id: s, subflow: self::s, concurrency: x}
          - {node_id: t, task: self::t, timeout: -1}
          - {node_id: gone, task: self::nowhere}
          - {node_id: 5, task: self::t}
        """
    )
    found = [(fault.path and fault.path.name, fault.line) for fault in project.faults()]
    assert sorted(found, key=str) == [
        ("flow.oo.yaml", 2), ("flow.oo.yaml", 3), ("flow.oo.yaml", 4), ("flow.oo.yaml", 5),
        ("subflow.oo.yaml", 1), ("task.oo.yaml", 1),
    ]  # fmt: skip


def test_repeated_node_id_is_refused_at_the_second(project: Project) -> None:
    fault = project.fault_in(f"nodes:\n  - node_id: a\n    {TASK}\n  - node_id: a\n    {TASK}\n")
    assert (fault.line, fault.column) == (4, 5)
    assert fault.reason == 'the node id "a" is used twice, first in line 2'


def test_repeated_node_id_is_fine_when_one_is_ignored(project: Project) -> None:
    graph = project.flow(f"nodes:\n  - {{node_id: a, ignore: true, {TASK}}}\n  - {{node_id: a, {TASK}}}\n").graph()
    assert list(graph.nodes) == ["a"]


def test_faults_of_a_file_come_line_by_line_whatever_finds_them(project: Project) -> None:
    faults = project.faults_in("""\
        nodes:
          - {node_id: a, task: self::nowhere}
          - {node_id: b, task: {executor: {name: snake}}}
    """)
    assert [fault.line for fault in faults] == [2, 3]


def test_faults_of_ignored_nodes_count(project: Project) -> None:
    assert project.fault_in(f"nodes:\n  - {{node_id: a, ignore: true, timeout: x, {TASK}}}").line == 2


@pytest.mark.parametrize("text", ["", "# nothing\n", "nodes:\n", "nodes: []\n", "title: x\nui: {1: x}\n", "---\n"])
def test_flow_without_nodes_is_legal(project: Project, text: str) -> None:
    assert project.flow(text).graph().nodes == {}


def test_outside_of_nodes_plain_scalars_count_as_text(project: Project) -> None:
    project.flow(
        f"""\
        description: 1.10
        forward_previews: [1]
        nodes:
          - node_id: a
            {TASK}
        outputs_from:
          - {{handle: 007, from_node: [{{node_id: a, output_handle: 1.50}}]}}
        """
    )
    graph = project.graph()
    assert (graph.description, graph.forward_previews) == ("1.10", frozenset({"1"}))
    assert list(graph.targets) == [("a", "1.50")]


@pytest.mark.parametrize(
    ("executor", "expected"),
    [
        ("{name: python}", PythonExecutor()),
        ("{name: python, options: }", PythonExecutor()),
        ("{name: python, options: {entry: a.py, function: f, spawn: true}}", PythonExecutor("a.py", "f", spawn=True)),
        ("{name: nodejs, options: {entry: a.ts}}", NodeExecutor("a.ts")),
        ("{name: shell, options: {whatever: 1}}", ShellExecutor()),
        ("{name: rust}", RustExecutor("cargo", ("run", "--"))),
        ("{name: rust, options: {bin: x}}", RustExecutor("x", ())),
        ("{name: rust, options: {bin: x, args: [a, b]}}", RustExecutor("x", ("a", "b"))),
        ("{name: connector, options: {action: mail.send}}", ConnectorExecutor("mail.send")),
    ],
)
def test_executor_is_read(project: Project, executor: str, expected: object) -> None:
    project.flow(f"nodes:\n  - node_id: a\n    task:\n      executor: {executor}\n")
    block = project.graph().nodes["a"].block
    assert isinstance(block, TaskBlock)
    assert block.executor == expected


def test_executor_on_the_wire_has_spawn_always_and_the_rest_when_given() -> None:
    assert PythonExecutor().to_wire() == {"name": "python", "options": {"spawn": False}}
    assert NodeExecutor("a.ts", "f", spawn=True).to_wire() == {
        "name": "nodejs",
        "options": {"entry": "a.ts", "function": "f", "spawn": True},
    }


@pytest.mark.parametrize(
    ("written", "expected"), [("", False), ("additional_inputs: ", False), ("additional_inputs: false", False),
                              ("additional_inputs: true", True), ("additional_inputs: {a: 1}", True),
                              ("additional_inputs: []", True), ("additional_inputs: no", True)],
)  # fmt: skip
def test_additional_inputs_is_true_for_anything_but_false_and_null(
    project: Project, written: str, expected: bool
) -> None:
    project.write("tasks/t/task.oo.yaml", f"executor: {{name: python}}\n{written}\n")
    root = project.load("tasks/t").root
    assert isinstance(root, TaskBlock)
    assert root.additional_inputs is expected


def test_handle_keeps_absent_null_and_given_values_apart(project: Project) -> None:
    project.flow(
        """\
        inputs_def:
          - {group: Heading}
          - {handle: absent}
          - {handle: nothing, value: null}
          - {handle: blank, value: }
          - {handle: optional, nullable: true}
          - {handle: given, nullable: true, value: 5, kind: k, description: d, json_schema: {type: number}}
        """
    )
    assert msgspec.to_builtins(project.graph().inputs_def) == {
        "absent": {"handle": "absent"},
        "nothing": {"handle": "nothing", "value": None},
        "blank": {"handle": "blank", "value": None},
        "optional": {"handle": "optional", "nullable": True, "value": None},
        "given": {"handle": "given", "nullable": True, "value": 5, "kind": "k", "description": "d",
                  "json_schema": {"type": "number"}},
    }  # fmt: skip


def test_only_secret_overrides_reach_the_executor(project: Project) -> None:
    project.flow(
        node(
            """\
            inputs_from:
              - handle: x
                schema_overrides:
                  - {path: test, schema: {contentMediaType: oomol/secret, type: object}}
                  - {path: [a, 1], schema: {contentMediaType: oomol/secret}}
                  - {path: 1, schema: {contentMediaType: oomol/secret}}
                  - {schema: {contentMediaType: oomol/secret}}
                  - {path: b, schema: {type: object}}
                  - {path: c}
              - {handle: y, schema_overrides: []}
            """
        )
    )
    patches = project.graph().nodes["a"].patches
    assert [(p.path, p.schema) for p in patches["x"]] == [
        ("test", {"contentMediaType": "oomol/secret"}),
        (["a", 1], {"contentMediaType": "oomol/secret"}),
        (1, {"contentMediaType": "oomol/secret"}),
        (None, {"contentMediaType": "oomol/secret"}),
    ]
    assert list(patches) == ["x"]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            node("input_from: []"),
            '4:5 unknown-key: the key "input_from" has no meaning here did you mean "inputs_from"?',
        ),
        (
            node("concurency: 5"),
            '4:5 unknown-key: the key "concurency" has no meaning here did you mean "concurrency"?',
        ),
        (node("title: x\nicon: y\nui: {}\nnotes: z"), None),
        ("input_def: []", '1:1 unknown-key: the key "input_def" has no meaning here did you mean "inputs_def"?'),
        (
            "inputs_def: [{handle: a}, {handle: a}]",
            '1:27 repeated-handle: the handle "a" is declared twice, the last one counts',
        ),
        (node("values: []"), '2:5 two-kinds: this is a task node, its key "values" is ignored'),
        (
            "nodes:\n  - {node_id: a, task: {executor: {name: python, entry: a.py}}}",
            '2:35 entry-without-options: "entry" beside "name" is ignored write it under "options"',
        ),
    ],
)
def test_what_is_hardly_meant_is_warned_about(project: Project, text: str, warning: str | None) -> None:
    assert project.warnings(text) == ([] if warning is None else [warning])


def test_unreadable_file_is_a_fault_of_that_file(project: Project) -> None:
    faults = Faults()
    read_flow_file(project.root / "nowhere.oo.yaml", faults)
    assert [str(fault) for fault in faults.errors] == [
        f"{project.root}/nowhere.oo.yaml: cannot be read: No such file or directory"
    ]


def test_package_versions_are_the_text_that_was_written(project: Project) -> None:
    path = project.write("package.oo.yaml", "name: x\nversion: 1.10\ndependencies: {a: 2.0, 1: 3}\n")
    package = read_package_file(path)
    assert package is not None
    assert (package.name, package.version, package.dependencies) == ("x", "1.10", {"a": "2.0", "1": "3"})


@pytest.mark.parametrize("text", ["[", "name: [a]", "- a", "dependencies: [a]", "name: a\nname: b"])
def test_broken_package_file_counts_as_none(project: Project, text: str) -> None:
    assert read_package_file(project.write("package.oo.yaml", text)) is None


def test_empty_package_file_is_valid(project: Project) -> None:
    package = read_package_file(project.write("package.oo.yaml", ""))
    assert package is not None
    assert package.dependencies == {}


@pytest.mark.parametrize(
    ("text", "hidden"),
    [(None, False), ("{}", False), ('{"hide_source": true}', True), ('{"hide_source": false}', False),
     ("nonsense", True), ('{"hide_source": "yes"}', True), ("[]", True)],
)  # fmt: skip
def test_hidden_source_is_assumed_when_the_metadata_is_broken(tmp_path: Path, text: str | None, hidden: bool) -> None:
    if text is not None:
        (tmp_path / ".metadata.oo.json").write_text(text)
    assert hides_source(tmp_path) is hidden


def test_file_looks_like_a_task_when_it_has_an_executor(tmp_path: Path) -> None:
    path = tmp_path / "x.oo.yaml"
    path.write_text("executor: {name: python}")
    assert has_executor(path)
    path.write_text("nodes: []")
    assert not has_executor(path)
    assert not has_executor(tmp_path / "nowhere")


def test_finding_reads_as_place_severity_message_and_hint() -> None:
    assert (
        str(Finding("warning", "c", Path("/a.yaml"), 3, 5, "odd", "mend it")) == "/a.yaml:3:5: warning: odd (mend it)"
    )
    assert str(Finding("error", "c", None, None, None, "bad")) == "error: bad"
