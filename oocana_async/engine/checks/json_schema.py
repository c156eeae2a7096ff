"""Checks values against JSON schemas, with the wording of the library that the reference uses (flow-format.md 11)."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["first_fault"]


def first_fault(schema: Any, value: Any) -> str | None:
    """Return what is wrong with a value, None when it fits its schema.

    With the extra `schema` installed the whole of JSON schema counts; without it the keywords type, enum, const,
    minimum, maximum, minLength, maxLength, minItems, maxItems, required, properties and items do.

    Args:
        schema: a JSON schema; anything but an object or a boolean fits everything.
        value: a decoded JSON value.
    """
    if not isinstance(schema, Mapping | bool):
        return None
    try:
        library = importlib.import_module("jsonschema_rs")
    except ImportError:
        return next(_faults(schema, value), None)
    try:
        validator = library.validator_for(_plain(schema), retriever=_refuse)
        found = next(iter(validator.iter_errors(value)), None)
    except ValueError:
        return None  # the schema itself is none; the reference does not judge values by it either
    return None if found is None else str(found.message)


def _plain(schema: Mapping[str, Any] | bool) -> Any:
    return schema if isinstance(schema, bool) else dict(schema)


def _refuse(address: str) -> Any:
    """Fetch nothing: a schema must not make the engine wait for, or talk to, other hosts."""
    raise ValueError(f"{address} is not fetched")


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}

_Limit = tuple[str, type | tuple[type, ...], Callable[[Any, Any], bool], str]

_LIMITS: tuple[_Limit, ...] = (
    ("minLength", str, lambda value, limit: len(value) >= limit, "{value} is shorter than {limit} character{s}"),
    ("maxLength", str, lambda value, limit: len(value) <= limit, "{value} is longer than {limit} character{s}"),
    ("minItems", list, lambda value, limit: len(value) >= limit, "{value} has less than {limit} item{s}"),
    ("maxItems", list, lambda value, limit: len(value) <= limit, "{value} has more than {limit} item{s}"),
)


def _faults(schema: Mapping[str, Any] | bool, value: Any) -> Iterator[str]:
    if isinstance(schema, bool):
        if not schema:
            yield f"False schema does not allow {_show(value)}"
        return
    yield from _type_faults(schema, value)
    yield from _limit_faults(schema, value)
    if isinstance(value, dict):
        yield from _object_faults(schema, value)
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping | bool):
        for item in value:
            yield from _faults(schema["items"], item)


def _type_faults(schema: Mapping[str, Any], value: Any) -> Iterator[str]:
    wanted = schema.get("type")
    names = [wanted] if isinstance(wanted, str) else wanted if isinstance(wanted, list) else []
    known = sorted(name for name in names if name in _TYPES)
    if known and not any(_TYPES[name](value) for name in known):
        listed = ", ".join(f'"{name}"' for name in known)
        yield f"{_show(value)} is not of type{'' if len(known) == 1 else 's'} {listed}"
    if isinstance(schema.get("enum"), list) and not any(_show(value) == _show(item) for item in schema["enum"]):
        yield f"{_show(value)} is not one of {' or '.join(_show(item) for item in schema['enum'])}"
    if "const" in schema and _show(schema["const"]) != _show(value):
        yield f"{_show(schema['const'])} was expected"


def _limit_faults(schema: Mapping[str, Any], value: Any) -> Iterator[str]:
    if _is_number(value):
        low, high = schema.get("minimum"), schema.get("maximum")
        if _is_number(low) and value < low:
            yield f"{_show(value)} is less than the minimum of {_show(low)}"
        if _is_number(high) and value > high:
            yield f"{_show(value)} is greater than the maximum of {_show(high)}"
    for keyword, kind, fits, text in _LIMITS:
        limit = schema.get(keyword)
        if isinstance(value, kind) and isinstance(limit, int) and not fits(value, limit):
            yield text.format(value=_show(value), limit=limit, s="" if limit == 1 else "s")


def _object_faults(schema: Mapping[str, Any], value: dict[str, Any]) -> Iterator[str]:
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if name not in value:
            yield f"{_show(name)} is a required property"
    properties = schema.get("properties")
    for name, inner in properties.items() if isinstance(properties, Mapping) else ():
        if name in value and isinstance(inner, Mapping | bool):
            yield from _faults(inner, value[name])
