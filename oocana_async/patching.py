"""Changes to the whole process that several users share: the first one makes it, the last one takes it back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["SharedPatch"]


class SharedPatch:
    """A change to the process, such as a replaced function, that is in force while anybody needs it.

    Usable from any thread.

    Args:
        apply: makes the change; returns what takes it back.
    """

    def __init__(self, apply: Callable[[], Callable[[], object]]) -> None:
        self._apply = apply
        # Reentrant: what is replaced may be asked for while it is replaced, such as an import in `apply`.
        self._lock = threading.RLock()
        self._users = 0
        self._take_back: Callable[[], object] | None = None

    def install(self) -> None:
        """Make the change unless it is in force; each call needs its own `uninstall`.

        Raises:
            Exception: Whatever `apply` raises; then this call does not count.
        """
        with self._lock:
            if self._users == 0:
                self._take_back = self._apply()
            self._users += 1

    def uninstall(self) -> None:
        """Take the change back with the last call of several; one call too many does nothing."""
        with self._lock:
            if self._users == 0:
                return
            self._users -= 1
            if self._users == 0 and self._take_back is not None:
                take_back, self._take_back = self._take_back, None
                take_back()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Have the change in force inside a `with` block."""
        self.install()
        try:
            yield
        finally:
            self.uninstall()
