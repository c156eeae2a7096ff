"""Replaces the secrets of a session by `***` in everything that people see: logs, previews, errors, reports."""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

__all__ = ["MASK", "MIN_SECRET", "Redactor"]

MASK = "***"
MIN_SECRET = 4
"""Characters that a secret has at least; shorter ones would hide ordinary text."""

_MIN_LINE = 8
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


class Redactor:
    """Knows the secrets that were resolved in one session; safe to use from any thread, free of charge without any.

    A secret is also found in the forms in which JSON, HTML, URLs and Python's `repr` write it, without the white space
    around it, and a secret of several lines line by line.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: set[str] = set()
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def __bool__(self) -> bool:
        """Say whether there is anything to hide."""
        return self._pattern is not None

    def add(self, secret: object) -> None:
        """Hide a secret from now on; anything but text of at least four characters is passed over."""
        if not isinstance(secret, str) or len(secret) < MIN_SECRET:
            return
        with self._lock:
            if secret in self._secrets:
                return
            self._secrets.add(secret)
            self._forms.update(_forms_of(secret))
            # Longest first: a secret that is part of another one must not leave the rest of that readable.
            self._pattern = re.compile("|".join(map(re.escape, sorted(self._forms, key=len, reverse=True))))

    def redact(self, text: str) -> str:
        """Replace every secret in a text; the same object comes back if there is none."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def redact_json(self, payload: bytes) -> bytes:
        """Replace every secret in the texts and keys of a JSON document, which stays valid: numbers are left alone.

        Args:
            payload: a whole document; it comes back as it is if no secret is in it.
        """
        if self._pattern is None:
            return payload
        document = payload.decode()
        # With a backslash in it, a text may hide what the whole document does not show: it has to be read first.
        if "\\" not in document and self._pattern.search(document) is None:
            return payload
        return _STRING.sub(self._redact_literal, document).encode()

    def _redact_literal(self, match: re.Match[str]) -> str:
        literal = match.group()
        text: str = json.loads(literal) if "\\" in literal else literal[1:-1]
        redacted = self.redact(text)
        return literal if redacted == text else json.dumps(redacted, ensure_ascii=False)


def _forms_of(secret: str) -> Iterator[str]:
    lines = [line.strip() for line in secret.splitlines()]
    for text in (secret, secret.strip(), *(line for line in lines if len(line) >= _MIN_LINE)):
        if len(text) >= MIN_SECRET:
            yield text
            yield json.dumps(text)[1:-1]
            yield json.dumps(text, ensure_ascii=False)[1:-1]
            yield quote(text, safe="", errors="replace")
            yield quote_plus(text, errors="replace")
            yield html.escape(text)
            yield html.escape(text, quote=False)
            yield repr(text)[1:-1]
