"""Values, times and sizes in one line."""

from __future__ import annotations

import json
import traceback
from typing import Any

import msgspec
import pytest

from oocana_async.watching.preview_text import describe
from oocana_async.watching.text import brief, clock, headline, printable, size


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        ("é\n", '"é\\n"'),
        ([1, {"a": None}], '[1,{"a":null}]'),
        ("x" * 100, '"' + "x" * 56 + "..."),
        ({"__OOMOL_TYPE__": "oomol/var", "value": {"executor": "python", "handle": "df"}}, "<object>"),
        ({"__OOMOL_TYPE__": "oomol/bin", "value": "/tmp/b"}, "<bin /tmp/b>"),
        ({"__OOMOL_TYPE__": "oomol/secret", "value": {}}, "<secret>"),
    ],
)
def test_value_is_brief(value: Any, text: str) -> None:
    assert brief(value) == text
    assert brief(msgspec.Raw(json.dumps(value).encode())) == text


def test_huge_value_is_cut_without_being_read() -> None:
    assert brief(msgspec.Raw(b'["' + b"x" * 10_000_000 + b'"]')) == '["' + "x" * 55 + "..."


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0.00 s"),
        (420, "0.42 s"),
        (12_340, "12.3 s"),
        (185_000, "3 min 05 s"),
        (7_500_000, "2 h 05 min"),
        (-5, "0.00 s"),
    ],
)
def test_duration(milliseconds: int, text: str) -> None:
    assert clock(milliseconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(312, "312 B"), (34_100, "34.1 kB"), (2_000_000, "2.0 MB"), (3 * 10**9, "3.0 GB")]
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text


def test_lone_surrogates_can_be_printed() -> None:
    assert printable("a\ud800b").encode() == b"a?b"


@pytest.mark.parametrize(
    ("payload", "title"),
    [
        ({"type": "image", "data": "data:image/png;base64,AAAAAAAA"}, "image: image/png, 6 B"),
        (
            {"type": "image", "data": ["/a.png", "/b.png", "/c.png", "/d.png"]},
            "image: /a.png, /b.png, /c.png and 1 more",
        ),
        ({"type": "html", "data": "<b>" + "x" * 2000}, "html: text, 2.0 kB"),
        ({"type": "csv", "data": "/t.csv"}, "csv: /t.csv"),
        ({"type": "json", "data": {"k": [1]}}, 'json: {"k":[1]}'),
        ({"type": "chart/9", "data": 1}, "chart/9: 1"),
        ({"type": "table", "data": "/t.csv"}, 'table: "/t.csv"'),
        ({"type": "table", "data": {"columns": 3}}, 'table: {"columns":3}'),
        ("no payload", '"no payload"'),
    ],
)
def test_preview_is_named(payload: Any, title: str) -> None:
    assert describe(payload).title == title


def test_table_preview_is_cut_to_what_fits() -> None:
    data = {"columns": [f"c{n}" for n in range(20)], "rows": [[1.23456789, None, "x" * 99], [1]], "row_count": 344}
    text = describe({"type": "table", "data": data})
    assert text.title == "table: 344 rows x 20 columns"
    assert text.table is not None
    assert text.table.columns == ("c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "...")
    assert text.table.rows[0][:3] == ("1.23457", "", "x" * 21 + "...")
    assert all(len(row) == 9 for row in text.table.rows)


def test_long_text_preview_is_cut() -> None:
    text = describe({"type": "markdown", "data": "\n".join(map(str, range(100)))})
    assert (len(text.lines), text.lines[-1]) == (12, "... 89 more lines")


def traceback_of(error: BaseException) -> str:
    try:
        raise error
    except BaseException as caught:
        return "".join(traceback.format_exception(caught))


def noted(error: Exception, note: str) -> Exception:
    error.add_note(note)
    return error


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("no host\nis there a network?", "no host"),
        (traceback_of(KeyError("x")), "KeyError: 'x'"),
        (traceback_of(noted(ValueError("one\ntwo"), "a note")), "ValueError: one"),
        (
            traceback_of(ExceptionGroup("many", [ValueError("one"), ExceptionGroup("few", [KeyError("x")])])),
            "KeyError: 'x'",
        ),
        (traceback_of(ExceptionGroup("many", [noted(ValueError("one"), "a note")])), "ValueError: one"),
        ("Traceback (most recent call last):\nFileNotFoundError: a.py", "FileNotFoundError: a.py"),
        ("", ""),
    ],
)
def test_headline_says_what_happened(text: str, line: str) -> None:
    assert headline(text) == line
