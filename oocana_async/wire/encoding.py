"""Turns the values of handles into JSON that the engine always accepts (protocol.md 3.0, 5.8).

No NaN, no lone surrogates, fewer than 128 levels. Plain data goes straight to msgspec; anything else is first
converted by `to_plain`, which knows where in the value it stands and names that place when something cannot travel.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import io
import re
import uuid
from collections.abc import Collection, Iterable, Mapping, ValuesView
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any

import msgspec

from oocana_async.errors import EncodingError

__all__ = ["MAX_DEPTH", "encode", "hint_for", "require_depth", "to_plain"]

MAX_DEPTH = 126
"""Levels of lists and objects in one value; with the message around it that stays below the engine's 128."""

_SCALARS = frozenset((str, int, float, bool, type(None)))
_FLAT = _SCALARS - {int}
_INTEGERS = frozenset((int,))
_MANY = 16
"""Items from which on it is faster to collect their types than to look at each."""
_MAX_INT = 2**64
_MIN_INT = -(2**63)

_MAX_FLOAT = 1.7976931348623157e308
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[][{}]")

_encode = msgspec.json.Encoder(decimal_format="number").encode


def encode(value: Any) -> bytes:
    """Encode a value as JSON that the engine takes.

    Decimal becomes a number, NaN and infinities null, bytes UTF-8 text, dates ISO text, an Enum its value, UUID and
    Path text; tuples, sets and arrays become lists, dataclasses, named tuples and Structs objects.

    Args:
        value: any value; it is read at once, so later changes do not matter.

    Returns:
        UTF-8 JSON text.

    Raises:
        EncodingError: Something in the value cannot travel; the error names its place.
    """
    kind = type(value)
    if kind is int:
        if not _MIN_INT <= value < _MAX_INT:
            value = to_plain(value)
    elif kind not in _SCALARS and not _is_plain(value):
        value = to_plain(value)
    try:
        return _encode(value)
    except (UnicodeEncodeError, OverflowError):
        return _encode(to_plain(value))
    except RecursionError as error:
        raise EncodingError(_too_deep()) from error


def require_depth(data: bytes, limit: int, subject: str) -> None:
    """Check the nesting of encoded JSON.

    Args:
        data: the JSON text.
        limit: levels of lists and objects that it may have.
        subject: what is being sent, for the error.

    Raises:
        EncodingError: It has more.
    """
    if data.count(b"[") + data.count(b"{") <= limit:
        return
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > limit:
            raise EncodingError(_too_deep(), subject=subject)


def _is_plain(value: Any, room: int = MAX_DEPTH) -> bool:
    """Say whether msgspec alone encodes a value as wanted: plain containers of plain scalars, within the depth."""
    kind = type(value)
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return False
        items: Collection[Any] = value.values()
    elif kind is list or kind is tuple:
        items = value
    else:
        return False
    if room == 0:
        raise EncodingError(_too_deep())
    if len(items) > _MANY and _are_scalars(items):
        return True
    for item in items:
        kind = type(item)
        if kind in _FLAT or (kind is int and _MIN_INT <= item < _MAX_INT):
            continue
        if kind is int or not _is_plain(item, room - 1):
            return False
    return True


def _are_scalars(items: Collection[Any]) -> bool:
    """Say quickly whether many items are all scalars that need no closer look."""
    kinds = set(map(type, items))
    return kinds <= _FLAT or (kinds == _INTEGERS and min(items) >= _MIN_INT and max(items) < _MAX_INT)


def _too_deep() -> str:
    return f"nested deeper than {MAX_DEPTH} levels, or contains itself; the engine takes less than 128"


def to_plain(value: Any, where: str = "", depth: int = 0) -> Any:
    """Convert a value to dict, list, str, int, float, bool and None.

    Args:
        value: any value.
        where: place of the value inside what is being sent, for errors.
        depth: levels above the value.

    Returns:
        Plain data; integers beyond 64 bits come as `msgspec.Raw`.

    Raises:
        EncodingError: Something cannot be converted.
    """
    if depth > MAX_DEPTH:
        raise EncodingError(_too_deep(), where=where)
    kind = type(value)
    if kind is str:
        return _text(value, where)
    if kind is float or kind is bool or value is None:
        return value
    if kind is int:
        return value if _MIN_INT <= value < _MAX_INT else _huge(value, where)
    if isinstance(value, Mapping):
        return _object(value, where, depth)
    if isinstance(value, tuple) and (fields := getattr(value, "_fields", None)) is not None:
        return _object(dict(zip(fields, value, strict=True)), where, depth)
    if isinstance(value, list | tuple | AbstractSet):
        return _list(value, where, depth)
    return _special(value, where, depth)


