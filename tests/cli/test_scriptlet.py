"""A bare file as a task, and what is wrong with files that cannot be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from oocana_async.cli.scriptlet import is_scriptlet, scriptlet_task
from oocana_async.errors import LoadError


def test_task_runs_the_file_where_it_lies(tmp_path: Path) -> None:
    file = tmp_path / "job.py"
    file.write_text("def main(params): return {'out': params['x']}")
    task = scriptlet_task(str(file), ["x"])
    assert (task.directory, task.executor.to_wire()["options"]["entry"]) == (tmp_path, "job.py")  # type: ignore[union-attr]
    assert list(task.inputs_def or ()) == ["x"]


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
