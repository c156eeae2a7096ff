from __future__ import annotations

import datetime as dt
import decimal
import json
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from oocana_async.errors import EncodingError
from oocana_async.preview import render
from oocana_async.preview.tables import MAX_BYTES, MAX_COLUMNS

polars = pytest.importorskip("polars")


def table(value: Any) -> Any:
    payload = render(value)
    assert payload["type"] == "table"
    json.dumps(payload, allow_nan=False)
    return payload["data"]


def test_frame_up_to_ten_rows_is_shown_in_full() -> None:
    assert table(pd.DataFrame({"a": range(10), "b": ["x"] * 10})) == {
        "columns": ["a", "b"],
        "rows": [[number, "x"] for number in range(10)],
        "row_count": 10,
    }


def test_frame_of_eleven_rows_shows_five_dots_five() -> None:
    data = table(pd.DataFrame({"a": range(11), "b": range(11)}))
    assert data["row_count"] == 11
    assert [row[0] for row in data["rows"]] == [0, 1, 2, 3, 4, "...", 6, 7, 8, 9, 10]
    assert data["rows"][5] == ["...", "..."]


@pytest.mark.parametrize("length", [3, 30])
def test_polars_frame_gives_the_same_as_pandas(length: int) -> None:
    columns = {"a": list(range(length)), "b": [None, 1.5, "x"][:1] * length}
    assert table(polars.DataFrame(columns)) == table(pd.DataFrame(columns, dtype=object))


def test_empty_frame_keeps_its_columns() -> None:
    assert table(pd.DataFrame({"a": [], "b": []})) == {"columns": ["a", "b"], "rows": [], "row_count": 0}


def test_series_is_one_column_under_its_name() -> None:
    assert table(pd.Series([1, 2], name="n")) == {"columns": ["n"], "rows": [[1], [2]], "row_count": 2}
    assert table(polars.Series("n", [1, 2])) == {"columns": ["n"], "rows": [[1], [2]], "row_count": 2}
    assert len(table(pd.Series(range(100), name="n"))["rows"]) == 11


def test_cells_become_plain() -> None:
    moment = pd.Timestamp("2024-05-06 07:08:09")
    frame = pd.DataFrame(
        {
            "time": [moment, pd.NaT],
            "number": [float("nan"), float("inf")],
            "missing": [pd.NA, None],
            "numpy": np.array([1, 2], dtype="int8"),
            "decimal": [decimal.Decimal("1.50"), decimal.Decimal(3)],
            "date": [dt.date(2024, 5, 6), dt.time(1, 2)],
            "object": [{"k": [1]}, b"\xff"],
            "kind": pd.Categorical(["u", "v"]),
        }
    )
    assert table(frame)["rows"] == [
        ["2024-05-06T07:08:09", None, None, 1, 1.5, "2024-05-06", "{'k': [1]}", "u"],
        [None, None, None, 2, 3, "01:02:00", "b'\\xff'", "v"],
    ]


def test_levels_of_column_names_are_joined() -> None:
    columns = pd.MultiIndex.from_tuples([("a", "x"), ("a", ""), ("b", 1)])
    assert table(pd.DataFrame([[1, 2, 3]], columns=columns))["columns"] == ["a / x", "a", "b / 1"]


