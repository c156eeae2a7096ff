"""Which directories a block may import from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from oocana_async.executor.loading.package_paths import foreign_sys_path, on_sys_path


@pytest.fixture
def before() -> list[str]:
    return list(sys.path)


def test_directory_is_last_while_anybody_needs_it(tmp_path: Path, before: list[str]) -> None:
    with on_sys_path(str(tmp_path)):
        with on_sys_path(str(tmp_path)):
            assert sys.path == [*before, str(tmp_path)]
        assert sys.path == [*before, str(tmp_path)]
    assert sys.path == before


def test_directory_that_was_there_before_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    with on_sys_path(str(tmp_path)):
        assert foreign_sys_path() == sys.path
    assert sys.path[0] == str(tmp_path)


def test_directory_is_no_foreign_one(tmp_path: Path, before: list[str]) -> None:
    with on_sys_path(str(tmp_path)):
        assert foreign_sys_path() == before


def test_directory_that_a_block_has_taken_out_is_no_fault(tmp_path: Path, before: list[str]) -> None:
    with on_sys_path(str(tmp_path)):
        sys.path.remove(str(tmp_path))
    assert sys.path == before
