"""Faults of values against JSON schemas, in the words of the reference, with and without its library."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from oocana_async.engine.checks.json_schema import first_fault

FAULTS = [
    ({"type": "number"}, "five", '"five" is not of type "number"'),
    ({"type": "integer"}, 1.5, '1.5 is not of type "integer"'),
    ({"type": "number"}, True, 'true is not of type "number"'),
    ({"type": ["string", "null"]}, 1, '1 is not of types "null", "string"'),
    ({"enum": [1, 2]}, 3, "3 is not one of 1 or 2"),
    ({"const": 1}, 2, "1 was expected"),
    ({"minimum": 3}, 2, "2 is less than the minimum of 3"),
    ({"maximum": 1}, 2, "2 is greater than the maximum of 1"),
    ({"minLength": 2}, "a", '"a" is shorter than 2 characters'),
    ({"maxLength": 1}, "ab", '"ab" is longer than 1 character'),
    ({"minItems": 1}, [], "[] has less than 1 item"),
    ({"maxItems": 1}, [1, 2], "[1,2] has more than 1 item"),
    ({"required": ["a"]}, {}, '"a" is a required property'),
    ({"properties": {"a": {"type": "string"}}}, {"a": 1}, '1 is not of type "string"'),
    ({"items": {"type": "string"}}, ["a", 1], '1 is not of type "string"'),
    (False, 1, "False schema does not allow 1"),
]
FITTING = [
    ({}, 1),
    (True, 1),
    (None, 1),
    ("text", 1),
    ({"type": "integer"}, 1.0),
    ({"type": "object", "required": ["a"], "properties": {"a": {"minimum": 1}}}, {"a": 1}),
    ({"enum": ["a"]}, "a"),
    ({"items": {"type": "number"}}, [1, 2.5]),
]


@pytest.fixture(params=["library", "own"])
def _variant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with the library of the extra `schema`, and without it."""
    if request.param == "own":
        monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    else:
        pytest.importorskip("jsonschema_rs")


@pytest.mark.usefixtures("_variant")
@pytest.mark.parametrize(("schema", "value", "fault"), FAULTS)
def test_fault_has_the_words_of_the_reference(schema: Any, value: Any, fault: str) -> None:
    assert first_fault(schema, value) == fault


@pytest.mark.usefixtures("_variant")
@pytest.mark.parametrize("schema", [{"$ref": "http://127.0.0.1:1/x"}, {"type": "nonsense"}, {"pattern": "("}])
def test_schema_that_is_none_judges_nothing(schema: Any) -> None:
    assert first_fault(schema, 1) is None


@pytest.mark.usefixtures("_variant")
@pytest.mark.parametrize(("schema", "value"), FITTING)
def test_fitting_value_has_no_fault(schema: Any, value: Any) -> None:
    assert first_fault(schema, value) is None
