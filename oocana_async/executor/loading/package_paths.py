"""Keeps the directories of packages at the end of `sys.path` while somebody needs them (protocol.md 2.1)."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import Counter
from collections.abc import Iterator

__all__ = ["foreign_sys_path", "on_sys_path"]

_lock = threading.Lock()
_users: Counter[str] = Counter()
"""Directories that are in `sys.path` because of us; as global as that."""


@contextlib.contextmanager
def on_sys_path(directory: str) -> Iterator[None]:
    """Have a directory at the end of `sys.path`; the last of several users takes it out, unless it was there before.

    May be entered and left in different threads.
    """
    with _lock:
        is_ours = directory in _users or directory not in sys.path
        if is_ours:
            _users[directory] += 1
        if directory not in sys.path:
            sys.path.append(directory)
    try:
        yield
    finally:
        if is_ours:
            _leave(directory)


def foreign_sys_path() -> list[str]:
    """Return `sys.path` without what is in it because of us."""
    with _lock:
        return [entry for entry in sys.path if entry not in _users]


def _leave(directory: str) -> None:
    with _lock:
        _users[directory] -= 1
        if not _users[directory]:
            del _users[directory]
            with contextlib.suppress(ValueError):  # a block has taken it out
                sys.path.remove(directory)
