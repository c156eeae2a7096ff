"""The YAML dialect of manifests (flow-format.md 1.2)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oocana_async.engine.manifests.yaml import Document, HugeIntegerError, describe, read_document, resolve_plain
from oocana_async.errors import ManifestError

PATH = Path("x.oo.yaml")


def value_of(text: str) -> Any:
    document = Document(PATH, text)
    assert document.root is not None, document.faults
    value = document.json(document.root)
    assert document.faults == []
    return value


def fault_of(text: str) -> ManifestError:
    document = Document(PATH, text)
    if document.root is not None:
        document.json(document.root)
    (fault,) = document.faults
    return fault


@pytest.mark.parametrize(
    "text",
    ["yes", "no", "on", "off", "y", "n", "tRue", "nuLL", "007", "017", "00", "-007", "1_000", "1:30", "2024-01-01",
     "0XFF", "0x", "0o8", "0b12", "1e", "1e400", "-1e400", "1_0.5", "+-1", "--1", ".", "+", "-", "e5", "inf", "nan",
     "0x-1", "=", "1.2.3", "~/x", "٣", "1٣", "0x٣"],
)  # fmt: skip
def test_plain_scalar_is_text_where_yaml_1_1_or_python_would_see_a_number(text: str) -> None:
    assert resolve_plain(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("-0", 0), ("+5", 5), ("0x1F", 31), ("-0x1f", -31), ("0o17", 15), ("+0o7", 7), ("0b11", 3),
        ("18446744073709551615", 2**64 - 1), ("-9223372036854775808", -(2**63)), ("0xffffffffffffffff", 2**64 - 1),
    ],
)  # fmt: skip
def test_plain_scalar_is_an_integer(text: str, value: int) -> None:
    found = resolve_plain(text)
    assert (found, type(found)) == (value, int)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e3", 1e3), ("1E3", 1e3), ("1.5e-3", 0.0015), (".5", 0.5), ("5.", 5.0), ("1.10", 1.1), ("1e-400", 0.0),
     ("12e03", 12000.0), ("+1.5", 1.5), ("-0.0", -0.0), ("0.1e1", 1.0), ("00.5", 0.5), ("9" * 60, 1e60)],
)  # fmt: skip
def test_plain_scalar_is_a_float(text: str, value: float) -> None:
    found = resolve_plain(text)
    assert (found, type(found)) == (value, float)


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL", ".inf", "-.Inf", "+.INF", ".nan", ".NaN", ".NAN"])
def test_plain_scalar_is_null(text: str) -> None:
    assert resolve_plain(text) is None


@pytest.mark.parametrize("text", ["18446744073709551616", "-9223372036854775809", "0x1ffffffffffffffff"])
def test_integer_beyond_64_bits_is_refused(text: str) -> None:
    with pytest.raises(HugeIntegerError):
        resolve_plain(text)


@given(
    st.one_of(
        st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()
    )
)
def test_what_json_writes_is_read_as_it_was(value: Any) -> None:
    found = value_of(f"- {json.dumps(value)}")[0]
    assert (found, type(found)) == (value, type(value))


def slow_model(text: str) -> Any:
    """What the rules say, letter by letter: sign, prefix, digits, or what Python's own float takes."""
    if text in ("", "~", "null", "Null", "NULL", ".nan", ".NaN", ".NAN"):
        return None
    if text.lower() == "true" and (text.istitle() or text.isupper() or text.islower()):
        return True
    if text.lower() == "false" and (text.istitle() or text.isupper() or text.islower()):
        return False
    body = text[1:] if text[:1] in ("+", "-") else text
    sign = -1 if text[:1] == "-" else 1
    for prefix, base, digits in (("0x", 16, "0123456789abcdefABCDEF"), ("0o", 8, "01234567"), ("0b", 2, "01")):
        if body.startswith(prefix) and body[2:] and all(c in digits for c in body[2:]):
            return sign * int(body[2:], base)
    if body and all(c in "0123456789" for c in body):
        return sign * int(body) if body == "0" or body[0] != "0" else text
    if body and all(c in "0123456789.eE+-" for c in body) and body[0] not in "+-":
        try:
            number = sign * float(body)
        except ValueError:
            return text
        return number if math.isfinite(number) else text
    return text


