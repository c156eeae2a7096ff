"""Env files: which lines are variables, and which variables win over inherited ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from oocana_async.engine.env_files import read_env_file, variables_on_top


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("A=1\nB = x=y \n", {"A": "1", "B": "x=y"}),
        ("A='1'\n", {"A": "'1'"}),
        ("# A=1\n  #B=2\nC=3 # no comment\n", {"C": "3 # no comment"}),
        ("\n  \nA=\n", {"A": ""}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=ä", {"A": "ä"}),
    ],
)
def test_lines_are_split_at_the_first_sign_and_comments_skipped(
    tmp_path: Path, text: str, pairs: dict[str, str]
) -> None:
    (tmp_path / "env").write_text(text, encoding="utf-8")
    assert read_env_file(tmp_path / "env") == pairs


@pytest.mark.parametrize("line", ["nothing", "=x", "export A=1"])
def test_line_that_is_no_pair_is_named_with_its_place(tmp_path: Path, line: str) -> None:
    file = tmp_path / "env"
    file.write_text(f"A=1\n\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="expected KEY=VALUE") as caught:
        read_env_file(file)
    assert str(caught.value) == f"{file}:3: expected KEY=VALUE, found {line!r}"


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "env").write_bytes(b"A=\xff")
    with pytest.raises(ValueError, match=f"{tmp_path / 'env'} is no UTF-8 text"):
        read_env_file(tmp_path / "env")


def test_inherited_variables_of_the_host_win() -> None:
    given = {"PATH": "p", "OOMOL_TOKEN": "file", "OOMOL_NEW": "file", "KEEP": "file"}
    inherited = {"PATH": "q", "OOMOL_TOKEN": "host", "KEEP": "host"}
    assert variables_on_top(given, inherited, retain=["KEEP", "ABSENT"]) == {"PATH": "p", "OOMOL_NEW": "file"}


def test_nothing_given_is_nothing_on_top() -> None:
    assert variables_on_top(None, {"A": "1"}) == {}
