"""Turns frames, series, arrays and lists of rows into the inline table form of the Python API page.

Up to ten rows are shown in full; of longer tables the first five, a row of `"..."` and the last five. Only these rows
are ever read, so the size of the frame does not matter. As on the page there is no index: use `frame.reset_index()`
where the index says something.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from oocana_async.errors import EncodingError
from oocana_async.preview.cells import Cell, column_name, plain_cell

__all__ = [
    "MAX_BYTES",
    "MAX_CELL_CHARACTERS",
    "MAX_COLUMNS",
    "MAX_ROWS",
    "is_array",
    "is_frame",
    "require_rows",
    "table_of",
    "table_of_array",
    "table_of_frame",
    "table_of_rows",
]

MAX_ROWS = 10
"""Rows that are shown in full; half of them at each end when there are more."""
MAX_COLUMNS = 100
"""Columns that are shown; a last one says how many are missing."""
MAX_CELL_CHARACTERS = 1000
"""Characters of one cell; shorter when the whole table would be larger than `MAX_BYTES`."""
MAX_BYTES = 256 * 1024
"""Bytes of the whole table as JSON."""

_DOTS = "..."
_EDGE = MAX_ROWS // 2


class _Window(msgspec.Struct, frozen=True):
    """The part of a table that is shown; `missing_columns` were left out at the right."""

    columns: list[Any]
    head: list[list[Any]]
    tail: list[list[Any]]
    row_count: int
    missing_columns: int = 0


def is_frame(value: Any) -> bool:
    """Say whether a value looks like a data frame or a series: it has shape, head and tail."""
    return not isinstance(value, type) and all(hasattr(value, name) for name in ("shape", "head", "tail"))


def is_array(value: Any) -> bool:
    """Say whether a value looks like a numpy array."""
    return not isinstance(value, type) and all(hasattr(value, name) for name in ("ndim", "dtype", "tolist", "shape"))


def require_rows(value: Any) -> None:
    """Refuse a lazy frame, which is only a plan, and say how to get its rows.

    Raises:
        EncodingError: The value is a lazy frame.
    """
    kind = type(value)
    if hasattr(kind, "collect") and hasattr(kind, "head") and not hasattr(kind, "tolist"):
        raise EncodingError(f"a {kind.__name__} has no rows yet; preview `.collect()` of it", subject="preview")


def table_of(value: Any) -> dict[str, Any] | None:
    """Give any tabular value as `{columns, rows, row_count}`, or None if it is not tabular."""
    require_rows(value)
    if is_frame(value):
        return table_of_frame(value)
    if is_array(value):
        return table_of_array(value)
    if isinstance(value, Mapping):
        return _table_of_mapping(value)
    if isinstance(value, list | tuple):
        return table_of_rows(value)
    return None


def table_of_frame(frame: Any) -> dict[str, Any]:
    """Give a data frame or series as an inline table; only its first and last rows are touched.

    Args:
        frame: anything with `shape`, `head` and `tail`.

    Raises:
        EncodingError: The frame is not computed yet, or its rows cannot be read.
    """
    row_count = _row_count(frame)
    if row_count <= MAX_ROWS:
        columns, rows, missing = _read_part(frame)
        return _finish(_Window(columns, rows, [], row_count, missing))
    columns, head, missing = _read_part(frame.head(_EDGE))
    _, tail, _ = _read_part(frame.tail(_EDGE))
    return _finish(_Window(columns, head, tail, row_count, missing))


def _row_count(frame: Any) -> int:
    count = frame.shape[0] if isinstance(frame.shape, tuple) and frame.shape else None
    try:
        return int(count.__index__())  # type: ignore[union-attr]
    except (AttributeError, TypeError):
        name = type(frame).__name__
        reason = f"the number of rows of this {name} is not known yet; preview `.compute()` or `.head()` of it"
        raise EncodingError(reason, subject="preview") from None


def _read_part(part: Any) -> tuple[list[Any], list[list[Any]], int]:
    """Read a frame of at most ten rows: columns that are shown, rows, number of columns left out."""
    if len(part.shape) == 1 and hasattr(part, "to_frame"):
        part = part.to_frame()
    width = part.shape[1] if len(part.shape) > 1 else 1
    missing = max(0, width - MAX_COLUMNS)
    if missing:
        part = _narrow(part)
    columns, rows = _split(part)
    return columns[:MAX_COLUMNS], [list(islice(row, MAX_COLUMNS)) for row in rows], missing


def _narrow(part: Any) -> Any:
    """Cut columns before the rows are read; a frame that offers no way to do so is cut afterwards."""
    if hasattr(part, "iloc"):
        return part.iloc[:, :MAX_COLUMNS]
    if hasattr(part, "select"):
        return part.select(list(part.columns)[:MAX_COLUMNS])
    return part


def _split(part: Any) -> tuple[list[Any], list[Any]]:
    """Read columns and rows the way this kind of frame offers: polars, pandas, `to_dict`, `to_json`."""
    if callable(getattr(part, "rows", None)):
        return list(part.columns), list(part.rows())
    if callable(getattr(part, "itertuples", None)):
        return list(part.columns), list(part.itertuples(index=False, name=None))
    for read in (_split_dict, _split_json):
        found = read(part)
        if found is not None:
            return found
    reason = f"cannot read the rows of a {type(part).__name__}; give a pandas or polars frame, or a list of dicts"
    raise EncodingError(reason, subject="preview")


def _split_dict(part: Any) -> tuple[list[Any], list[Any]] | None:
    if not hasattr(part, "to_dict"):
        return None
    try:
        data = part.to_dict(orient="split")
        return list(data.get("columns", ())), list(data.get("data", ()))
    except (TypeError, AttributeError):
        return None


def _split_json(part: Any) -> tuple[list[Any], list[Any]] | None:
    if not hasattr(part, "to_json"):
        return None
    data = json.loads(part.to_json(orient="split"))
    return list(data.get("columns", ())), list(data.get("data", ()))


def table_of_array(array: Any) -> dict[str, Any] | None:
    """Give a numpy array of one or two dimensions as an inline table; None for other shapes."""
    if array.ndim not in (1, 2):
        return None
    names = getattr(array.dtype, "names", None)
    width = len(names) if names else (array.shape[1] if array.ndim == 2 else 1)
    columns = list(names or range(width))[:MAX_COLUMNS]

    def read(part: Any) -> list[list[Any]]:
        if names or array.ndim == 1:
            return [list(islice(row, MAX_COLUMNS)) if names else [row] for row in _to_list(part)]
        return [list(row) for row in _to_list(part[:, :MAX_COLUMNS])]

    count = int(array.shape[0])
    missing = width - len(columns)
    if count <= MAX_ROWS:
        return _finish(_Window(columns, read(array), [], count, missing))
    return _finish(_Window(columns, read(array[:_EDGE]), read(array[-_EDGE:]), count, missing))


def _to_list(array: Any) -> list[Any]:
    """Read the values; times as text, because numpy gives nanoseconds as bare integers."""
    if getattr(array.dtype, "kind", "") in ("m", "M"):
        array = array.astype(str)
    values: list[Any] = array.tolist()
    return values


def table_of_rows(rows: Sequence[Any]) -> dict[str, Any] | None:
    """Give a list of dicts or of lists as an inline table; None if the list holds something else."""
    long = len(rows) > MAX_ROWS
    head = list(rows[:_EDGE] if long else rows)
    tail = list(rows[-_EDGE:] if long else ())
    shown = head + tail
    if shown and all(isinstance(row, Mapping) for row in shown):
        names = list(dict.fromkeys(name for row in shown for name in row))
        columns = names[:MAX_COLUMNS]
        lists = [[row.get(name) for name in columns] for row in shown]
        missing = len(names) - len(columns)
    elif shown and all(isinstance(row, list | tuple) for row in shown):
        width = max(len(row) for row in shown)
        columns = list(getattr(shown[0], "_fields", range(width)))[:MAX_COLUMNS]
        lists = [[*row[: len(columns)], *[None] * (len(columns) - len(row))] for row in shown]
        missing = max(0, width - len(columns))
    else:
        return None
    return _finish(_Window(columns, lists[: len(head)], lists[len(head) :], len(rows), missing))


def _table_of_mapping(data: Mapping[Any, Any]) -> dict[str, Any] | None:
    if "columns" in data and "rows" in data:
        return _inline(data)
    if data and all(isinstance(column, list | tuple) for column in data.values()):
        return _table_of_columns(data)
    return None


def _inline(data: Mapping[Any, Any]) -> dict[str, Any]:
    """Keep inline data as it was given, with plain cells; shorten it only when it is too large."""
    columns, rows = list(data["columns"]), list(data["rows"])
    lists = [list(row) if isinstance(row, list | tuple) else [row] for row in rows]
    whole = dict(data)
    whole["columns"] = [column_name(name, MAX_CELL_CHARACTERS) for name in columns]
    whole["rows"] = [[plain_cell(cell, MAX_CELL_CHARACTERS) for cell in row] for row in lists]
    if _size(whole) <= MAX_BYTES:
        return whole
    long = len(lists) > MAX_ROWS
    count = data.get("row_count")
    window = _Window(
        columns[:MAX_COLUMNS],
        [row[:MAX_COLUMNS] for row in (lists[:_EDGE] if long else lists)],
        [row[:MAX_COLUMNS] for row in (lists[-_EDGE:] if long else [])],
        count if isinstance(count, int) else len(lists),
        max(0, len(columns) - MAX_COLUMNS),
    )
    return _finish(window)


def _table_of_columns(data: Mapping[Any, Sequence[Any]]) -> dict[str, Any]:
    """Give a dict of columns, the other common way to write a table down."""
    names = list(data)[:MAX_COLUMNS]
    count = max(len(column) for column in data.values())
    numbers = range(count)
    head, tail = (numbers, numbers[:0]) if count <= MAX_ROWS else (numbers[:_EDGE], numbers[-_EDGE:])

    def read(part: range) -> list[list[Any]]:
        return [[data[name][index] if index < len(data[name]) else None for name in names] for index in part]

    return _finish(_Window(names, read(head), read(tail), count, len(data) - len(names)))


def _finish(window: _Window) -> dict[str, Any]:
    """Write the window as plain JSON below `MAX_BYTES`: cells become shorter until it fits."""
    table: dict[str, Any] = {}
    for limit in (MAX_CELL_CHARACTERS, MAX_CELL_CHARACTERS // 5, MAX_CELL_CHARACTERS // 20, 16):
        table = _write(window, limit)
        if _size(table) <= MAX_BYTES:
            break
    return table


def _write(window: _Window, limit: int) -> dict[str, Any]:
    columns: list[str | int | float] = [column_name(name, limit) for name in window.columns]
    width = len(columns)

    def write(rows: list[list[Any]]) -> list[list[Cell]]:
        return [_pad([plain_cell(cell, limit) for cell in row], window.missing_columns) for row in rows]

    rows = write(window.head)
    if window.tail:
        rows += [_pad([_DOTS] * width, window.missing_columns), *write(window.tail)]
    if window.missing_columns:
        columns.append(f"{_DOTS} (+{window.missing_columns} columns)")
    return {"columns": columns, "rows": rows, "row_count": window.row_count}


def _pad(row: list[Cell], missing_columns: int) -> list[Cell]:
    return [*row, _DOTS] if missing_columns else row


def _size(table: dict[str, Any]) -> int:
    return len(json.dumps(table, ensure_ascii=False, default=str).encode(errors="replace"))
