"""`oocana-async run` in this process: what it prints, writes and ends with."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oocana_async.cli import main

CASES = Path(__file__).resolve().parents[1] / "conformance" / "cases"

Write = Callable[[str], str]


def flow(case: str) -> str:
    return str(CASES / case / "flows" / "main" / "flow.oo.yaml")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a scriptlet and return its path."""

    def write_code(code: str) -> str:
        file = tmp_path / "job.py"
        file.write_text(code)
        return str(file)

    return write_code


def run(capsys: pytest.CaptureFixture[str], *line: str, code: int = 0) -> tuple[str, str]:
    """Run a target and return what it wrote to stdout and stderr."""
    found = main(["run", *line])
    out, err = capsys.readouterr()
    assert found == code, out + err
    return out, err


def events(capsys: pytest.CaptureFixture[str], *line: str, code: int = 0) -> list[dict[str, Any]]:
    out, _ = run(capsys, *line, "--json", code=code)
    return [json.loads(text) for text in out.splitlines()]


def of(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in found if event["type"] == kind]


# -- JSON lines -------------------------------------------------------------------------------------------------------


def test_json_prints_every_event_as_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = events(capsys, flow("002-chain"), "--session", "mine")
    assert [event["type"] for event in found][:3] == ["SessionStarted", "FlowStarted", "FlowNodesWillRun"]
    assert [event["type"] for event in found][-2:] == ["FlowFinished", "SessionFinished"]
    assert {event["session_id"] for event in found} == {"mine"}


