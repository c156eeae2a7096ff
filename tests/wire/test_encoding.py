"""Values become JSON that the engine takes: as users expect, never NaN, lone surrogates or 128 levels."""

from __future__ import annotations

import array
import asyncio
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oocana_async.errors import EncodingError
from oocana_async.wire.encoding import MAX_DEPTH, encode, require_depth

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXT | st.floats(allow_nan=False).filter(abs)
FINITE = SCALARS.filter(lambda value: value not in (float("inf"), float("-inf")))
PLAIN = st.recursive(FINITE, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
ODD = st.recursive(
    SCALARS
    | st.floats()
    | st.decimals()
    | st.integers()
    | st.binary()
    | st.text()
    | st.datetimes()
    | st.uuids()
    | st.frozensets(st.integers())
    | st.timedeltas(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.none() | st.booleans(), inner, max_size=3)
    ),
)


@given(PLAIN)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    assert json.loads(encode(value)) == value


def refuse(token: str) -> Any:
    raise AssertionError(f"not JSON for the engine: {token}")


@given(ODD)
def test_whatever_is_encoded_is_strict_json(value: Any) -> None:
    try:
        data = encode(value)
    except EncodingError:
        return
    text = data.decode()
    json.loads(text, parse_constant=refuse)
    assert not re.search(r"\\ud[89a-f]", text, re.IGNORECASE)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Point(NamedTuple):
    x: int
    y: float


@dataclasses.dataclass
class Box:
    size: int
    corner: Point


class Task(msgspec.Struct, rename="camel"):
    block_id: str
    note: str | msgspec.UnsetType = msgspec.UNSET


UTC = dt.UTC
CASES: list[tuple[Any, Any]] = [
    (float("nan"), None),
    ([float("inf"), -float("inf"), 1.5], [None, None, 1.5]),
    (decimal.Decimal("1.25"), 1.25),
    (decimal.Decimal("NaN"), None),
    (b"text", "text"),
    (bytearray(b"text"), "text"),
    (memoryview(b"text"), "text"),
    (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
    (dt.date(2026, 1, 2), "2026-01-02"),
    (dt.time(3, 4), "03:04:00"),
    (dt.timedelta(hours=1, seconds=30), "PT3630S"),
    (Colour.RED, "red"),
    (Level.HIGH, 3),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Path("/a/b"), "/a/b"),
    ({1}, [1]),
    (frozenset(("a",)), ["a"]),
    ((1, (2,)), [1, [2]]),
    (range(3), [0, 1, 2]),
    (collections.deque((1, 2)), [1, 2]),
    (array.array("d", (1.5,)), [1.5]),
    ({"a": 1}.values(), [1]),
    (collections.OrderedDict(a=1), {"a": 1}),
    (Point(1, 2.5), {"x": 1, "y": 2.5}),
    (Box(1, Point(1, 2)), {"size": 1, "corner": {"x": 1, "y": 2}}),
    (Task("b"), {"blockId": "b"}),
    ({None: 1, True: 2, False: 3, 4: 5, 1.5: 6}, {"null": 1, "true": 2, "false": 3, "4": 5, "1.5": 6}),
    ({Colour.RED: 1, uuid.UUID(int=1): 2}, {"red": 1, "00000000-0000-0000-0000-000000000001": 2}),
    (2**80, 2**80),
    ({"a": {"b": [1, 2**70]}}, {"a": {"b": [1, 2**70]}}),
    (np.int64(3), 3),
    (np.float32(0.5), 0.5),
    (np.float64("nan"), None),
    (np.bool_(True), True),
    (np.str_("a"), "a"),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.datetime64("2026-01-02T03:04:05", "ns"), "2026-01-02T03:04:05"),
    (np.datetime64("NaT", "ns"), None),
    (np.array(["2026-01-02"], dtype="datetime64[ns]"), ["2026-01-02T00:00:00"]),
    (np.timedelta64(90, "s"), "PT90S"),
    (pd.Timestamp("2026-01-02 03:04:05"), "2026-01-02T03:04:05"),
    (pd.Timedelta(seconds=90), "PT90S"),
    (pd.NaT, None),
    (pd.Period("2026-01", freq="M"), "2026-01"),
    (pd.Interval(1, 2), "(1, 2]"),
    (pd.NA, None),
    (pd.Index([1, 2]), [1, 2]),
    ({"total": np.int64(3), "when": pd.Timestamp("2026-01-02")}, {"total": 3, "when": "2026-01-02T00:00:00"}),
]


@pytest.mark.parametrize(("value", "expected"), CASES, ids=lambda value: type(value).__name__)
def test_value_becomes_what_users_expect(value: Any, expected: Any) -> None:
    assert json.loads(encode(value)) == expected


async def coroutine() -> None:
    """Stand for a call without await."""


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def loop_of_lists() -> Any:
    value: list[Any] = []
    value.extend([value, value])
    return value


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: {"rows": [1, object()]}, r"value\['rows'\]\[1\]: object of type object is not JSON serializable"),
    (lambda: {"a": "\ud800"}, r"value\['a'\]: text has a lone surrogate at character 0"),
    (lambda: {"\udc80": 1}, r"lone surrogate"),
    (lambda: b"\xff", r"value: bytes that are no UTF-8 text \(byte 0\); declare the handle with contentMediaType"),
    (lambda: (item for item in "ab"), r"got a generator; send its items one by one"),
    (lambda: asyncio.Lock().acquire, r"got the function acquire; did you forget to call it"),
    (lambda: nested(MAX_DEPTH + 1), r"nested deeper than 126 levels"),
    (lambda: nested(5000), r"nested deeper than 126 levels"),
    (loop_of_lists, r"or contains itself"),
    (lambda: [loop_of_lists(), decimal.Decimal(1)], r"or contains itself"),
    (lambda: 10**400, r"a number beyond 1.8e308"),
    (lambda: 10**5000, r"a number beyond 1.8e308"),
    (lambda: {"a": decimal.Decimal("1e999")}, r"value\['a'\]: a number beyond 1.8e308"),
    (lambda: {(1, 2): 3}, r"key \(1, 2\) of type tuple cannot be a JSON key"),
    (lambda: 1j, r"object of type complex is not JSON serializable"),
]


@pytest.mark.parametrize(("make", "text"), BAD)
def test_value_that_cannot_travel_is_named_with_its_place(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(EncodingError, match=text):
        encode(make())


def test_forgotten_await_is_named() -> None:
    value = coroutine()
    with pytest.raises(EncodingError, match="got a coroutine object; did you forget `await`"):
        encode(value)
    value.close()


def test_open_file_is_named(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as file, pytest.raises(EncodingError, match=r"got an open file \(TextIOWrapper\)"):
        encode(file)


@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [decimal.Decimal(1), value]])
def test_deepest_value_is_what_the_engine_takes(wrap: Callable[[Any], Any]) -> None:
    levels = MAX_DEPTH if wrap(1) == 1 else MAX_DEPTH - 1
    assert encode(wrap(nested(levels))).count(b"[") == MAX_DEPTH
    with pytest.raises(EncodingError, match="nested deeper"):
        encode(wrap(nested(levels + 1)))


def test_depth_of_encoded_json_does_not_count_brackets_in_texts() -> None:
    require_depth(encode({"a": ['[[[{{{"\\']}), 2, "value")
    with pytest.raises(EncodingError, match="output"):
        require_depth(encode([[["a"]]]), 2, "output")


def test_wide_values_are_encoded_once() -> None:
    shared = {"a": [1, 2]}
    assert json.loads(encode([shared] * 5000)) == [shared] * 5000
