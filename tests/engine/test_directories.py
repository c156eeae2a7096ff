"""Where sessions, targets and packages keep their files, and what is removed at the end."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest

from oocana_async.engine.directories import prepare_directories

FLOW = Path("/ws/flows/main/flow.oo.yaml")


def test_names_are_those_of_the_reference(tmp_path: Path) -> None:
    made = prepare_directories(FLOW, "s1", session_dir=tmp_path / "session", temp_root=tmp_path)
    assert made.tmp == tmp_path / f"main-{hashlib.sha256(str(FLOW).encode()).hexdigest()[:8]}"
    assert made.session == tmp_path / "session"
    assert made.project_data == made.pkg_data_root == tmp_path
    assert made.tmp.is_dir()
    made.close(succeeded=False)


def test_temp_root_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOCANA_TEMP_ROOT", str(tmp_path))
    made = prepare_directories(FLOW, "s1", session_dir=tmp_path / "session")
    assert made.tmp.parent == tmp_path
    made.close(succeeded=False)


def test_temp_root_that_is_not_there_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = prepare_directories(FLOW, "s1", temp_root=tmp_path / "nowhere")
    assert made.tmp.parent == tmp_path
    assert made.session == tmp_path / "s1"
    made.close(succeeded=False)


def test_second_session_of_a_target_keeps_the_files_of_the_first(tmp_path: Path) -> None:
    places = {"session_dir": tmp_path / "session", "temp_root": tmp_path}
    first = prepare_directories(FLOW, "s1", **places)
    second = prepare_directories(FLOW, "s2", **places)
    second.close(succeeded=True)
    (first.tmp / "mine").touch()
    third = prepare_directories(FLOW, "s3", **places)
    assert (first.tmp / "mine").exists()
    third.close(succeeded=True)
    first.close(succeeded=True)
    prepare_directories(FLOW, "s4", **places).close(succeeded=False)
    assert not (first.tmp / "mine").exists()


def test_session_directory_without_files_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = prepare_directories(FLOW, "s1", temp_root=tmp_path)
    (made.session / "binary" / "s1").mkdir(parents=True)
    made.close(succeeded=True)
    assert not made.session.exists()


def test_session_directory_with_files_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = prepare_directories(FLOW, "s1", temp_root=tmp_path)
    (made.session / "empty").mkdir()
    (made.session / "result").touch()
    made.close(succeeded=True)
    assert {path.name for path in made.session.iterdir()} == {"empty", "result"}


def test_session_directory_that_was_asked_for_is_kept(tmp_path: Path) -> None:
    made = prepare_directories(FLOW, "s1", session_dir=tmp_path / "session", temp_root=tmp_path)
    made.close(succeeded=True)
    assert made.session.is_dir()
