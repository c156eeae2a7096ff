"""What becomes of the value of an output handle: JSON, a reference, a file, a warning."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from oocana_async.errors import EncodingError, HandleError
from oocana_async.handles import BinFiles, FrameCache, OutputPlace, VarStore, prepare_output

VAR = {"handle": "out", "json_schema": {"contentMediaType": "oomol/var"}}
BIN = {"handle": "out", "json_schema": {"contentMediaType": "oomol/bin"}}
PLAIN = {"handle": "out"}
REFERENCE = {"executor": "python", "handle": "out", "job_id": "J1", "session_id": "S1"}


class Desk:
    """One job with its store and files."""

    def __init__(self, path: Path) -> None:
        self.store = VarStore()
        self.warnings: list[str] = []
        self.cache: FrameCache | None = None
        self.bins = BinFiles(path, "S1")

    def send(self, value: Any, definition: Any = PLAIN) -> Any:
        place = OutputPlace("S1", "J1", self.store, self.bins, self.warnings.append, self.cache)
        payload = prepare_output("out", value, definition, place)
        return json.loads(payload) if payload is not None else "nothing"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize("definition", [PLAIN, None, {"handle": "out", "json_schema": {"type": "object"}}])
def test_value_travels_as_json(desk: Desk, definition: Any) -> None:
    assert desk.send({"a": [1, math.nan, None]}, definition) == {"a": [1, None, None]}
    assert len(desk.store) == 0


@pytest.mark.parametrize("value", [1, 1.5, "x", True])
def test_basic_value_on_a_var_handle_travels_as_it_is(desk: Desk, value: Any) -> None:
    assert desk.send(value, VAR) == value
    assert len(desk.store) == 0


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, object(), print, iter([])])
def test_object_on_a_var_handle_travels_by_reference(desk: Desk, value: Any) -> None:
    assert desk.send(value, VAR) == {"__OOMOL_TYPE__": "oomol/var", "value": REFERENCE, "serialize_path": None}
    assert desk.store.get(REFERENCE) is value
    assert desk.warnings == []


def test_bytes_travel_through_a_file(desk: Desk, tmp_path: Path) -> None:
    assert desk.send(b"abc", BIN) == {"__OOMOL_TYPE__": "oomol/bin", "value": f"{tmp_path}/binary/S1/J1/out"}
    assert (tmp_path / "binary/S1/J1/out").read_bytes() == b"abc"
    (tmp_path / "mine").write_bytes(b"mine")
    assert Path(desk.send(tmp_path / "mine", BIN)["value"]).read_bytes() == b"mine"


@pytest.mark.parametrize("value", ["abc", 3, None, ["x"]])
def test_other_value_on_a_bin_handle_is_not_sent(desk: Desk, value: Any) -> None:
    assert desk.send(value, BIN) == "nothing"
    assert desk.warnings == ["Output handle key: [out] is defined as binary, but the value is not bytes."]


def test_none_passes_a_bin_handle_that_allows_it(desk: Desk) -> None:
    assert desk.send(None, {**BIN, "nullable": True}) is None
    assert desk.warnings == []


def test_file_that_cannot_be_written_warns(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"in the way")
    assert desk.send(b"abc", BIN) == "nothing"
    [warning] = desk.warnings
    assert warning.startswith(
        "Output handle key: [out] is defined as binary, but an error occurred while writing the file: "
    )


def test_path_of_no_file_on_a_bin_handle_is_an_error(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(HandleError, match=r"output handle \[out\]"):
        desk.send(tmp_path / "missing", BIN)


class Model:
    """Nothing that JSON knows."""


@pytest.mark.parametrize("value", [pd.DataFrame({"a": [1]}), pd.Series([1]), Model(), Model])
def test_object_that_is_no_json_travels_by_reference_with_a_warning(desk: Desk, value: Any) -> None:
    assert desk.send(value) == {"__OOMOL_TYPE__": "oomol/var", "value": REFERENCE, "serialize_path": None}
    assert desk.store.get(REFERENCE) is value
    [warning] = desk.warnings
    assert warning.startswith("Output handle key: [out] got a ")
    assert type(value).__name__ in warning
    assert warning.endswith("contentMediaType: oomol/var")


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [Model()]}, "output handle [out]['a'][0]: object of type Model"),
        ([Model()], "output handle [out][0]: "),
        ("\ud800", "output handle [out]: text has a lone surrogate"),
        (b"\xff", "output handle [out]: bytes that are no UTF-8 text"),
    ],
)
def test_data_that_is_no_json_is_an_error_that_names_the_place(desk: Desk, value: Any, place: str) -> None:
    with pytest.raises(EncodingError) as caught:
        desk.send(value)
    assert str(caught.value).startswith(place)
    assert len(desk.store) == 0


async def _coroutine() -> None: ...


def _items() -> Iterator[int]:
    yield 1


def test_forgotten_await_is_named(desk: Desk) -> None:
    coroutine = _coroutine()
    with pytest.raises(EncodingError, match=r"output handle \[out\].*forget `await`"):
        desk.send(coroutine)
    coroutine.close()


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (_items(), "list(...)"),
        (map(str, [1]), "list(...)"),
        (io.BytesIO(), "send its path, or its content as bytes"),
        (_items, "forget to call it"),
    ],
)
def test_what_was_probably_meant_is_named(desk: Desk, value: Any, hint: str) -> None:
    with pytest.raises(EncodingError, match=r"output handle \[out\]") as caught:
        desk.send(value)
    assert hint in str(caught.value)
    assert len(desk.store) == 0


def test_marked_frame_is_written_before_it_is_announced(desk: Desk, tmp_path: Path) -> None:
    desk.cache = FrameCache(str(tmp_path), "flow", "node")
    frame = pd.DataFrame({"a": [1]})
    sent = desk.send(frame, {**VAR, "_serialize_for_cache": True})
    assert sent["serialize_path"] == str(desk.cache.path_of("out"))
    pd.testing.assert_frame_equal(pd.read_pickle(sent["serialize_path"]), frame)


@pytest.mark.parametrize("definition", [VAR, {**VAR, "_serialize_for_cache": False}])
def test_unmarked_frame_is_not_written(desk: Desk, tmp_path: Path, definition: Any) -> None:
    desk.cache = FrameCache(str(tmp_path), "flow", "node")
    assert desk.send(pd.DataFrame(), definition)["serialize_path"] is None
    assert not (tmp_path / ".cache").exists()


def test_frame_outside_of_the_root_flow_is_not_written(desk: Desk) -> None:
    assert desk.send(pd.DataFrame(), {**VAR, "_serialize_for_cache": True})["serialize_path"] is None


def test_other_object_on_a_marked_handle_is_not_written(desk: Desk, tmp_path: Path) -> None:
    desk.cache = FrameCache(str(tmp_path), "flow", "node")
    assert desk.send([1], {**VAR, "_serialize_for_cache": True})["serialize_path"] is None


def test_frame_that_cannot_be_pickled_travels_without_a_path(desk: Desk, tmp_path: Path) -> None:
    desk.cache = FrameCache(str(tmp_path), "flow", "node")
    frame = pd.DataFrame({"a": [lambda: None]})
    assert desk.send(frame, {**VAR, "_serialize_for_cache": True})["serialize_path"] is None
    assert desk.store.get(REFERENCE) is frame
    [warning] = desk.warnings
    assert warning.startswith("Output handle key: [out] was not kept for the next run")