def test_json_has_logs_on_stderr(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(capsys, write("def main(): print('hello')"), "--json")
    assert err == "log       job: hello\n"
    assert all(line.startswith("{") for line in out.splitlines())


def test_quiet_json_has_no_logs_on_stderr(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = run(capsys, write("def main(): print('hello')"), "--json", "--quiet")
    assert err == ""


def test_json_of_an_unreadable_flow_is_a_session_that_ends(capsys: pytest.CaptureFixture[str]) -> None:
    started, finished = events(capsys, flow("153-wrong-type"), "--session", "mine", code=2)
    assert (started["type"], started["path"]) == ("SessionStarted", flow("153-wrong-type"))
    assert finished["type"] == "SessionFinished"
    assert finished["error"].startswith("Failed to read block ")


def test_report_file_has_the_same_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.jsonl"
    out, _ = run(capsys, flow("002-chain"), "--json", "--report", str(file))
    assert file.read_text() == out


def test_report_file_that_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = run(capsys, flow("002-chain"), "--report", "/dev/null/report", code=2)
    assert "--report: " in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has this device")
def test_full_disk_is_an_error_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = run(capsys, flow("002-chain"), "--quiet", "--report", "/dev/full", code=1)
    assert err == "error: [Errno 28] No space left on device\n"


# -- plain lines ------------------------------------------------------------------------------------------------------


def test_plain_lines_tell_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, flow("002-chain"))[0].splitlines()
    assert [line.split()[:2] for line in lines[:6]] == [[w, n] for n in "abc" for w in ("started", "finished")]
    assert [line.split()[0] for line in lines[7:]] == ["node", "a", "b", "c", "finished"]
    assert "\x1b" not in "".join(lines)


def test_flow_without_nodes_is_not_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "flow.oo.yaml"
    file.write_text("nodes: []")
    assert run(capsys, str(file))[0].startswith("finished after ")


def test_failure_shows_the_code_of_the_block(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write("def main(params):\n    return params['x']\n")
    out, err = run(capsys, path, code=1)
    assert f'File "{path}", line 2, in main' in err
    assert err.splitlines()[-1] == "error: KeyError: 'x'"
    assert "oocana_async" not in err
    assert out.splitlines()[-1].startswith("failed after ")


def test_failing_node_of_a_flow_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = run(capsys, flow("091-fail-in-subflow"), code=1)
    subflow = CASES / "091-fail-in-subflow" / "subflows" / "inner" / "subflow.oo.yaml"
    assert err.splitlines()[-1].endswith(f'The cause in node "s/t" ({subflow}:6:5): ValueError: boom')


def test_quiet_shows_failures_only(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, flow("002-chain"), "--quiet") == ("", "")
    out, err = run(capsys, write("def main(): 1 / 0"), "--quiet", code=1)
    assert out == ""
    assert "ZeroDivisionError" in err


def test_every_fault_of_an_unreadable_flow_has_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "flow.oo.yaml"
    file.write_text(
        "nodes:\n  - node_id: a\n    task: nowhere\n  - node_id: b\n    concurrency: many\n    task: gone\n"
    )
    out, err = run(capsys, str(file), code=2)
    assert out == ""
    assert len(err.splitlines()) >= 2
    assert all(line.startswith(f"{file}:") for line in err.splitlines())


def test_missing_target_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = run(capsys, "nowhere/flow.oo.yaml", code=2)
    assert err.startswith("error: ")
    assert str(Path("nowhere").absolute()) in err


# -- what runs --------------------------------------------------------------------------------------------------------


def test_scriptlet_takes_inputs_and_may_put_out_anything(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write("def main(params, context):\n    context.output('twice', 2 * params['x'])\n    return {'done': True}")
    found = events(capsys, path, "--inputs", '{"x": 21}')
    assert [(event["handle"], event["output"]) for event in of(found, "BlockOutput")] == [("twice", 42)]
    assert of(found, "BlockFinished")[0]["result"] == {"done": True}
    assert of(found, "BlockWarning") == []


def test_scriptlet_may_compute_the_names_of_its_outputs(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(
        "def main(params, context):\n    for n in range(2): context.output(f'part{n}', n)\n    return {'x' * 2: 1}"
    )
    found = events(capsys, path)
    assert [event["handle"] for event in of(found, "BlockOutput")] == ["part0", "part1"]
    assert of(found, "BlockFinished")[0]["result"] == {"xx": 1}
    assert of(found, "BlockWarning") == []


@pytest.mark.parametrize(
    ("code", "place"),
    [("def main(:", ":1:10: syntax error"), ("x = 1", ":1:1: the scriptlet has no function main")],
)
def test_scriptlet_that_cannot_run_is_named(
    code: str, place: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(code)
    assert run(capsys, path, code=2)[1].startswith(path + place)
    assert [event["type"] for event in events(capsys, path, code=2)] == ["SessionStarted", "SessionFinished"]


def test_inputs_come_from_a_file(tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "values.json").write_text('{"x": "from file"}')
    found = events(capsys, write("def main(p): return {'y': p['x']}"), "--inputs", f"@{tmp_path / 'values.json'}")
    assert of(found, "BlockFinished")[0]["result"] == {"y": "from file"}


def test_inputs_that_cannot_travel_are_refused(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(capsys, write("def main(p): pass"), "--inputs", '{"x": "\\ud800"}', code=2)
    assert out == ""
    assert err.startswith("oocana-async: --inputs: the given text: input [x]: text has a lone surrogate")


def test_nodes_inputs_replace_static_values(capsys: pytest.CaptureFixture[str]) -> None:
    found = events(capsys, flow("003-static-value"), "--nodes-inputs", '{"a": {"n": "mine"}}')
    assert of(found, "BlockStarted")[0]["inputs"]["n"] == "mine"


def test_nodes_run_only_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    found = events(capsys, flow("002-chain"), "--nodes", "b")
    assert [event["stacks"][-1]["node_id"] for event in of(found, "BlockStarted")] == ["a", "b"]
    assert found[0]["partial"] is True


def test_cache_starts_nodes_with_the_values_of_the_last_run(capsys: pytest.CaptureFixture[str]) -> None:
    events(capsys, flow("002-chain"))
    found = events(capsys, flow("002-chain"), "--use-cache", "--nodes", "c")
    assert [event["stacks"][-1]["node_id"] for event in of(found, "BlockStarted")] == ["c"]
    assert found[0]["cache"] is True


def test_env_file_reaches_the_block_and_goes_again(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "env").write_text("OOCANA_CLI_TEST = from file\n")
    code = "import os\ndef main(): return {'x': os.environ['OOCANA_CLI_TEST']}"
    found = events(capsys, write(code), "--env-file", str(tmp_path / "env"))
    assert of(found, "BlockFinished")[0]["result"] == {"x": "from file"}
    assert "OOCANA_CLI_TEST" not in os.environ


def test_env_file_may_be_named_by_a_variable(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "env").write_text("broken line\n")
    monkeypatch.setenv("OOCANA_ENV_FILE", str(tmp_path / "env"))
    _, err = run(capsys, write("def main(): pass"), code=2)
    assert f"OOCANA_ENV_FILE: {tmp_path / 'env'}:1: expected KEY=VALUE" in err


def test_env_file_of_the_command_line_wins_over_the_variable(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("given", "inherited"):
        (tmp_path / name).write_text(f"OOCANA_CLI_TEST={name}\n")
    monkeypatch.setenv("OOCANA_ENV_FILE", str(tmp_path / "inherited"))
    code = "import os\ndef main(): return {'x': os.environ['OOCANA_CLI_TEST']}"
    found = events(capsys, write(code), "--env-file", str(tmp_path / "given"))
    assert of(found, "BlockFinished")[0]["result"] == {"x": "given"}


def test_run_in_this_process_leaves_the_garbage_collector_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    assert gc.get_freeze_count() == 0
    run(capsys, flow("002-chain"))
    assert gc.get_freeze_count() == 0


def test_directories_are_those_that_were_given(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "def main(params, context):\n"
        "    return {'session': context.session_dir, 'tmp': context.tmp_dir, 'data': context.pkg_data_dir}"
    )
    flags = ("--session-dir", "s", "--temp-root", "t", "--project-data", "d", "--pkg-data-root", "p")
    places = [flag if flag.startswith("--") else str(tmp_path / "new" / flag) for flag in flags]
    (finished,) = of(events(capsys, write(code), *places), "BlockFinished")
    assert finished["result"]["session"] == str(tmp_path / "new" / "s")
    assert finished["result"]["tmp"].startswith(str(tmp_path / "new" / "t"))
    assert finished["result"]["data"] == str(tmp_path / "new" / "d")


def test_max_threads_limits_blocks_that_run_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "job.py").write_text(
        "import threading, time\nlock = threading.Lock()\n"
        "def main():\n"
        "    free = lock.acquire(blocking=False)\n"
        "    time.sleep(0.05)\n"
        "    if free: lock.release()\n"
        "    return {'alone': free}"
    )
    task = "{executor: {name: python, options: {entry: job.py}}, outputs_def: [{handle: alone}]}"
    nodes = "".join(f"  - {{node_id: n{number}, task: {task}}}\n" for number in range(4))
    (tmp_path / "flow.oo.yaml").write_text(f"nodes:\n{nodes}")
    found = events(capsys, str(tmp_path), "--max-threads", "1")
    assert [event["result"]["alone"] for event in of(found, "BlockFinished")] == [True] * 4


def test_search_paths_may_be_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        task = tmp_path / name / f"p{name}" / "tasks" / "t"
        task.mkdir(parents=True)
        (task / "task.oo.yaml").write_text("executor: {name: python, options: {entry: main.py}}")
        (task / "main.py").write_text("def main(): pass")
    (tmp_path / "flow.oo.yaml").write_text(
        "nodes:\n  - {node_id: a, task: 'pone::t'}\n  - {node_id: b, task: 'ptwo::t'}\n"
    )
    line = (str(tmp_path), "--search-paths", str(tmp_path / "one"), "--search-paths", str(tmp_path / "two"))
    assert len(of(events(capsys, *line), "BlockFinished")) == 2


# -- options that do not suit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [("--nodes", "a"), ("--nodes-inputs", '{"a": {}}'), ("--use-cache",)])
def test_option_for_flows_is_refused_for_a_task(
    flags: tuple[str, ...], write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("def main(): pass")
    _, err = run(capsys, path, *flags, code=2)
    assert f"{flags[0]}: expected a flow, but {path} is a task" in err


def test_unknown_names_are_warned_about(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = run(capsys, flow("002-chain"), "--nodes", "b,q", "--inputs", '{"x": 1}')
    assert '--nodes: the flow has no node "q"' in err
    assert "--inputs: " in err
    assert 'declares no input "x"' in err
    _, err = run(capsys, flow("002-chain"), "--nodes-inputs", '{"aa": {"x": 1}}')
    assert 'the flow has no node "aa"' in err
