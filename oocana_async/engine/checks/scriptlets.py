"""Whether the code of a task is there: file and function, found without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from oocana_async.engine.checks.subject import at_place
from oocana_async.engine.manifests.blocks import NodeExecutor, Place, PythonExecutor, ServiceBlock, TaskBlock
from oocana_async.engine.manifests.findings import Finding, listed
from oocana_async.suggestions import suggest


def check_task_code(task: TaskBlock) -> Iterator[Finding]:
    """Yield what is missing of a Python or nodejs task's code."""
    executor = task.executor
    if not isinstance(executor, PythonExecutor | NodeExecutor):
        return
    entry = executor.entry or ("index.py" if isinstance(executor, PythonExecutor) else "main.ts")
    path = task.directory / entry
    if not path.is_file():
        yield _missing(task.source, task.directory, path)
    elif isinstance(executor, PythonExecutor):
        yield from _check_function(task, path, executor.function or "main")


def check_service_code(service: ServiceBlock, place: Place | None) -> Iterator[Finding]:
    """Yield a missing entry of a service."""
    if service.executor.entry is None:
        return
    path = service.directory / service.executor.entry
    if not path.is_file():
        yield _missing(place, service.directory, path)


def _missing(place: Place | None, directory: Path, path: Path) -> Finding:
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    hint = suggest(path.name, sorted(siblings))
    return at_place(place, directory, "error", "missing-scriptlet", f"there is no file {path}", hint)


def _check_function(task: TaskBlock, path: Path, function: str) -> Iterator[Finding]:
    try:
        names, functions = _names(path, path.stat().st_mtime_ns)
    except SyntaxError as error:
        message = f"the scriptlet is not Python: {error.msg}"
        yield Finding("error", "scriptlet-syntax", path, error.lineno, error.offset, message)
        return
    except (OSError, ValueError) as error:
        yield Finding("error", "scriptlet-syntax", path, None, None, f"the scriptlet cannot be read: {error}")
        return
    if function not in names and "*" not in names:
        message = f'the scriptlet {path} has no function "{function}"'
        near = suggest(function, functions)
        hint = near or (f"it defines {listed(functions)}" if functions else f"write def {function}(params, context)")
        yield at_place(task.source, path, "error", "missing-function", message, hint)


@lru_cache(maxsize=64)
def _names(path: Path, changed: int) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return all names of a module and its functions; `changed` tells versions of a file apart."""
    del changed
    module = ast.parse(path.read_bytes(), str(path))
    functions = sorted(node.name for node in module.body if isinstance(node, _FUNCTIONS))
    return frozenset(top_level_names(module)), tuple(functions)


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def top_level_names(module: ast.Module) -> Iterator[str]:
    """Yield the names that a module may have, `*` for a star import; branches and loops count."""
    waiting: list[ast.AST] = list(module.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif not isinstance(node, ast.Lambda):
            waiting += ast.iter_child_nodes(node)