@given(st.text("0123456789.eExob+-_~ntrueTRUENull:aF", max_size=8))
def test_resolution_agrees_with_the_rules_spelled_out(text: str) -> None:
    expected = slow_model(text)
    found = resolve_plain(text)
    assert (found, type(found)) == (expected, type(expected))


PRINTABLE = st.characters(codec="ascii", categories=("L", "N", "P", "S"))


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(PRINTABLE),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4),
    max_leaves=12,
))  # fmt: skip
def test_json_is_yaml(value: Any) -> None:
    assert value_of(json.dumps(value, ensure_ascii=True)) == value


def test_quoted_scalars_are_text() -> None:
    assert value_of("['007', \"yes\", '1e3', 'null', '', ' ']") == ["007", "yes", "1e3", "null", "", " "]


def test_standard_tags_count() -> None:
    found = value_of("[!!str 5, !!int '5', !!float 1, !!bool 'true', !!null '', !!binary eA==]")
    assert found == ["5", 5, 1.0, True, None, "eA=="]
    assert isinstance(found[2], float)


def test_repeated_key_in_a_value_keeps_the_last() -> None:
    assert value_of("{a: 1, a: 2}") == {"a": 2}


def test_merge_key_is_an_ordinary_key() -> None:
    assert value_of("{<<: {a: 1}, b: 2}") == {"<<": {"a": 1}, "b": 2}


def test_anchors_and_aliases_work() -> None:
    assert value_of("{a: &x [1, 2], b: *x}") == {"a": [1, 2], "b": [1, 2]}


def test_line_separators_are_deleted_and_a_byte_order_mark_is_skipped() -> None:
    assert value_of("\ufeffa: x\u2028y\u2029z") == {"a": "xyz"}


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("a: 1\n---\na: 2", (2, 1), "a second document begins here"),
        ("a: [!custom one]", (1, 5), 'the tag "!custom" is not known'),
        ("a: !x {b: 1}", (1, 4), 'the tag "!x" is not known'),
        ("a: !!int x", (1, 4), 'the tag "!!int" does not fit "x"'),
        ("a: !!int true", (1, 4), 'the tag "!!int" does not fit "true"'),
        ("a: 12345678901234567890123", (1, 4), "the integer 12345678901234567890123 does not fit into 64 bits"),
        ("a:\n  1: x", (2, 3), "the integer 1 cannot be a key, expected text"),
        ("{true: x}", (1, 2), "the boolean true cannot be a key"),
        ("{~: x}", (1, 2), "null cannot be a key"),
        ("? [a]\n: b", (1, 3), "a list cannot be a key"),
        ("a: [\n  b", (3, 1), "not YAML:"),
        ("a: *nowhere", (1, 4), "not YAML: found undefined alias"),
        ("a: &x [*x]", (1, 7), "nested deeper than 128 levels"),
        ("a: " + "[" * 200 + "]" * 200, (1, 131), "nested deeper than 128 levels"),
    ],
)  # fmt: skip
def test_fault_names_its_place(text: str, place: tuple[int, int], reason: str) -> None:
    fault = fault_of(text)
    assert reason in fault.reason
    assert (fault.path, fault.line) == (PATH, place[0])
    if "contains itself" not in fault.reason:
        assert fault.column == place[1]


def test_aliases_that_multiply_without_measure_are_refused() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    assert "repeats too often" in fault_of("\n".join(lines)).reason


def test_file_that_is_not_utf_8_is_refused_at_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    (fault,) = read_document(path).faults
    assert (fault.line, fault.column, fault.reason) == (2, 4, "not UTF-8 text")


def test_control_characters_are_a_fault_without_place() -> None:
    assert "not YAML" in fault_of("a: \x01").reason


@pytest.mark.parametrize(
    ("text", "words"),
    [("5", "the integer 5"), ("1.5", "the number 1.5"), ("true", "the boolean true"), ("'x'", 'the text "x"'),
     ("~", "null"), (".nan", "the number .nan"), ("[]", "a list"), ("{}", "a mapping"),
     ("x" * 50, f'the text "{"x" * 37}..."')],
)  # fmt: skip
def test_values_are_described_in_words(text: str, words: str) -> None:
    root = Document(PATH, text).root
    assert root is not None
    assert describe(root) == words
