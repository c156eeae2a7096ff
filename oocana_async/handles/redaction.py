"""Replaces the secrets of a session by `***` in everything that people see: logs, previews, errors, reports."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from typing import Any, TypeVar, overload
from urllib.parse import quote

__all__ = ["MASK", "MIN_SECRET", "Redactor"]

MASK = "***"
MIN_SECRET = 4
"""Characters that a secret has at least; shorter ones would hide ordinary text."""

_MIN_LINE = 8
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)

_T = TypeVar("_T")


class Redactor:
    """Knows the secrets that were resolved in one session; safe to use from any thread, free of charge without any.

    A secret is also found in the forms in which JSON and URLs write it, and a secret of several lines line by line.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: set[str] = set()
        self._text: re.Pattern[str] | None = None
        self._bytes: re.Pattern[bytes] | None = None

    def __bool__(self) -> bool:
        """Say whether there is anything to hide."""
        return self._text is not None

    def add(self, secret: object) -> None:
        """Hide a secret from now on; anything but text of at least four characters is passed over."""
        if not isinstance(secret, str) or len(secret) < MIN_SECRET:
            return
        with self._lock:
            if secret in self._forms:
                return
            self._forms.update(_forms_of(secret))
            longest_first = sorted(self._forms, key=len, reverse=True)
            self._bytes = re.compile(b"|".join(re.escape(form.encode(errors="replace")) for form in longest_first))
            self._text = re.compile("|".join(map(re.escape, longest_first)))

    @overload
    def redact(self, value: str) -> str: ...
    @overload
    def redact(self, value: bytes) -> bytes: ...
    def redact(self, value: str | bytes) -> str | bytes:
        """Replace every secret in a text or in bytes; the same object comes back if there is none."""
        if isinstance(value, str):
            return self._text.sub(MASK, value) if self._text is not None else value
        return self._bytes.sub(MASK.encode(), value) if self._bytes is not None else value

    def redact_value(self, value: _T) -> _T:
        """Replace every secret in the texts and keys of plain data; the same object comes back if there is none."""
        return value if self._text is None else self._redact_value(value)

    def _redact_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, dict):
            members = [(self._redact_value(key), self._redact_value(item)) for key, item in value.items()]
            same = all(key is old and item is value[old] for (key, item), old in zip(members, value, strict=True))
            return value if same else dict(members)
        if isinstance(value, list | tuple):
            items = [self._redact_value(item) for item in value]
            return value if all(new is old for new, old in zip(items, value, strict=True)) else items
        return value

    def redact_json(self, payload: bytes) -> bytes:
        """Replace every secret in the texts of a JSON document, which stays valid JSON: numbers are left alone.

        Args:
            payload: a whole document; it comes back as it is if no secret is in it.
        """
        if self._bytes is None or (b"\\" not in payload and self._bytes.search(payload) is None):
            return payload
        return _STRING.sub(self._redact_literal, payload)

    def _redact_literal(self, match: re.Match[bytes]) -> bytes:
        literal = match.group()
        if b"\\" not in literal and (self._bytes is None or self._bytes.search(literal) is None):
            return literal
        text: str = json.loads(literal)
        redacted = self.redact(text)
        return literal if redacted == text else json.dumps(redacted).encode()


def _forms_of(secret: str) -> Iterator[str]:
    lines = [line.strip() for line in secret.splitlines()]
    for text in (secret, *(line for line in lines if len(line) >= _MIN_LINE)):
        yield text
        yield json.dumps(text)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
        yield quote(text, safe="", errors="replace")
