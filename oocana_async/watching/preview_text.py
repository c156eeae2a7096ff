"""Previews as text: tables stay tables, everything else becomes a line that says what it is and how large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from oocana_async.watching.text import brief, printable, shorten, size

__all__ = ["PreviewText", "SmallTable", "describe"]

MAX_COLUMNS: Final = 8
MAX_CELL: Final = 24
MAX_LINES: Final = 12


@dataclass(frozen=True, slots=True)
class SmallTable:
    """A table cut to what fits: cells are text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class PreviewText:
    """A preview for a terminal: one line that names it, then lines of text or a table."""

    title: str
    lines: tuple[str, ...] = ()
    table: SmallTable | None = None


def describe(payload: Any) -> PreviewText:
    """Return what a terminal can show of a preview payload `{type, data}`."""
    if not isinstance(payload, dict) or "type" not in payload:
        return PreviewText(brief(payload, 200))
    kind, data = str(payload["type"]), payload.get("data")
    if kind == "table" and isinstance(data, dict):
        return _describe_table(data)
    if kind in ("text", "markdown") and isinstance(data, str):
        return PreviewText(kind, _lines(data))
    if kind in ("image", "video", "audio", "html", "iframe", "csv"):
        return PreviewText(f"{kind}: {_describe_media(data)}")
    return PreviewText(f"{printable(kind)}: {brief(data, 200)}")


def _lines(text: str) -> tuple[str, ...]:
    lines = [shorten(printable(line), 200) for line in text.splitlines()]
    if len(lines) <= MAX_LINES:
        return tuple(lines)
    return (*lines[: MAX_LINES - 1], f"... {len(lines) - MAX_LINES + 1} more lines")


def _describe_media(data: Any) -> str:
    if isinstance(data, list):
        shown = [_describe_media(one) for one in data[:3]]
        return ", ".join(shown) + (f" and {len(data) - 3} more" if len(data) > 3 else "")
    if not isinstance(data, str):
        return brief(data)
    if data.startswith("data:"):
        head, _, body = data.partition(",")
        kind = head.removeprefix("data:").partition(";")[0] or "text/plain"
        return f"{kind}, {size(_decoded_size(body) if head.endswith(';base64') else len(body))}"
    if "\n" in data or "<" in data:
        return f"text, {size(len(data.encode('utf-8', 'replace')))}"
    return shorten(printable(data), 200)


def _decoded_size(body: str) -> int:
    return len(body) * 3 // 4 - body[-2:].count("=")


def _describe_table(data: dict[str, Any]) -> PreviewText:
    columns, rows = data.get("columns"), data.get("rows")
    if not isinstance(columns, list) or not isinstance(rows, list):
        return PreviewText(f"table: {brief(data, 200)}")
    count = data.get("row_count")
    title = f"table: {count if isinstance(count, int) else len(rows)} rows x {len(columns)} columns"
    return PreviewText(title, table=_small_table(columns, rows))


def _small_table(columns: Sequence[Any], rows: Sequence[Any]) -> SmallTable:
    wide = len(columns) > MAX_COLUMNS
    names = [_cell(name) for name in columns[:MAX_COLUMNS]]
    lists = [row if isinstance(row, list) else [row] for row in rows[:MAX_LINES]]
    cells = [[_cell(cell) for cell in row[:MAX_COLUMNS]] for row in lists]
    padded = [[*row, *[""] * (len(names) - len(row))] for row in cells]
    end = ["..."] if wide else []
    return SmallTable((*names, *end), tuple((*row, *end) for row in padded))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else "" if value is None else brief(value, MAX_CELL)
    return shorten(printable(text).replace("\n", " "), MAX_CELL)
