"""Turns one cell of a table into text, a number, a truth value or null, however large the object in it is."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
import reprlib
from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["Cell", "column_name", "cut_text", "plain_cell"]

Cell: TypeAlias = str | int | float | bool | None

_SAFE_INT = 2**63

_shortened = reprlib.Repr()
_shortened.maxlist = _shortened.maxtuple = _shortened.maxset = _shortened.maxdict = 20
_shortened.maxstring = _shortened.maxother = _shortened.maxlong = 1000


def cut_text(text: str, limit: int) -> str:
    """Cut text to `limit` characters and say how many are missing."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… (+{len(text) - limit} characters)"


def plain_cell(value: Any, limit: int) -> Cell:
    """Give a cell as JSON takes it.

    NaN, infinities and every kind of "not there" become null, dates ISO text, containers and unknown objects a
    shortened text.

    Args:
        value: what the frame holds.
        limit: characters that a text may have before it is cut.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return cut_text(_printable(str(value)), limit)
    if isinstance(value, enum.Enum):
        return plain_cell(value.value, limit)
    if isinstance(value, int):
        return int(value) if -_SAFE_INT <= value < _SAFE_INT else cut_text(_shortened.repr(int(value)), limit)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return _other(value, limit)


def _other(value: Any, limit: int) -> Cell:
    if _is_missing(value):
        return None
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return _decimal(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return cut_text(repr(bytes(value[:limit])), limit)
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        scalar = value.item()
        return plain_cell(scalar, limit) if type(scalar) is not type(value) else cut_text(str(value), limit)
    return cut_text(_printable(_as_text(value)), limit)


def _as_text(value: Any) -> str:
    """Text of an object; a broken `__str__` of a stranger must not spoil the table."""
    render: Callable[[Any], str] = _shortened.repr if isinstance(value, list | tuple | dict | set | frozenset) else str
    try:
        return render(value)
    except Exception:  # noqa: BLE001
        return f"<{type(value).__name__}>"


def _decimal(value: decimal.Decimal) -> Cell:
    if not value.is_finite():
        return None
    if value == value.to_integral_value() and abs(value) < _SAFE_INT:
        return int(value)
    return float(value)


def _is_missing(value: Any) -> bool:
    return type(value).__name__ in ("NaTType", "NAType")


def _printable(text: str) -> str:
    """Replace lone surrogates, which no JSON parser of the engine takes (protocol.md 3.0)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text


def column_name(name: Any, limit: int) -> str | int | float:
    """Give the name of a column; the levels of a MultiIndex are joined with ` / `."""
    if isinstance(name, tuple):
        levels = [str(level) for level in name if level not in ("", None)]
        return cut_text(_printable(" / ".join(levels)), limit)
    cell = plain_cell(name, limit)
    return str(cell) if cell is None or isinstance(cell, bool) else cell
