"""Everything that `oocana-async check` says about a target without running it."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from oocana_async.engine.analysis import Finding, check_target
from tests.engine.conftest import MAIN, Project

PY = "executor: {name: python, options: {entry: a.py}}"


def findings(project: Project, target: str = MAIN, **options: Any) -> list[Finding]:
    """Return what is said, notes left out; the scriptlet of the flow is there."""
    project.write("flows/main/a.py", "def main(params, context): ...\n")
    options.setdefault("environment", {})
    return [f for f in check_target(target, base_dir=project.root, **options) if f.severity != "note"]


def only(project: Project, text: str, **options: Any) -> Finding:
    """Return the only thing that is said about a main flow."""
    (finding,) = findings(project.flow(text), **options)
    return finding


def node(node_id: str, inputs: str = "", outputs: str = "", inputs_from: str = "", more: str = "") -> str:
    """Return one node on one line."""
    block = f"{{{PY}, inputs_def: [{inputs}], outputs_def: [{outputs}]}}"
    return f"  - {{node_id: {node_id}, task: {block}, inputs_from: [{inputs_from}]{more}}}\n"


def link(handle: str, source: str, output: str = "o") -> str:
    """Return an entry of inputs_from that connects to a node."""
    return f"{{handle: {handle}, from_node: [{{node_id: {source}, output_handle: {output}}}]}}"


X, OUT = "{handle: x}", "{handle: o}"


def test_sound_flow_has_no_findings(project: Project) -> None:
    project.flow("nodes:\n" + node("a", outputs=OUT) + node("b", X, inputs_from=link("x", "a")))
    assert findings(project) == []


def test_load_faults_are_all_that_is_said(project: Project) -> None:
    found = findings(project.flow("nodes:\n  - {node_id: a, task: self::x}\n  - {node_id: 1, values: []}\n"))
    assert [(f.severity, f.code, f.line) for f in found] == [("error", "manifest", 2), ("error", "manifest", 3)]


def test_load_warnings_are_said(project: Project) -> None:
    found = findings(
        project.flow("nodes:\n" + node("a", X, inputs_from=f"{{handle: x, value: 1}}, {link('x', 'gohst')}"))
    )
    assert [(f.severity, f.code) for f in found] == [("warning", "unknown-node")]


@pytest.mark.parametrize("default", ["{handle: x}", "{handle: x, value: 5}", "{handle: x, nullable: true}"])
def test_input_without_value_blocks_the_node(project: Project, default: str) -> None:
    finding = only(project, "nodes:\n" + node("a", default))
    assert (finding.severity, finding.code, finding.line, finding.column) == ("warning", "never-runs", 2, 5)
    assert finding.message == 'the node "a" never runs: its input "x" has neither a value nor a connection'
    assert finding.hint.startswith("defaults are not filled in inside a flow") is ("," in default)
    assert finding.hint.endswith("or give it with --nodes-inputs")


def test_input_without_value_is_an_error_inside_a_subflow(project: Project) -> None:
    project.write(
        "subflows/s/subflow.oo.yaml",
        "nodes:\n  - {node_id: a, task: {executor: {name: shell}, inputs_def: [{handle: x}]}}",
    )
    finding = only(project, "nodes:\n  - {node_id: s, subflow: self::s}\n")
    assert (finding.severity, finding.code, finding.path) == (
        "error", "never-runs", project.root / "subflows/s/subflow.oo.yaml",
    )  # fmt: skip


def test_value_given_from_outside_counts(project: Project) -> None:
    assert findings(project.flow("nodes:\n" + node("a", X)), nodes_inputs={"a": {"x": 1}}) == []


def test_node_behind_a_blocked_one_never_runs_either(project: Project) -> None:
    found = findings(project.flow("nodes:\n" + node("a", X, OUT) + node("b", X, inputs_from=link("x", "a"))))
    assert [f.message for f in found][1] == 'the node "b" never runs: "x" waits for the node "a", which never runs'


def test_loop_without_a_first_value_never_runs(project: Project) -> None:
    finding = only(project, "nodes:\n" + node("a", X, OUT, link("x", "a")))
    assert (finding.severity, finding.message) == ("error", 'the node "a" never runs: only itself feeds its input "x"')


def test_loop_with_a_first_value_runs(project: Project) -> None:
    entry = "{handle: x, from_node: [{node_id: a, output_handle: o}, {node_id: src, output_handle: o}]}"
    assert findings(project.flow("nodes:\n" + node("src", outputs=OUT) + node("a", X, OUT, entry))) == []


def test_flow_inputs_count_as_given(project: Project) -> None:
    entry = "{handle: x, from_flow: [{input_handle: in}]}"
    assert findings(project.flow("inputs_def: [{handle: in}]\nnodes:\n" + node("a", X, inputs_from=entry))) == []


def test_unfilled_slot_and_what_waits_for_it(project: Project) -> None:
    project.write(
        "subflows/host/subflow.oo.yaml",
        "nodes:\n  - {node_id: hole, slot: {outputs_def: [{handle: o}]}}\n"
        f"  - {{node_id: b, task: {{executor: {{name: shell}}, inputs_def: [{X}]}},\n"
        f"     inputs_from: [{link('x', 'hole')}]}}\n",
    )
    found = findings(project.flow("nodes:\n  - {node_id: s, subflow: self::host}\n"))
    assert [(f.code, f.severity, f.message) for f in found] == [
        ("unfilled-slot", "warning", 'the node "s" leaves the slot "hole" of its subflow unfilled'),
        ("never-runs", "warning", 'the node "b" never runs: "x" waits for the slot "hole", which nobody fills'),
    ]


def test_concurrency_of_zero_loses_values(project: Project) -> None:
    text = "nodes:\n" + node("a", outputs=OUT) + node("b", X, "", link("x", "a"), ", concurrency: 0")
    assert only(project, text).code == "concurrency-zero"


def test_connection_to_an_output_that_is_not_declared(project: Project) -> None:
    text = "nodes:\n" + node("a", outputs="{handle: out}") + node("b", X, inputs_from=link("x", "a", "oout"))
    finding = only(project, text)
    assert (finding.severity, finding.code, finding.hint) == ("error", "unknown-output", 'did you mean "out"?')
    assert (finding.line, finding.message) == (3, 'the node "a" has no output "oout", so nothing ever comes')


@pytest.mark.parametrize(("output", "clean"), [("stdout", True), ("stderr", True), ("stdoot", False)])
def test_shell_has_its_streams_as_outputs(project: Project, output: str, clean: bool) -> None:
    shell = "  - {node_id: a, task: {executor: {name: shell}}}\n"
    found = findings(project.flow("nodes:\n" + shell + node("b", X, inputs_from=link("x", "a", output))))
    assert [f.severity for f in found] == ([] if clean else ["warning"])


def test_subflow_may_emit_what_it_does_not_declare(project: Project) -> None:
    project.write(
        "subflows/s/subflow.oo.yaml",
        "inputs_def: [{handle: i}]\noutputs_from: [{handle: o, from_flow: [{input_handle: i}]}]\n",
    )
    sub = "  - {node_id: s, subflow: self::s, inputs_from: [{handle: i, value: 1}]}\n"
    finding = only(project, "nodes:\n" + sub + node("b", X, inputs_from=link("x", "s")))
    assert (finding.code, finding.message) == ("undeclared-output", 'the flow declares no output "o"')


@pytest.mark.parametrize(
    ("entry", "effect", "hint"),
    [
        ("{handle: xs, value: 1}", "its value is ignored", 'did you mean "x"?'),
        (f"{link('other', 'src')}", "what arrives is passed on but never waited for", ""),
    ],
)
def test_input_that_the_block_does_not_declare(project: Project, entry: str, effect: str, hint: str) -> None:
    text = "nodes:\n" + node("src", outputs=OUT) + node("a", X, inputs_from=f"{{handle: x, value: 1}}, {entry}")
    finding = only(project, text)
    assert (finding.code, finding.hint) == ("undeclared-input", hint)
    assert finding.message.endswith(effect)


def test_additional_input_has_to_be_declared_at_the_node(project: Project) -> None:
    project.write("tasks/t/task.oo.yaml", "executor: {name: shell}\nadditional_inputs: true\n")
    finding = only(project, "nodes:\n  - {node_id: a, task: self::t, inputs_from: [{handle: x, value: 1}]}\n")
    assert finding.hint == 'declare it in the "inputs_def" of the node'


def test_output_of_the_flow_that_nothing_feeds(project: Project) -> None:
    assert only(project, "outputs_def: [{handle: r}]").message == 'nothing feeds the output "r" of the flow'


def test_what_nobody_takes_is_a_note(project: Project) -> None:
    project.flow("inputs_def: [{handle: i}]\nnodes:\n" + node("a", outputs=OUT))
    project.write("flows/main/a.py", "def main(): ...")
    found = check_target(MAIN, base_dir=project.root)
    assert [(f.severity, f.code) for f in found] == [("note", "unused-input"), ("note", "unused-output")]


@pytest.mark.parametrize(
    ("code", "clean"),
    [
        ("def main(p, c): ...", True), ("async def main(p, c): ...", True), ("from x import main", True),
        ("from x import run as main", True), ("main = print", True), ("from x import *", True),
        ("class main: ...", True),
        ("if True:\n    def main(): ...", True), ("try:\n    import main\nexcept ImportError:\n    main = 1", True),
        ("def f():\n    def main(): ...", False), ("x.main = 1", False), ("", False), ("main", False),
    ],
)  # fmt: skip
def test_function_is_found_without_importing(project: Project, code: str, clean: bool) -> None:
    project.write("tasks/t/index.py", f"raise SystemExit\n{code}\n")
    project.write("tasks/t/task.oo.yaml", "executor: {name: python}")
    assert [f.code for f in findings(project, "tasks/t")] == ([] if clean else ["missing-function"])


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("def Main(): ...", 'did you mean "Main"?'),
        ("def zzz(): ...", 'it defines "zzz"'),
        ("", "write def main(params, context)"),
    ],
)  # fmt: skip
def test_missing_function_suggests_what_is_there(project: Project, code: str, hint: str) -> None:
    project.write("tasks/t/index.py", code)
    project.write("tasks/t/task.oo.yaml", "executor: {name: python}")
    (finding,) = findings(project, "tasks/t")
    assert (finding.severity, finding.hint, finding.line) == ("error", hint, 1)


def test_missing_scriptlet_is_an_error_at_the_task(project: Project) -> None:
    project.write("flows/main/resize.py", "")
    text = "nodes:\n  - node_id: a\n    task: {executor: {name: python, options: {entry: rezise.py}}}\n"
    finding = only(project, text)
    assert (finding.code, finding.path, finding.line, finding.column) == ("missing-scriptlet", project.main, 3, 11)
    assert (finding.message, finding.hint) == (
        f"there is no file {project.main.parent}/rezise.py", 'did you mean "resize.py"?',
    )  # fmt: skip


def test_scriptlet_that_is_not_python_is_named_with_its_line(project: Project) -> None:
    path = project.write("tasks/t/index.py", "def main():\n  return (\n")
    project.write("tasks/t/task.oo.yaml", "executor: {name: python}")
    (finding,) = findings(project, "tasks/t")
    assert (finding.code, finding.path, finding.line) == ("scriptlet-syntax", path, 2)


def test_missing_entry_of_a_service(project: Project) -> None:
    project.write("services/s/service.oo.yaml", "executor: {name: nodejs, entry: main.py}\nblocks: [{name: b}]")
    found = findings(project.flow("nodes:\n  - {node_id: a, service: self::s::b}\n"))
    assert [(f.code, f.line) for f in found] == [("executor", 2), ("missing-scriptlet", 2)]


@pytest.mark.parametrize(
    ("executor", "environment", "message"),
    [
        ("{name: rust}", {}, "the embedded engine has no rust executor"),
        ("{name: connector, options: {action: mail}}", {},
         "the connector action mail needs OOCANA_CONNECTOR_BASE_URL"),
        ("{name: connector, options: {action: mail}}", {"OOCANA_CONNECTOR_BASE_URL": "http://x"}, None),
        ("{name: shell}", {}, None),
    ],
)  # fmt: skip
def test_executor_that_cannot_run_here(
    project: Project, executor: str, environment: dict[str, str], message: str | None
) -> None:
    project.write("tasks/t/task.oo.yaml", f"executor: {executor}")
    found = findings(project, "tasks/t", environment=environment)
    assert [(f.code, f.message) for f in found] == ([] if message is None else [("executor", message)])


def test_nodejs_task_cannot_run_here(project: Project) -> None:
    project.write("tasks/t/task.oo.yaml", "executor: {name: nodejs}")
    project.write("tasks/t/main.ts", "")
    assert [f.message for f in findings(project, "tasks/t")] == ["the embedded engine has no nodejs executor"]


def test_hidden_source_cannot_run_here(project: Project) -> None:
    project.write(".metadata.oo.json", '{"hide_source": true}')
    project.write("tasks/t/task.oo.yaml", "executor: {name: shell}")
    assert [f.code for f in findings(project, "tasks/t")] == ["hidden-source"]


NUMBER = "{handle: x, json_schema: {type: number}}"


@pytest.mark.parametrize(
    ("handle", "value", "clean"),
    [
        (NUMBER, "5", True), (NUMBER, "five", False), (NUMBER, "null", False),
        ("{handle: x, nullable: true, json_schema: {type: number}}", "null", True),
        ("{handle: x, json_schema: {type: number, contentMediaType: oomol/secret}}", "text", True),
        ("{handle: x, json_schema: {$ref: 'http://127.0.0.1:1/x.json'}}", "5", True),
        ("{handle: x, json_schema: true}", "5", True),
        ("{handle: x, json_schema: {type: nonsense}}", "5", False),
    ],
)  # fmt: skip
def test_value_that_contradicts_its_schema(project: Project, handle: str, value: str, clean: bool) -> None:
    pytest.importorskip("jsonschema_rs")
    found = findings(project.flow("nodes:\n" + node("a", handle, inputs_from=f"{{handle: x, value: {value}}}")))
    assert [f.code for f in found] == ([] if clean else ["schema"])


def test_contradiction_is_told_at_the_value(project: Project) -> None:
    pytest.importorskip("jsonschema_rs")
    finding = only(project, "nodes:\n" + node("a", NUMBER, inputs_from="\n      {handle: x, value: five}"))
    assert (finding.line, finding.column) == (3, 7)
    assert finding.message == (
        'the value of input "x" of node "a" contradicts its json_schema: "five" is not of type "number"'
    )


def test_default_that_contradicts_its_schema(project: Project) -> None:
    pytest.importorskip("jsonschema_rs")
    project.write(
        "tasks/t/task.oo.yaml",
        "executor: {name: shell}\ninputs_def: [{handle: x, value: a, json_schema: {type: number}}]",
    )
    assert [f.message for f in findings(project, "tasks/t")] == [
        'the default of input "x" contradicts its json_schema: "a" is not of type "number"'
    ]


def test_common_keywords_count_without_the_extra(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    finding = only(project, "nodes:\n" + node("a", NUMBER, inputs_from="{handle: x, value: five}"))
    assert finding.message.endswith('contradicts its json_schema: "five" is not of type "number"')


def test_forwarded_preview_of_an_unknown_node(project: Project) -> None:
    finding = only(project, "forward_previews: [aa]\nnodes:\n" + node("aaa"))
    assert (finding.code, finding.hint) == ("unknown-node", 'did you mean "aaa"?')


def test_dependency_and_injection_in_no_search_path(project: Project) -> None:
    path = project.write("package.oo.yaml", "dependencies: {lib: 1.0.0, here: 2.0.0}")
    project.write("../store/here-2.0.0/package.oo.yaml", "")
    found = findings(project.flow("injection: {other: echo}"), search_paths=["../store"])
    assert [(f.code, f.path) for f in found] == [("unknown-package", project.main), ("unknown-package", path)]
    assert found[1].hint == 'expected a directory "lib-1.0.0" in one of the search paths'


def test_each_thing_is_said_once_whatever_uses_it(project: Project) -> None:
    project.write("subflows/s/subflow.oo.yaml", "nodes:\n  - {node_id: h, slot: {}}\n  - {node_id: t, task: self::t}")
    project.write("tasks/t/task.oo.yaml", "executor: {name: rust}")
    slots = "slots: [{slot_node_id: h, task: self::t}]"
    project.flow(
        f"nodes:\n  - {{node_id: a, subflow: self::s, {slots}}}\n  - {{node_id: b, subflow: self::s, {slots}}}\n"
    )
    assert [f.code for f in findings(project)] == ["executor"]
