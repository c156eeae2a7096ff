"""Find the function that a block names: file, module, attribute, with the error texts of protocol.md 7.4."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple, Self

from oocana_async.errors import ScriptletError
from oocana_async.executor.loading.imports import import_rules
from oocana_async.executor.loading.modules import ModuleRegistry
from oocana_async.executor.loading.scriptlet_files import Source
from oocana_async.executor.loading.tracebacks import format_exception

DEFAULT_ENTRY = "index.py"
DEFAULT_FUNCTION = "main"


class Scriptlet(NamedTuple):
    """What a job calls.

    Attributes:
        function: the block's function.
        path: absolute path of its file.
        module_name: the module's `__name__`: the path, with `#2` and so on for versions after the first.
    """

    function: Callable[..., Any]
    path: Path
    module_name: str


class ScriptletLoader:
    """Load scriptlets, each file as a module of its own (protocol.md 7.1).

    Imports of a scriptlet are resolved in its own directory first while the loader is installed; see `imports`. A file
    that changed, or that imported something beside it that changed, becomes a new module; running jobs keep theirs.
    May be used from any thread.
    """

    def __init__(self) -> None:
        self._registry = ModuleRegistry()
        self._sources: dict[tuple[str, str], Source] = {}
        self._known: dict[tuple[Source, str], tuple[ModuleType, Scriptlet]] = {}

    def __enter__(self) -> Self:
        """Install the import rules of scriptlets."""
        import_rules.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Uninstall them."""
        import_rules.uninstall()

    def load(
        self, entry: str = DEFAULT_ENTRY, function: str = DEFAULT_FUNCTION, *, directory: Path | str = ""
    ) -> Scriptlet:
        """Return the function of a block, importing its file if that is new or has changed.

        Runs the file's code in the calling thread, or waits while another thread runs it.

        Args:
            entry: path of the file, relative to `directory` or absolute.
            function: name of the function in it.
            directory: directory of the manifest that names the entry.

        Raises:
            ScriptletError: the file cannot be read or imported (the text is a traceback without frames of this
                package), or has no such function. Nothing of a failed import stays in `sys.modules`.
            BaseException: `SystemExit` and the like, as the file raises them.
        """
        source = self._locate(entry, directory)
        module = self._import(source)
        known = self._known.get((source, function))
        if known is not None and known[0] is module and known[1].function is getattr(module, function, None):
            return known[1]
        try:
            found = getattr(module, function)
        except AttributeError:
            raise ScriptletError(f"function {function} not found in {entry}") from None
        if not callable(found):
            raise ScriptletError(f"{function} is not a function in {entry}")
        scriptlet = Scriptlet(found, Path(source.path), module.__name__)
        self._known[source, function] = module, scriptlet
        return scriptlet

    def add_package(self, directory: Path | str) -> None:
        """Let scriptlets below a directory import what lies in it without meeting what lies in other packages."""
        self._registry.add_package(str(directory))

    def forget(self) -> None:
        """Take all modules of this loader out of `sys.modules`; their objects go on working, pickling them does not."""
        self._registry.forget()

    def _locate(self, entry: str, directory: Path | str) -> Source:
        key = (entry, str(directory))
        source = self._sources.get(key)
        if source is None:
            given = Path(directory, entry)
            path = os.path.normpath(given.absolute())  # links keep the name that the user gave
            source = Source(path, str(Path(path).parent))
            if given.is_absolute():  # else the working directory counts as well
                self._sources[key] = source
        return source

    def _import(self, source: Source) -> ModuleType:
        try:
            return self._registry.get(source).module
        except Exception as error:
            raise ScriptletError(format_exception(error, keep_own=False)) from error
