"""Bytes as files: where they lie, what they are called, that nobody sees half of one."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oocana_async.errors import HandleError
from oocana_async.handles import BinFiles
from oocana_async.handles.bin_files import read_bin, safe_name, write_atomically


@pytest.fixture
def files(tmp_path: Path) -> BinFiles:
    return BinFiles(tmp_path / "session", "S1")


def path_of(wrapper: Any) -> Path:
    assert wrapper["__OOMOL_TYPE__"] == "oomol/bin"
    return Path(wrapper["value"])


@pytest.mark.parametrize("value", [b"abc", bytearray(b"abc"), memoryview(b"xabc")[1:], memoryview(b"aXbXcX")[::2]])
def test_bytes_are_found_under_the_documented_path(files: BinFiles, tmp_path: Path, value: Any) -> None:
    wrapper = files.write("J1", "photo", value)
    assert wrapper == {"__OOMOL_TYPE__": "oomol/bin", "value": f"{tmp_path}/session/binary/S1/J1/photo"}
    assert read_bin(wrapper, handle="in") == b"abc"


def test_further_outputs_of_a_handle_get_files_of_their_own(files: BinFiles) -> None:
    wrappers = [files.write("J1", "photo", str(number).encode()) for number in range(3)]
    assert [path_of(wrapper).name for wrapper in wrappers] == ["photo", "photo.2", "photo.3"]
    assert [read_bin(wrapper, handle="in") for wrapper in wrappers] == [b"0", b"1", b"2"]
    assert path_of(files.write("J2", "photo", b"")).name == "photo"


def test_names_that_look_like_further_outputs_do_not_collide(files: BinFiles) -> None:
    order = ["a", "a", "a.2", "a", "b.2", "b", "b", "b.2", "A"]
    wrappers = [files.write("J1", handle, str(number).encode()) for number, handle in enumerate(order)]
    paths = [path_of(wrapper) for wrapper in wrappers]
    assert len({str(path).casefold() for path in paths}) == len(order)
    assert [path.read_bytes() for path in paths] == [str(number).encode() for number in range(len(order))]
    assert paths[0].name == "a"


def test_nothing_but_the_file_is_left(files: BinFiles) -> None:
    path = path_of(files.write("J1", "photo", b"x"))
    assert os.listdir(path.parent) == ["photo"]  # noqa: PTH208


@pytest.mark.parametrize(
    "name", ["../../esc", "/etc/passwd", "..", ".", "", "a\x00b", "a\\b", "x" * 300, " a", "\ud800"]
)
def test_handle_and_job_never_lead_out_of_the_directory(files: BinFiles, tmp_path: Path, name: str) -> None:
    path = path_of(files.write(name, name, b"x"))
    assert path.resolve().parent.parent == (tmp_path / "session" / "binary" / "S1").resolve()
    assert path.read_bytes() == b"x"


@pytest.mark.parametrize("name", ["photo", "my photo", "bild-ä", "photo.png", "a_b (1)"])
def test_ordinary_names_stay(name: str) -> None:
    assert safe_name(name) == name


@given(st.text(max_size=400))
def test_safe_name_is_one_component(name: str) -> None:
    safe = safe_name(name)
    assert safe not in ("", ".", "..")
    assert not set("/\\\x00") & set(safe)
    assert len(safe.encode()) <= 250


@given(st.text(max_size=20), st.text(max_size=20))
def test_safe_names_of_different_names_differ(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)


def test_later_changes_of_a_file_of_the_session_do_not_matter(files: BinFiles, tmp_path: Path) -> None:
    source = tmp_path / "session" / "frame.bin"
    source.parent.mkdir()
    source.write_bytes(b"frame 1")
    path = path_of(files.write("J1", "photo", source))
    source.write_bytes(b"frame 2")
    assert path.read_bytes() == b"frame 1"


def test_read_only_file_of_the_session_is_hard_linked(files: BinFiles, tmp_path: Path) -> None:
    source = tmp_path / "session" / "big.bin"
    source.parent.mkdir()
    source.write_bytes(b"big")
    source.chmod(0o444)
    path = path_of(files.write("J1", "photo", source))
    assert path.samefile(source)
    assert source.exists()


def test_linkable_directories_count_as_the_session(tmp_path: Path) -> None:
    source = tmp_path / "tmp" / "big.bin"
    source.parent.mkdir()
    source.write_bytes(b"big")
    source.chmod(0o444)
    files = BinFiles(tmp_path / "session", "S1", linkable=[tmp_path / "tmp"])
    assert path_of(files.write("J1", "photo", source)).samefile(source)


def test_file_from_elsewhere_is_copied(files: BinFiles, tmp_path: Path) -> None:
    source = tmp_path / "mine.bin"
    source.write_bytes(b"mine")
    path = path_of(files.write("J1", "photo", source))
    assert path.read_bytes() == b"mine"
    assert not path.samefile(source)


def test_file_is_copied_where_links_are_not_possible(
    files: BinFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    source = tmp_path / "session" / "big.bin"
    source.parent.mkdir()
    source.write_bytes(b"big")
    source.chmod(0o444)
    assert path_of(files.write("J1", "photo", source)).read_bytes() == b"big"


@pytest.mark.parametrize("name", ["missing", "."])
def test_path_that_is_no_file_is_refused(files: BinFiles, tmp_path: Path, name: str) -> None:
    with pytest.raises(HandleError, match=r"output handle \[photo\].*is not a file"):
        files.write("J1", "photo", tmp_path / name)


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("full")

    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(OSError, match="full"):
        write_atomically(tmp_path / "x", fail)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_finished_job_is_forgotten_but_its_files_stay(files: BinFiles) -> None:
    path = path_of(files.write("J1", "photo", b"x"))
    files.forget_job("J1")
    files.forget_job("J1")
    assert path.read_bytes() == b"x"
    assert path_of(files.write("J1", "photo", b"y")) == path  # it counts from the start again


def test_threads_get_files_of_their_own(files: BinFiles) -> None:
    paths: list[str] = []

    def work() -> None:
        paths.extend(files.write("J1", "photo", b"x")["value"] for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 200


@pytest.mark.parametrize(
    ("wrapper", "text"),
    [({"value": "/no/such/file"}, "/no/such/file does not exist"), ({"value": 3}, "names no file"), ({}, "no file")],
)
def test_missing_file_names_handle_and_path(wrapper: Any, text: str) -> None:
    with pytest.raises(HandleError, match=r"input handle \[photo\]") as caught:
        read_bin(wrapper, handle="photo")
    assert text in str(caught.value)
    assert caught.value.handle == "photo"


def test_unreadable_file_names_handle_and_path(
    files: BinFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    wrapper = files.write("J1", "photo", b"x")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(HandleError, match="cannot be read: Permission denied"):
        read_bin(wrapper, handle="photo")
