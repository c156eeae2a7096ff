"""Gives each job a pyplot of its own: figures that one job has open are not seen, shown or closed by another."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, KeysView, MutableMapping, ValuesView
from typing import Any

__all__ = ["ScopedFigures"]


class ScopedFigures(MutableMapping[Any, Any]):
    """Stands in for the ordered dict of open figures in `matplotlib._pylab_helpers.Gcf`.

    Every access goes to the dict of the current scope; a scope is whatever `scope()` returns, such as a job id.
    """

    def __init__(self, scope: Callable[[], Hashable]) -> None:
        self._scope = scope
        self._figures: dict[Hashable, OrderedDict[Any, Any]] = {}

    def _own(self) -> OrderedDict[Any, Any]:
        return self._figures.get(self._scope()) or OrderedDict()

    def take(self, scope: Hashable) -> list[Any]:
        """Remove a scope and return the managers of the figures that were still open in it."""
        return list(self._figures.pop(scope, {}).values())

    def take_all(self) -> list[Any]:
        """Remove all scopes and return the managers of all figures that were still open."""
        return [manager for scope in list(self._figures) for manager in self.take(scope)]

    def move_to_end(self, key: Any, last: bool = True) -> None:
        """Make a figure the active one."""
        self._own().move_to_end(key, last)

    def __getitem__(self, key: Any) -> Any:
        return self._own()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._figures.setdefault(self._scope(), OrderedDict())[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._own()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._own())

    def __len__(self) -> int:
        return len(self._own())

    def keys(self) -> KeysView[Any]:
        """Numbers of the open figures, the active one last."""
        return self._own().keys()

    def values(self) -> ValuesView[Any]:
        """Managers of the open figures, the active one last; unlike the base class's, the view can be reversed."""
        return self._own().values()
