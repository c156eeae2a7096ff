"""Short, safe text for values, times and sizes, as it fits into one line of a terminal."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

__all__ = ["brief", "brief_handles", "clock", "headline", "printable", "shorten", "size"]

LIMIT: Final = 60
"""Characters of a value that are shown."""

_TRACEBACK: Final = "Traceback (most recent call last):"
_GROUP_PART: Final = re.compile(r" *(?:[+]-)?[+]-+ [0-9]+ -+")
_GROUP_MARGIN: Final = re.compile(r" *(?:[|] |[+]-+$|[+] (?=Exception Group ))")
_CONTROL: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Return text without escape sequences and control characters, so that a block cannot take over the terminal."""
    return _CONTROL.sub("", text).expandtabs(8).encode("utf-8", "replace").decode()


def shorten(text: str, limit: int = LIMIT) -> str:
    """Cut text to `limit` characters, the last three of them dots."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def headline(error: str) -> str:
    """Return the line of an error text that says what happened.

    Of a traceback that is the exception, not what follows it: the rest of its message, notes, the frame around a group.
    Of a group it is the last exception in it.
    """
    lines = error.strip("\n").splitlines()
    if _TRACEBACK in error:
        lines = [_GROUP_MARGIN.sub("", line, count=1) for line in lines]
        heads = [n for n, line in enumerate(lines) if line.endswith(_TRACEBACK) or _GROUP_PART.fullmatch(line)]
        frames = [n for n, line in enumerate(lines) if line.startswith('  File "')]
        rest = lines[max(heads[-1:] + frames[-1:], default=0) + 1 :]
        lines = [line for line in rest if line[:1].strip()] or lines[-1:]
    return printable(next((line for line in lines if line.strip()), "").strip())


def brief(value: Any, limit: int = LIMIT) -> str:
    """Return a value as one short line; a `msgspec.Raw` is decoded first.

    Objects that travel by reference and bytes that travel as a file are named as such.
    """
    if isinstance(value, msgspec.Raw):
        return _brief_raw(bytes(value), limit)
    if isinstance(value, dict) and "__OOMOL_TYPE__" in value:
        return _brief_reference(value, limit)
    return shorten(printable(msgspec.json.encode(value).decode("utf-8", "replace")), limit)


def _brief_raw(data: bytes, limit: int) -> str:
    if len(data) > 4096 and b"__OOMOL_TYPE__" not in data[:4096]:
        return shorten(printable(data[: 4 * limit].decode("utf-8", "replace")), limit)
    return brief(msgspec.json.decode(data), limit)


def _brief_reference(value: dict[str, Any], limit: int) -> str:
    kind = str(value["__OOMOL_TYPE__"]).removeprefix("oomol/")
    inner = value.get("value")
    if isinstance(inner, dict):
        return "<object>" if kind == "var" else f"<{kind}>"
    return shorten(f"<{kind} {printable(str(inner))}>", limit)


def brief_handles(values: dict[str, str], limit: int = 160) -> str:
    """Return `handle=value` for several handles, given their values as short text."""
    return shorten(", ".join(f"{handle}={text}" for handle, text in values.items()), limit)


def clock(milliseconds: int) -> str:
    """Return a duration the way people write it: `0.42 s`, `12.3 s`, `3 min 05 s`."""
    seconds = max(0, milliseconds) / 1000
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def size(count: int) -> str:
    """Return a number of bytes: `312 B`, `34.1 kB`, `2.0 MB`."""
    if count < 1000:
        return f"{count} B"
    amount = count / 1000
    for unit in ("kB", "MB"):
        if amount < 1000:
            return f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
