"""The operators of condition expressions, and when two JSON values are equal (flow-format.md 5.9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

Test: TypeAlias = Callable[[Any, Any], bool]


def json_equal(left: Any, right: Any) -> bool:
    """Tell whether two JSON values are the same, types included: 1 is neither 1.0 nor true."""
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(json_equal(value, right[key]) for key, value in left.items())
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(json_equal, left, right))
    return type(left) is type(right) and bool(left == right)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _comparing(compare: Callable[[float, float], bool]) -> Test:
    return lambda left, right: _is_number(left) and _is_number(right) and compare(float(left), float(right))


def _among(value: Any, values: Any) -> bool:
    return any(json_equal(value, entry) for entry in values)


def _contains(left: Any, right: Any) -> bool | None:
    """Return None for types that the operator does not know."""
    if isinstance(left, str):
        return right in left if isinstance(right, str) else None
    if isinstance(left, list):
        return _among(right, left) if right is not None else None
    return None


def _listed(left: Any, right: Any) -> bool | None:
    return _among(left, right) if isinstance(right, list) else None


def _has_key(left: Any, right: Any) -> bool | None:
    return right in left if isinstance(left, dict) and isinstance(right, str) else None


def _has_value(left: Any, right: Any) -> bool | None:
    return _among(right, left.values()) if isinstance(left, dict) and right is not None else None


def _is_text_pair(left: Any, right: Any) -> bool:
    return isinstance(left, str) and isinstance(right, str)


def _is_container(value: Any) -> bool:
    return isinstance(value, str | list | dict)


# A value that is missing and a null are the same in the reference, so `== null` and `!= null` never hold: both ask for
# a value. Of types that an operator does not know, neither it nor its negation holds (flow-format.md 5.9).
OPERATORS: Final[Mapping[str, Test]] = {
    "==": lambda left, right: right is not None and json_equal(left, right),
    "!=": lambda left, right: right is not None and not json_equal(left, right),
    ">": _comparing(lambda left, right: left > right),
    "<": _comparing(lambda left, right: left < right),
    ">=": _comparing(lambda left, right: left >= right),
    "<=": _comparing(lambda left, right: left <= right),
    "is null": lambda left, _: left is None,
    "is not null": lambda left, _: left is not None,
    "is true": lambda left, _: left is True,
    "is false": lambda left, _: left is False,
    "contains": lambda left, right: _contains(left, right) is True,
    "not contains": lambda left, right: _contains(left, right) is False,
    "is empty": lambda left, _: left is None or (_is_container(left) and not left),
    "is not empty": lambda left, _: _is_container(left) and bool(left),
    "in": lambda left, right: _listed(left, right) is True,
    "not in": lambda left, right: _listed(left, right) is False,
    "has key": lambda left, right: _has_key(left, right) is True,
    "not has key": lambda left, right: _has_key(left, right) is False,
    "has value": lambda left, right: _has_value(left, right) is True,
    "not has value": lambda left, right: _has_value(left, right) is False,
    "starts with": lambda left, right: _is_text_pair(left, right) and left.startswith(right),
    "ends with": lambda left, right: _is_text_pair(left, right) and left.endswith(right),
}
"""Operator, as it is spelled in manifests, to its test of the input and the expression's value (None: none given)."""
