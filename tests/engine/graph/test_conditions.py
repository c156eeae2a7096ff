"""Operators and cases of condition nodes (flow-format.md 5.9)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from oocana_async.engine.graph.conditions import choose, evaluate
from oocana_async.engine.graph.graph import Node
from oocana_async.engine.manifests.blocks import ConditionBlock, ConditionCase, Expression
from oocana_async.engine.manifests.operators import OPERATORS, json_equal
from oocana_async.wire.messages.shared import InputHandle
from tests.engine.graphs import raw

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, 1.0, 2.5])
    | st.sampled_from(["", "a", "ab"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)


@given(JSON, JSON)
def test_values_are_equal_when_their_json_is(left: Any, right: Any) -> None:
    same = json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
    assert json_equal(left, right) is same


@pytest.mark.parametrize(
    ("operator", "true", "false"),
    [
        (
            "==",
            [(1, 1), ("a", "a"), ([1, {"a": 2}], [1, {"a": 2}]), ({"a": 1, "b": 2}, {"b": 2, "a": 1})],
            [(1, 1.0), (True, 1), (None, None), (1, None), ("1", 1), ([1], [True])],
        ),
        ("!=", [(1, 1.0), (True, 1), (None, 1)], [(1, 1), (1, None), (None, None)]),
        (">", [(2, 1), (2.5, 2)], [(1, 1), ("b", "a"), (True, False), (None, 1), (2, None)]),
        ("<", [(1, 2), (-1.5, -1)], [(1, 1), ("a", "b"), (False, True)]),
        (">=", [(1, 1.0), (2, 1)], [(0, 1), ("1", 1)]),
        ("<=", [(1, 1.0), (0, 1)], [(2, 1), (None, 1)]),
        ("is null", [(None, None)], [(0, None), ("", None), (False, None)]),
        ("is not null", [(0, None), ("", None)], [(None, None)]),
        ("is true", [(True, None)], [(False, None), (1, None), ("true", None), (None, None)]),
        ("is false", [(False, None)], [(True, None), (0, None), (None, None)]),
        (
            "contains",
            [("abc", "b"), ([1, 2], 1), ([[1]], [1])],
            [("abc", "x"), ("a1", 1), ([1], 1.0), ([True], 1), ({"a": 1}, "a"), (None, "a"), ([None], None)],
        ),
        ("not contains", [("abc", "x"), ([1], 1.0)], [("abc", "b"), ("a1", 1), ({"a": 1}, "b"), (5, 1), ([1], None)]),
        (
            "is empty",
            [(None, None), ("", None), ([], None), ({}, None)],
            [(0, None), (False, None), ("a", None), ([0], None)],
        ),
        (
            "is not empty",
            [("a", None), ([0], None), ({"a": 1}, None)],
            [(None, None), (0, None), (True, None), ("", None)],
        ),
        ("in", [(1, [1, 2]), ([1], [[1]])], [(1, [1.0]), (True, [1]), ("a", "abc"), (1, None)]),
        ("not in", [(1, [1.0]), (None, [1])], [(1, [1]), ("x", "abc"), (1, None)]),
        ("has key", [({"a": 1}, "a")], [({"a": 1}, "b"), (["a"], "a"), ({"a": 1}, 1), ({"a": 1}, None)]),
        ("not has key", [({"a": 1}, "b")], [({"a": 1}, "a"), ([], "a"), ({}, None)]),
        ("has value", [({"a": 1}, 1)], [({"a": 1}, 1.0), ([1], 1), ({"a": None}, None)]),
        ("not has value", [({"a": 1}, 2), ({}, 1)], [({"a": 1}, 1), ([1], 2), ({}, None)]),
        ("starts with", [("abc", "a"), ("a", "")], [("abc", "b"), (1, "1"), ("1", 1), ("a", None)]),
        ("ends with", [("abc", "c")], [("abc", "b"), (["c"], "c")]),
    ],
)
def test_operator(operator: str, true: list[tuple[Any, Any]], false: list[tuple[Any, Any]]) -> None:
    assert [pair for pair in true if not OPERATORS[operator](*pair)] == []
    assert [pair for pair in false if OPERATORS[operator](*pair)] == []


def case(handle: str, *expressions: Expression, logical: Any = "OR") -> ConditionCase:
    return ConditionCase(handle, expressions, logical)


BIG = Expression("n", ">", 10)
EVEN = Expression("even", "is true")


@pytest.mark.parametrize(
    ("inputs", "chosen"),
    [({"n": 11, "even": True}, "both"), ({"n": 11, "even": False}, "either"), ({"n": 1, "even": True}, "either"),
     ({"n": 1, "even": False}, "rest"), ({}, "rest")],
)  # fmt: skip
def test_first_case_that_matches_is_chosen(inputs: dict[str, Any], chosen: str) -> None:
    block = ConditionBlock((case("empty"), case("both", BIG, EVEN, logical="AND"), case("either", BIG, EVEN)), "rest")
    assert choose(block, inputs) == chosen


def test_case_without_expressions_never_matches_also_with_and() -> None:
    assert choose(ConditionBlock((case("x", logical="AND"),)), {}) is None


def test_missing_input_counts_as_null() -> None:
    assert choose(ConditionBlock((case("x", Expression("gone", "is null")),)), {}) == "x"


def node(*handles: str) -> Node:
    block = ConditionBlock((case("big", BIG),), "rest")
    return Node("route", block, inputs_def={handle: InputHandle(handle) for handle in handles} or None)


def test_first_declared_input_is_passed_on_whatever_was_looked_at() -> None:
    assert evaluate(node("v", "n"), {"n": raw(11), "v": raw("value")}) == {"big": raw("value")}
    assert evaluate(node("v", "n"), {"n": raw(1), "v": raw(None)}) == {"rest": raw(None)}


def test_value_is_passed_on_letter_by_letter() -> None:
    written = Raw(b'{ "b": 1.50, "a": 12345678901234567890123 }')
    passed = evaluate(node("v", "n"), {"n": raw(11), "v": written})
    assert passed is not None
    assert bytes(passed["big"]) == bytes(written)


def test_nothing_is_passed_on_without_match_declaration_or_value() -> None:
    silent = Node("route", ConditionBlock((case("big", BIG),)), inputs_def={"n": InputHandle("n")})
    assert evaluate(silent, {"n": raw(1)}) is None
    assert evaluate(node(), {"n": raw(11)}) is None
    assert evaluate(node("v", "n"), {"n": raw(11)}) is None
