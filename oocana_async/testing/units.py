"""What a test runs: a function, or a function in a file; and how the executor finds it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from oocana_async.executor.loading.loader import DEFAULT_ENTRY, DEFAULT_FUNCTION, Scriptlet
from oocana_async.executor.runtime import Loader
from oocana_async.testing.values import Definitions

__all__ = ["Target", "TargetPlace", "place_of"]

Target: TypeAlias = str | Path | Callable[..., Any]
"""A scriptlet file, a task file (`task.oo.yaml`), or the function itself."""


@dataclass(frozen=True)
class TargetPlace:
    """Where a target is.

    Attributes:
        name: for people, and as the node of the flow.
        directory: what the entry is relative to.
        entry: the file.
        function: name of the function.
        loader: finds the function when it is not to be loaded from the file, else None.
        task: the task file, None when there is none.
        inputs_def: what the task file says, None without one.
        outputs_def: likewise.
    """

    name: str
    directory: str
    entry: str
    function: str
    loader: Loader | None = None
    task: Path | None = None
    inputs_def: Definitions | None = None
    outputs_def: Definitions | None = None


def place_of(target: Target, function: str) -> TargetPlace:
    """Return where a target is.

    Args:
        target: file or function.
        function: name of the function in a scriptlet file; functions and task files say it themselves.

    Raises:
        FileNotFoundError: There is no such file.
        TypeError: The target is neither, or a file of something else.
        LoadError: The task file cannot be read.
    """
    if isinstance(target, str | Path):
        path = Path(target).absolute()
        if not path.is_file():
            raise FileNotFoundError(f"there is no scriptlet {path}; give the path of a .py file, or a function")
        if path.suffix in (".yaml", ".yml"):
            return _place_of_task(path)
        return TargetPlace(path.stem, str(path.parent), path.name, function)
    name = getattr(target, "__name__", type(target).__name__)
    file = _file_of(target)
    return TargetPlace(name, str(file.parent), file.name, name, _FunctionLoader(_checked(target)))


def _place_of_task(path: Path) -> TargetPlace:
    from oocana_async.engine.manifests.blocks import PythonExecutor, TaskBlock
    from oocana_async.engine.target import load_target

    task = load_target(path).root
    if not isinstance(task, TaskBlock) or not isinstance(task.executor, PythonExecutor):
        raise TypeError(f"{path} is no task for Python; run flows with `oocana-async run` or `run_flow`")
    return TargetPlace(
        path.parent.name,
        str(task.directory),
        task.executor.entry or DEFAULT_ENTRY,
        task.executor.function or DEFAULT_FUNCTION,
        task=path,
        inputs_def=_plain(task.inputs_def),
        outputs_def=_plain(task.outputs_def),
    )


def _plain(definitions: Any) -> Definitions:
    """Return definitions as they travel; a task that says nothing declares none."""
    plain: Definitions = msgspec.to_builtins(definitions or {})
    return plain


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
