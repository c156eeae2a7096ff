"""What a test runs: a function, or a function in a file; and how the executor finds it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from oocana_async.executor.loader import Scriptlet
from oocana_async.executor.runtime import Loader

__all__ = ["Target", "TargetPlace", "place_of"]

Target: TypeAlias = str | Path | Callable[..., Any]
"""A scriptlet file, or the function itself."""


class TargetPlace:
    """Where a target is.

    Attributes:
        name: for people, and as the node of the flow.
        directory: what the entry is relative to.
        entry: the file.
        function: name of the function.
        loader: finds the function when it is not to be loaded from the file, else None.
    """

    def __init__(self, name: str, path: Path, function: str, loader: Loader | None) -> None:
        self.name = name
        self.directory = str(path.parent)
        self.entry = path.name
        self.function = function
        self.loader = loader


def place_of(target: Target, function: str) -> TargetPlace:
    """Return where a target is.

    Args:
        target: file or function.
        function: name of the function in a file; not looked at when the target is a function.

    Raises:
        FileNotFoundError: There is no such file.
        TypeError: The target is neither.
    """
    if isinstance(target, str | Path):
        path = Path(target).absolute()
        if not path.is_file():
            raise FileNotFoundError(f"there is no scriptlet {path}; give the path of a .py file, or a function")
        return TargetPlace(path.stem, path, function, None)
    name = getattr(target, "__name__", type(target).__name__)
    return TargetPlace(name, _file_of(target), name, _FunctionLoader(_checked(target)))


class _FunctionLoader:
    """Gives one function, whatever is asked for."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def load(self, entry: str, function: str, *, directory: str) -> Scriptlet:
        """Return the function."""
        return Scriptlet(self._function, Path(directory, entry), getattr(self._function, "__module__", function))


def _checked(target: Any) -> Callable[..., Any]:
    if not callable(target):
        raise TypeError(f"a target is the path of a scriptlet or a function, but got {type(target).__name__}")
    found: Callable[..., Any] = target
    return found


def _file_of(function: Callable[..., Any]) -> Path:
    try:
        return Path(inspect.getfile(inspect.unwrap(function))).absolute()
    except TypeError:  # a callable object, functools.partial
        return Path("scriptlet.py").absolute()
