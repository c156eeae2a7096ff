"""Cached frames: written, read again, and refused from anywhere else."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from oocana_async.errors import HandleError
from oocana_async.handles import FrameCache, cache_directory, setup_dataframe_serialization
from oocana_async.handles.frame_cache import is_cacheable_frame, read_frame

FRAME = pd.DataFrame({"a": [1, 2]})


def cache(path: Path) -> FrameCache:
    return FrameCache(str(path), "/w/flow.oo.yaml", "load")


def choose(path: Path, method: Any) -> None:
    setup_dataframe_serialization(SimpleNamespace(pkg_data_dir=str(path)), {"method": method})


def test_frame_is_kept_under_the_documented_path(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"/w/flow.oo.yaml-load").hexdigest()
    path = cache(tmp_path).write("df", FRAME)
    assert path == f"{tmp_path}/.cache/{digest}/df.pkl"
    pd.testing.assert_frame_equal(read_frame(path, cache_directory(tmp_path), handle="in"), FRAME)
    assert [file.name for file in Path(path).parent.iterdir()] == ["df.pkl"]


@pytest.mark.parametrize(
    ("method", "suffix"), [("zip", ".zip"), ("gzip", ".gz"), ("bz2", ".bz2"), ("xz", ".xz"), ("tar", ".tar")]
)
def test_chosen_compression_is_used(tmp_path: Path, method: str, suffix: str) -> None:
    choose(tmp_path, method)
    assert json.loads((tmp_path / "__compression_options.json").read_text()) == {"method": method}
    path = cache(tmp_path).write("df", FRAME)
    assert path.endswith(f"/df{suffix}")
    pd.testing.assert_frame_equal(read_frame(path, cache_directory(tmp_path), handle="in"), FRAME)
    pd.testing.assert_frame_equal(pd.read_pickle(path), FRAME)


def test_choice_can_be_taken_back(tmp_path: Path) -> None:
    context = SimpleNamespace(pkg_data_dir=str(tmp_path))
    setup_dataframe_serialization(context, {"method": "zip"})
    setup_dataframe_serialization(context, None)
    setup_dataframe_serialization(context)
    assert list(tmp_path.iterdir()) == []
    assert cache(tmp_path).path_of("df").suffix == ".pkl"


def test_unknown_compression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^Unsupported compression method: rar$"):
        choose(tmp_path, "rar")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["{", "[]", '{"method": "rar"}', '{"method": []}'])
def test_broken_choice_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "__compression_options.json").write_text(content)
    assert cache(tmp_path).path_of("df").suffix == ".pkl"


def test_only_data_frames_that_pickle_themselves_are_kept() -> None:
    assert is_cacheable_frame(FRAME)
    assert not is_cacheable_frame(FRAME["a"])
    assert not is_cacheable_frame(type("DataFrame", (), {})())


def test_failed_pickling_leaves_no_file(tmp_path: Path) -> None:
    broken = pd.DataFrame({"a": [lambda: None]})
    with pytest.raises((pickle.PicklingError, AttributeError)):
        cache(tmp_path).write("df", broken)
    assert list(cache(tmp_path).path_of("df").parent.iterdir()) == []


@pytest.mark.parametrize("place", ["outside", "beside", "through_a_link", "dots", "no_directory"])
def test_pickle_outside_of_the_cache_is_never_read(tmp_path: Path, place: str) -> None:
    inside = cache_directory(tmp_path)
    inside.mkdir()
    evil = tmp_path / ("evil.pkl" if place != "beside" else ".cache-evil.pkl")
    evil.write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    link = inside / "link.pkl"
    link.symlink_to(evil)
    path = {"through_a_link": str(link), "dots": f"{inside}/../evil.pkl"}.get(place, str(evil))
    with pytest.raises(HandleError, match=r"input handle \[in\]: will not unpickle"):
        read_frame(path, None if place == "no_directory" else inside, handle="in")
    assert not (tmp_path / "ran").exists()


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_cache_behind_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "real")
    path = cache(tmp_path / "data").write("df", FRAME)
    assert len(read_frame(path, cache_directory(tmp_path / "data"), handle="in")) == 2


def test_missing_or_broken_cached_frame_is_named(tmp_path: Path) -> None:
    path = cache(tmp_path).path_of("df")
    with pytest.raises(HandleError, match=r"\[in\]: the cached data frame .*df.pkl does not exist"):
        read_frame(str(path), cache_directory(tmp_path), handle="in")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x80")
    with pytest.raises(HandleError, match=r"df.pkl cannot be read"):
        read_frame(str(path), cache_directory(tmp_path), handle="in")
