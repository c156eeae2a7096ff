"""`check` and `query` as people and programs read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oocana_async.cli import main

CASES = Path(__file__).resolve().parents[1] / "conformance" / "cases"
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def flow(case: str) -> str:
    return str(CASES / case / "flows" / "main" / "flow.oo.yaml")


def printed(capsys: pytest.CaptureFixture[str], *line: str, code: int = 0) -> str:
    assert main(line) == code
    return capsys.readouterr().out


def test_check_of_a_good_flow_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert "error" not in printed(capsys, "check", str(EXAMPLES / "penguins" / "flows" / "penguins"))


def test_check_names_the_place_of_each_error(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "check", flow("153-wrong-type"), code=1)
    assert text.startswith(f"{flow('153-wrong-type')}:")
    assert text.splitlines()[-1] == "1 error"


def test_check_counts_notes_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "flow.oo.yaml"
    file.write_text("inputs_def: [{handle: x}]\noutputs_def: [{handle: y}, {handle: z}]\n")
    assert printed(capsys, "check", str(file)).splitlines()[-1] == "2 warnings, 1 note"


def test_check_prints_findings_as_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "check", flow("153-wrong-type"), "--json", code=1).splitlines()
    (finding,) = (json.loads(line) for line in lines)
    assert set(finding) == {"severity", "code", "path", "line", "column", "message", "hint"}
    assert (finding["severity"], finding["path"]) == ("error", flow("153-wrong-type"))
    assert finding["line"] > 0


def test_check_of_a_scriptlet_finds_syntax_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.py"
    file.write_text("def main(:")
    assert f"{file}:1:10: error: syntax error" in printed(capsys, "check", str(file), code=1)


def test_check_of_a_good_scriptlet_finds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.py"
    file.write_text("def main(): pass")
    assert printed(capsys, "check", str(file)) == "nothing is wrong\n"


def test_query_inputs_prints_definitions(capsys: pytest.CaptureFixture[str]) -> None:
    inputs = json.loads(printed(capsys, "query", "inputs", str(CASES / "130-run-task" / "tasks" / "t")))
    assert inputs["dflt"] == {"handle": "dflt", "value": 5}


def test_query_nodes_inputs_can_be_written_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "inputs.json"
    line = ("query", "nodes-inputs", flow("003-static-value"), "--output", str(file))
    assert printed(capsys, *line) == ""
    assert json.loads(file.read_text())["a"][0]["handle"]


def test_query_upstream_prints_three_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "query", "upstream", flow("002-chain"), "--nodes", "b").splitlines() == [
        "run:a",
        "waiting:",
        "whole:a",
    ]


def test_query_upstream_warns_about_unknown_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "upstream", flow("002-chain"), "--nodes", "b,q"]) == 0
    assert 'the flow has no node "q"' in capsys.readouterr().err


def test_query_of_an_unreadable_flow_names_the_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "package", flow("153-wrong-type")]) == 2
    assert capsys.readouterr().err.startswith(f"{flow('153-wrong-type')}:")
