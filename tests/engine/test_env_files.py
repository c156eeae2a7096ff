from __future__ import annotations

from pathlib import Path

import pytest

from oocana_async.engine.env_files import parse_env_file, read_env_file, variables_on_top


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("A=1\nB = x=y \n", {"A": "1", "B": "x=y"}),
        ("A='1'\n", {"A": "'1'"}),
        ("# A=1\n", {"# A": "1"}),
        ("\nnothing\n=x\nA=\n", {"A": ""}),
        ("A=1\nA=2", {"A": "2"}),
    ],
)
def test_lines_are_split_at_the_first_sign(text: str, pairs: dict[str, str]) -> None:
    assert parse_env_file(text) == pairs


def test_file_is_read_as_utf8(tmp_path: Path) -> None:
    (tmp_path / "env").write_bytes("A=ä".encode())
    assert read_env_file(tmp_path / "env") == {"A": "ä"}


def test_inherited_variables_of_the_host_win() -> None:
    given = {"PATH": "p", "OOMOL_TOKEN": "file", "OOMOL_NEW": "file", "KEEP": "file"}
    inherited = {"PATH": "q", "OOMOL_TOKEN": "host", "KEEP": "host"}
    assert variables_on_top(given, inherited, retain=["KEEP", "ABSENT"]) == {"PATH": "p", "OOMOL_NEW": "file"}


def test_nothing_given_is_nothing_on_top() -> None:
    assert variables_on_top(None, {"A": "1"}) == {}
