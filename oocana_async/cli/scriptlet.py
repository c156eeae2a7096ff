"""A bare scriptlet as something that can be run: a task block for a file without a manifest.

Its inputs are those that are given; it may put out on any handle, because nothing declares which there are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from oocana_async.engine.manifests.blocks import Place, PythonExecutor, SearchContext, TaskBlock
from oocana_async.engine.manifests.lookup import clean
from oocana_async.engine.manifests.packages import installed_versions
from oocana_async.engine.target import LoadedTarget
from oocana_async.errors import LoadError, ManifestError
from oocana_async.wire.messages.shared import InputHandle

__all__ = ["is_scriptlet", "scriptlet_target", "scriptlet_task"]


def is_scriptlet(target: str) -> bool:
    """Tell whether a target is a Python file and not a manifest."""
    return target.endswith(".py") and not Path(target).is_dir()


def scriptlet_task(target: str, inputs: Iterable[str]) -> TaskBlock:
    """Return the task that runs `main` of a Python file.

    Args:
        target: the file.
        inputs: names of the inputs that are given.

    Raises:
        LoadError: The file cannot be read, is no Python, or has no `main`.
    """
    path = Path(target).expanduser().absolute()
    tree = _parse(path)
    if not _defines_main(tree):
        hint = "write `def main(params, context):` or `async def main(params, context):`"
        raise LoadError([ManifestError("the scriptlet has no function main", path=path, line=1, column=1, hint=hint)])
    return TaskBlock(
        path=None,
        directory=path.parent,
        package_path=path.parent,
        executor=PythonExecutor(entry=path.name),
        inputs_def={name: InputHandle(name) for name in inputs},
        source=Place(path),
    )


def scriptlet_target(target: str, inputs: Iterable[str], *, search_paths: Iterable[Path] = ()) -> LoadedTarget:
    """Return a Python file as something that the engine runs.

    Args:
        target: the file.
        inputs: names of the inputs that are given.
        search_paths: where the blocks that it runs are looked for.

    Raises:
        LoadError: The file cannot be read, is no Python, or has no `main`.
    """
    task = scriptlet_task(target, inputs)
    paths = tuple(clean(path) for path in search_paths)
    search = SearchContext(task.directory, paths, installed_versions(paths))
    assert task.source is not None
    return LoadedTarget(task, task.source.path, search=search)


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), str(path))
    except OSError as error:
        raise LoadError([ManifestError(f"the scriptlet cannot be read: {error.strerror}", path=path)]) from error
    except SyntaxError as error:
        fault = ManifestError(f"syntax error: {error.msg}", path=path, line=error.lineno, column=error.offset)
        raise LoadError([fault]) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise LoadError([ManifestError(f"the scriptlet is no Python source: {error}", path=path)]) from error


def _defines_main(tree: ast.Module) -> bool:
    """Look for the name `main` wherever the module level may bind it; a star import may bind anything."""
    for node in _module_level(tree.body):
        match node:
            case ast.FunctionDef(name="main") | ast.AsyncFunctionDef(name="main") | ast.ClassDef(name="main"):
                return True
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                if any((alias.asname or alias.name) in ("main", "*") for alias in names):
                    return True
            case ast.Name(id="main", ctx=ast.Store()):
                return True
    return False


def _module_level(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in nodes:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _module_level(ast.iter_child_nodes(node))