def _huge(value: Any, where: str) -> msgspec.Raw:
    """Return a number that msgspec would not write, or not check."""
    if abs(value) > _MAX_FLOAT:
        raise EncodingError("a number beyond 1.8e308, which no reader of JSON takes; send it as text", where=where)
    return msgspec.Raw(str(value).encode())


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        reason = f"text has a lone surrogate at character {error.start}, as in undecodable file names; use os.fsencode"
        raise EncodingError(reason, where=where) from error
    return str(value)


def _object(value: Mapping[Any, Any], where: str, depth: int) -> dict[str, Any]:
    if depth + 1 > MAX_DEPTH:
        raise EncodingError(_too_deep(), where=where)
    return {_key(key, where): to_plain(item, f"{where}[{key!r}]", depth + 1) for key, item in value.items()}


def _list(value: Iterable[Any], where: str, depth: int) -> list[Any]:
    if depth + 1 > MAX_DEPTH:
        raise EncodingError(_too_deep(), where=where)
    return [to_plain(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]


def _key(key: Any, where: str) -> str:
    if key is None:
        return "null"
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, enum.Enum):
        return _key(key.value, where)
    if isinstance(key, str):
        return _text(key, where)
    if isinstance(key, bytes):
        return _decode_bytes(key, where)
    plain = to_plain(key, where)
    if isinstance(plain, str | int | float | msgspec.Raw):
        return plain if isinstance(plain, str) else _encode(plain).decode()
    raise EncodingError(f"key {key!r} of type {type(key).__name__} cannot be a JSON key; use text", where=where)


def _special(value: Any, where: str, depth: int) -> Any:  # noqa: C901 - one line per kind of value
    if isinstance(value, enum.Enum):
        return to_plain(value.value, where, depth)
    if isinstance(value, str):
        return _text(str.__str__(value), where)
    if isinstance(value, int):
        return to_plain(int(value), where, depth)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _decode_bytes(bytes(value), where)
    if isinstance(value, dt.date | dt.time):
        return None if _is_missing(value) else value.isoformat()
    if isinstance(value, dt.timedelta):
        return None if _is_missing(value) else _iso_duration(value)
    if isinstance(value, decimal.Decimal):
        return _huge(value, where) if value.is_finite() else None
    if isinstance(value, uuid.UUID | PurePath):
        return _text(str(value), where)
    if isinstance(value, msgspec.Raw):
        return value
    if isinstance(value, range | collections.deque | array.array | ValuesView):
        return _list(value, where, depth)
    if isinstance(value, msgspec.Struct):
        fields = {field.encode_name: getattr(value, field.name) for field in msgspec.structs.fields(value)}
        return _object({name: item for name, item in fields.items() if item is not msgspec.UNSET}, where, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _object(shown, where, depth)
    converted, known = _foreign(value)
    if known:
        return to_plain(converted, where, depth)
    raise EncodingError(hint_for(value), where=where)


def _iso_duration(value: dt.timedelta) -> Any:
    return msgspec.to_builtins(dt.timedelta(days=value.days, seconds=value.seconds, microseconds=value.microseconds))


def _is_missing(value: Any) -> bool:
    return type(value).__name__ == "NaTType"


def _foreign(value: Any) -> tuple[Any, bool]:
    """Convert scalars and arrays of numpy and pandas, found by name so that neither is imported here."""
    root = type(value).__module__.partition(".")[0]
    if root == "numpy":
        if hasattr(value, "tolist") and type(value).__name__ != "void":
            if value.dtype.kind in "mM":  # else nanoseconds come out as bare integers
                value = value.astype(f"{value.dtype.kind}8[us]")
            plain = value.tolist()
            return plain, type(plain) is not type(value)
    elif root == "pandas":
        if _is_missing(value) or type(value).__name__ == "NAType":
            return None, True
        if type(value).__name__ in ("Period", "Interval"):
            return str(value), True
        if hasattr(value, "tolist") and hasattr(value, "dtype") and not hasattr(value, "index"):
            return value.tolist(), True
    return None, False


def _decode_bytes(value: bytes, where: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        reason = (
            f"bytes that are no UTF-8 text (byte {error.start}); declare the handle with contentMediaType oomol/bin,"
            " or decode or base64-encode them first"
        )
        raise EncodingError(reason, where=where) from error


def hint_for(value: Any) -> str:
    """Say why a value cannot travel as JSON, and what was probably meant."""
    name = type(value).__qualname__
    if inspect.iscoroutine(value) or inspect.isawaitable(value):
        return f"got a {name} object; did you forget `await`?"
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        return f"got a {name}; send its items one by one, or all of them with list(...)"
    if isinstance(value, io.IOBase) or (hasattr(value, "read") and hasattr(value, "close")):
        return f"got an open file ({name}); send its path, or its content as bytes on an oomol/bin handle"
    if callable(value) and not isinstance(value, type) and hasattr(value, "__name__"):
        return f"got the function {value.__name__}; did you forget to call it?"
    return f"object of type {name} is not JSON serializable; declare the handle with contentMediaType oomol/var"
