"""A bare file as a task: which outputs it may have, and what is wrong with files that cannot be run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from oocana_async.cli.scriptlet import is_scriptlet, output_names, scriptlet_task
from oocana_async.errors import LoadError


def names(code: str) -> set[str]:
    return set(output_names(ast.parse(code)))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def main(params, context): return {'a': 1, 'b': 2}", {"a", "b"}),
        ("async def main(params, context):\n    await context.output('a', 1)", {"a"}),
        ("def main(params, context): context.output(key='a', value=1)", {"a"}),
        ("def main(params, context): context.outputs({'a': 1})", {"a"}),
        ("def main(params, context): context.finish(result={'a': 1})", {"a"}),
        ("def main(params):\n    result = {}\n    result['a'] = 1\n    return result", {"a"}),
        ("def main(params): return dict(a=1)", {"a"}),
        ("class Outputs(typing.TypedDict):\n    a: int\ndef main(params) -> Outputs: return make()", {"a"}),
        ("def main(params, context):\n    for n in ('x', 'y'): context.output(n, 1)", {"x", "y"}),
        ("def main(params): print(params['a'])", set()),
    ],
)
def test_outputs_are_found_in_the_source(code: str, found: set[str]) -> None:
    assert names(code) == found


def test_task_runs_the_file_where_it_lies(tmp_path: Path) -> None:
    file = tmp_path / "job.py"
    file.write_text("def main(params): return {'out': params['x']}")
    task = scriptlet_task(str(file), ["x"])
    assert (task.directory, task.executor.to_wire()["options"]["entry"]) == (tmp_path, "job.py")  # type: ignore[union-attr]
    assert list(task.inputs_def or ()) == ["x"]
    assert list(task.outputs_def or ()) == ["out"]


@pytest.mark.parametrize(
    "code",
    [
        "from helper import main",
        "from helper import *",
        "import helper as main",
        "main = make()",
        "if 1:\n  def main(): 0",
    ],
)
def test_main_may_come_from_anywhere(code: str, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(code)
    assert scriptlet_task(str(tmp_path / "job.py"), ()).source is not None


@pytest.mark.parametrize(
    ("code", "place", "text"),
    [
        ("x = 1\ndef main(:\n", ":2:10", "syntax error: "),
        ("def mian(params): pass", ":1:1", "no function main"),
        ("def outer():\n    def main(): pass", ":1:1", "no function main"),
        ("x = '\0'", "", "null bytes"),
    ],
)
def test_file_that_cannot_be_run_is_named_with_its_place(code: str, place: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "job.py"
    file.write_text(code)
    with pytest.raises(LoadError, match=text) as caught:
        scriptlet_task(str(file), ())
    assert str(caught.value).startswith(f"{file}{place}: ")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="cannot be read: No such file or directory"):
        scriptlet_task(str(tmp_path / "gone.py"), ())


def test_directory_with_the_name_of_a_file_is_no_scriptlet(tmp_path: Path) -> None:
    (tmp_path / "flow.py").mkdir()
    assert not is_scriptlet(str(tmp_path / "flow.py"))
    assert is_scriptlet("job.py")