def test_repeated_column_names_keep_their_cells() -> None:
    data = table(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    assert (data["columns"], data["rows"]) == (["a", "a"], [[1, 2]])


def test_column_names_that_are_no_text_become_numbers_or_text() -> None:
    frame = pd.DataFrame([[1, 2, 3, 4]], columns=[0, 1.5, None, pd.Timestamp("2024-01-01")])
    assert table(frame)["columns"] == [0, 1.5, "None", "2024-01-01T00:00:00"]


@pytest.mark.parametrize("make", [pd.DataFrame, polars.DataFrame])
def test_too_many_columns_are_cut_with_a_marker(make: Any) -> None:
    data = table(make({f"c{number}": [number] for number in range(MAX_COLUMNS + 7)}))
    assert len(data["columns"]) == MAX_COLUMNS + 1
    assert data["columns"][-1] == "... (+7 columns)"
    assert data["rows"][0][-2:] == [MAX_COLUMNS - 1, "..."]


def test_long_cells_are_cut_with_a_marker() -> None:
    cell = table(pd.DataFrame({"a": ["x" * 5000]}))["rows"][0][0]
    assert cell == "x" * 1000 + "… (+4000 characters)"


def test_large_table_stays_below_the_limit_of_bytes() -> None:
    frame = pd.DataFrame({f"{number} {'ä' * 5000}": ["\x00" * 10_000] * 50 for number in range(MAX_COLUMNS * 2)})
    data = table(frame)
    assert len(json.dumps(data, ensure_ascii=False).encode()) <= MAX_BYTES
    assert data["row_count"] == 50


def test_huge_frame_takes_milliseconds() -> None:
    frame = pd.DataFrame(np.zeros((500_000, 10)))
    best = min(_seconds(frame) for _ in range(3))
    assert best < 0.05


def _seconds(frame: pd.DataFrame) -> float:
    start = time.perf_counter()
    render(frame)
    return time.perf_counter() - start


class OnlyEnds:
    """A frame as the API page describes it, which fails when it is read as a whole."""

    def __init__(self, length: int, start: int = 0) -> None:
        self.shape = (length, 1)
        self.start = start

    def head(self, count: int) -> OnlyEnds:
        return OnlyEnds(count)

    def tail(self, count: int) -> OnlyEnds:
        return OnlyEnds(count, self.shape[0] - count)

    def to_json(self, orient: str) -> str:
        assert orient == "split"
        assert self.shape[0] <= 10
        numbers = range(self.start, self.start + self.shape[0])
        return json.dumps({"columns": ["n"], "data": [[number] for number in numbers]})


def test_frame_of_a_stranger_is_read_through_head_and_tail() -> None:
    data = table(OnlyEnds(1000))
    assert [row[0] for row in data["rows"]] == [0, 1, 2, 3, 4, "...", 995, 996, 997, 998, 999]


def test_frame_without_a_known_length_says_what_to_do() -> None:
    class Delayed:
        shape = (object(), 3)
        head = tail = None

    with pytest.raises(EncodingError, match=r"Delayed is not known yet; preview `.compute\(\)`"):
        render(Delayed())


def test_lazy_frame_says_what_to_do() -> None:
    with pytest.raises(EncodingError, match=r"LazyFrame has no rows yet; preview `.collect\(\)`"):
        render(polars.DataFrame({"a": [1]}).lazy())


def test_frame_without_readable_rows_names_its_type() -> None:
    class Odd:
        shape = (1, 1)
        head = tail = None

    with pytest.raises(EncodingError, match="rows of a Odd"):
        render(Odd())


def test_arrays_become_tables() -> None:
    assert table(np.array([1.5, np.nan])) == {"columns": [0], "rows": [[1.5], [None]], "row_count": 2}
    assert table(np.zeros((2, 3), dtype=int)) == {"columns": [0, 1, 2], "rows": [[0] * 3] * 2, "row_count": 2}
    assert [row[0] for row in table(np.arange(20))["rows"]][4:7] == [4, "...", 15]
    assert table(np.array(["2024-01-02", "NaT"], "M8[ns]"))["rows"][0][0].startswith("2024-01-02")
    named = np.array([(1, "a")], dtype=[("n", int), ("t", "U1")])
    assert table(named) == {"columns": ["n", "t"], "rows": [[1, "a"]], "row_count": 1}


def test_wide_array_is_cut_with_a_marker() -> None:
    data = table(np.zeros((20, 500)))
    assert data["columns"][-1] == "... (+400 columns)"
    assert {len(row) for row in data["rows"]} == {MAX_COLUMNS + 1}


def test_array_of_other_shapes_is_shown_as_text() -> None:
    assert render(np.array(7)) == {"type": "text", "data": "7"}
    assert render(np.zeros((2, 2, 2)))["type"] == "text"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"a": 1}, {"b": 2}], {"columns": ["a", "b"], "rows": [[1, None], [None, 2]], "row_count": 2}),
        ([[1, 2], [3]], {"columns": [0, 1], "rows": [[1, 2], [3, None]], "row_count": 2}),
        ({"a": [1, 2], "b": [3]}, {"columns": ["a", "b"], "rows": [[1, 3], [2, None]], "row_count": 2}),
    ],
)
def test_rows_of_plain_python_become_tables(rows: Any, expected: Any) -> None:
    assert render({"type": "table", "data": rows})["data"] == expected


def test_long_list_of_dicts_is_cut_like_a_frame() -> None:
    data = table([{"n": number} for number in range(50)])
    assert [row[0] for row in data["rows"]] == [0, 1, 2, 3, 4, "...", 45, 46, 47, 48, 49]
    assert data["row_count"] == 50


def test_dict_of_long_columns_is_cut_like_a_frame() -> None:
    data = render({"type": "table", "data": {"n": list(range(50))}})["data"]
    assert [row[0] for row in data["rows"]] == [0, 1, 2, 3, 4, "...", 45, 46, 47, 48, 49]


def test_inline_table_stays_as_it_was_given() -> None:
    given = {"columns": ["a"], "rows": [[number] for number in range(30)]}
    assert render({"type": "table", "data": given}) == {"type": "table", "data": given}


def test_inline_table_that_is_too_large_is_shortened() -> None:
    given = {"columns": ["a"], "rows": [["x" * 900]] * 400, "row_count": 400}
    data = render({"type": "table", "data": given})["data"]
    assert (len(data["rows"]), data["row_count"]) == (11, 400)


def test_wide_inline_table_that_is_too_large_loses_columns() -> None:
    given = {"columns": list(range(2000)), "rows": [["x" * 50] * 2000] * 3}
    data = render({"type": "table", "data": given})["data"]
    assert data["columns"][-1] == "... (+1900 columns)"
    assert (len(data["rows"]), data["row_count"]) == (3, 3)


def test_other_mapping_stays_as_it_is() -> None:
    assert render({"type": "table", "data": {"a": 1}})["data"] == {"a": 1}


def test_frame_of_a_stranger_is_read_through_to_dict() -> None:
    class Small:
        shape = (1, 1)
        head = tail = None

        def to_dict(self, orient: str) -> Any:
            return {"columns": ["a"], "data": [[orient]]}

    assert table(Small()) == {"columns": ["a"], "rows": [["split"]], "row_count": 1}


def test_cells_of_enums_and_large_decimals_become_their_values() -> None:
    import enum

    colour = enum.Enum("colour", {"RED": 3})
    rows = [[colour.RED, decimal.Decimal("NaN"), decimal.Decimal("1e30"), np.int64(4), np.datetime64("2024-01-02")]]
    assert table(rows)["rows"] == [[3, None, 1e30, 4, "2024-01-02"]]


def test_path_of_a_csv_stays_a_path() -> None:
    assert render({"type": "table", "data": "/tmp/a.csv"}) == {"type": "table", "data": "/tmp/a.csv"}


def test_frame_given_as_csv_is_shown_as_a_table() -> None:
    assert render({"type": "csv", "data": pd.DataFrame({"a": [1]})})["type"] == "table"


def test_cell_that_cannot_be_written_names_its_type() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    assert table([{"a": Broken(), "b": "\ud800", "c": 10**30}])["rows"][0] == ["<Broken>", "?", str(10**30)]
