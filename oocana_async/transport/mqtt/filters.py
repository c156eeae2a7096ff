"""Which of several topic filters a broker must be asked for."""

from __future__ import annotations

from collections.abc import Iterable

from oocana_async.wire import topics

__all__ = ["covers", "without_covered"]


def covers(wide: str, narrow: str) -> bool:
    """Say whether everything that one topic filter takes is taken by another one too."""
    if narrow.endswith("#") and not wide.endswith("#"):
        return False
    return topics.matches(wide, narrow)


def without_covered(filters: Iterable[str]) -> set[str]:
    """Leave out filters that others cover: brokers deliver a message once for each filter that takes it."""
    names = set(filters)
    return {name for name in names if not any(other != name and covers(other, name) for other in names)}
