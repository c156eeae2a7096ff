"""How records of the official SDK are made: of keywords, of which unknown ones are kept and missing ones are named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

__all__ = ["MISSING", "keep"]

MISSING: Any = UNSET
"""Default of what must be given: the official SDK raises ValueError, not TypeError, when it is not."""


def keep(record: object, fields: Mapping[str, Any], unknown: Mapping[str, Any]) -> None:
    """Set the attributes of a frozen record that is being made.

    Args:
        record: the record.
        fields: the declared ones.
        unknown: keywords that newer senders have added; they are attributes, but no part of equality.

    Raises:
        ValueError: A declared one is `MISSING`.
    """
    for name, value in fields.items():
        if value is MISSING:
            raise ValueError(f"missing key {name}")
        object.__setattr__(record, name, value)
    for name, value in unknown.items():
        object.__setattr__(record, name, value)
