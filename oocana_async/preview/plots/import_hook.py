"""Calls back when a module has been imported, so that nothing is imported for somebody who does not use it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["when_imported"]

_log = logging.getLogger(__name__)


def when_imported(actions: Mapping[str, Callable[[ModuleType], None]]) -> Callable[[], None]:
    """Run an action for each named module: at once if it is there, else right after its import.

    An action that raises is logged and does not disturb the import. Costs one look into a dict per import.

    Args:
        actions: name of a module to what shall happen with it.

    Returns:
        A function that takes the hook away; calling it again does nothing.
    """
    finder = _Finder(actions)
    sys.meta_path.insert(0, finder)
    for name in actions:
        module = sys.modules.get(name)
        if module is not None and not _is_being_imported(module):
            finder.act(name, module)

    def remove() -> None:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)

    return remove


def _is_being_imported(module: ModuleType) -> bool:
    return bool(getattr(module.__spec__, "_initializing", False))


class _Finder:
    """Finds nothing itself: lets the other finders find, and listens for the end of the import."""

    def __init__(self, actions: Mapping[str, Callable[[ModuleType], None]]) -> None:
        self._actions = actions

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._actions:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(fullname, path, target) if find is not None else None
            if spec is not None:
                self._listen(spec)
                return spec
        return None

    def _listen(self, spec: ModuleSpec) -> None:
        """Shadow the loader's `exec_module` until it has run once; the loader stays what it is for everybody else."""
        loader = spec.loader
        execute = getattr(loader, "exec_module", None)
        if loader is None or execute is None:
            return

        def exec_and_act(module: ModuleType) -> None:
            vars(loader).pop("exec_module", None)
            execute(module)
            self.act(spec.name, module)

        try:
            loader.exec_module = exec_and_act  # type: ignore[method-assign]
        except AttributeError:
            _log.debug("cannot listen for the import of %s", spec.name)

    def act(self, name: str, module: ModuleType) -> None:
        try:
            self._actions[name](module)
        except Exception:  # noqa: BLE001 - a scriptlet's import must not fail for our sake
            _log.warning("setting up %s failed", name, exc_info=True)
