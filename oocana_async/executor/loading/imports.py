"""Resolve what scriptlets import: first in their own directory, without a trace in `sys.path` or under a bare name.

Rules, in the order in which they are asked for `import name` in a file that came from the directory of a block:

1. Names of the standard library mean the standard library, and a module never means itself: a scriptlet that is called
   `copy.py` or `pandas.py` harms nobody.
2. A package or module beside the scriptlet. It belongs to that directory: a block of another directory gets its own.
3. Everything else, as always; where several packages share a process, what lies in the directory of a package, and is
   not installed, belongs to that package.

The place to ask is `builtins.__import__`, because `sys.modules` is looked at before any finder and knows only one
module of a name. It works the same for imports inside functions and in threads: only the importing file counts.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType

from oocana_async.executor.loading.modules import ScriptletModule, find_by_name, is_front_of_name, new_part
from oocana_async.executor.loading.scriptlet_files import INIT_FILE, find_beside
from oocana_async.patching import SharedPatch

_original_import = builtins.__import__


def _hook_in() -> Callable[[], None]:
    global _original_import  # noqa: PLW0603 - the hook is as global as what it hooks
    _original_import = builtins.__import__
    builtins.__import__ = import_beside
    sys.meta_path.insert(0, _FINDER)
    return _hook_out


def _hook_out() -> None:
    sys.meta_path.remove(_FINDER)
    if builtins.__import__ is import_beside:  # else somebody replaced it after us and may still call us
        builtins.__import__ = _original_import


import_rules = SharedPatch(_hook_in)
"""The rules above, in force while anybody has them installed."""


def import_beside(
    name: str,
    globals: Mapping[str, object] | None = None,  # noqa: A002 - the signature of builtins.__import__
    locals: Mapping[str, object] | None = None,  # noqa: A002
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Do what `builtins.__import__` does; in files of scriptlet directories, what lies beside them comes first."""
    importer = find_by_name((sys._getframe(1).f_globals if globals is None else globals).get("__name__"))  # noqa: SLF001
    if importer is None:
        return _original_import(name, globals, locals, fromlist or (), level)
    found = _find(importer, name, fromlist or (), level)
    if found is None:
        found = _original_import(name, globals, locals, fromlist or (), level)
        if level == 0:  # from now on this name means what is outside, whatever files a user makes beside it
            importer.bind(name.partition(".")[0], None)
    return found


def _find(importer: ScriptletModule, name: str, fromlist: Sequence[str], level: int) -> ModuleType | None:
    if level > 0:
        # Relative imports work by themselves inside a real package.
        return None if level > 1 or importer.source.package else _relative(importer, name, fromlist)
    if not name or os.sep in name:
        return None  # a module under its full name: pickle in C asks for it in the name of the file that calls pickle
    top, _, rest = name.partition(".")
    if top in importer.bound or top in sys.stdlib_module_names:
        target = importer.bound.get(top)
    else:
        target = _beside(importer, top, top) or _in_package(importer, top)
    return None if target is None else _descend(target, rest, fromlist)


def _in_package(importer: ScriptletModule, top: str) -> ScriptletModule | None:
    """Return what lies in the package of a file under a name; the file keeps that version for good."""
    source = importer.registry.find_in_package(importer.source.path, top)
    if source is None or source.path == importer.source.path:
        return None
    target = importer.registry.get(source)
    importer.bind(top, target)
    return target


def _relative(importer: ScriptletModule, name: str, fromlist: Sequence[str]) -> ModuleType | None:
    """Take `from .helper import x` and `from . import helper` beside a scriptlet as what is meant there."""
    if name:
        top, _, rest = name.partition(".")
        target = _beside(importer, top, f".{top}")
        return None if target is None else _descend(target, rest, fromlist)
    around = ModuleType(importer.source.directory)
    if importer.is_entry_package:
        around.__dict__.update(importer.module.__dict__)
    for wanted in fromlist:
        target = None if hasattr(around, wanted) else _beside(importer, wanted, f".{wanted}")
        if target is not None:
            setattr(around, wanted, target.module)
    return around


def _beside(importer: ScriptletModule, top: str, bound_as: str) -> ScriptletModule | None:
    """Return what lies beside a file under a name; the file keeps that version for good."""
    bound = importer.bound.get(bound_as)
    if bound is not None:
        return bound
    source = find_beside(importer.source.directory, top)
    if source is None or (source.path == importer.source.path and not source.package):
        return None
    target = importer.registry.get(source)
    importer.bind(bound_as, target)
    return target


def _descend(target: ScriptletModule, rest: str, fromlist: Sequence[str]) -> ModuleType:
    """Return what an import statement is given once its first name is known."""
    leaf = f"{target.name}.{rest}" if rest else target.name
    if fromlist and (rest or hasattr(target.module, "__path__")):
        return _original_import(leaf, None, None, fromlist, 0)
    if rest:
        importlib.import_module(leaf)
    return target.module


class _Finder(MetaPathFinder):
    """Find submodules of packages beside scriptlets, and help those who import by text alone (`importlib`, pickle)."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del target
        if os.sep in fullname:
            parent, _, tail = fullname.rpartition(".")
            package = find_by_name(parent)
            if package is not None:
                return _part_spec(package, fullname, tail, path or ())
            return ModuleSpec(fullname, _NOTHING) if is_front_of_name(fullname) else None
        if path is None and "." not in fullname:
            return _spec_for_caller(fullname)
        return None


def _part_spec(package: ScriptletModule, fullname: str, tail: str, places: Sequence[str]) -> ModuleSpec | None:
    for place in places:
        folder = Path(place, tail)
        for file in (folder / INIT_FILE, folder.with_name(f"{tail}.py")):
            if file.is_file():
                return new_part(package, fullname, file).module.__spec__
    return None


def _spec_for_caller(name: str) -> ModuleSpec | None:
    """Answer `importlib.import_module("helper")` of a scriptlet, which tells nobody who asks."""
    importer = find_by_name(_asking_frame().f_globals.get("__name__"))
    if importer is None or name in sys.stdlib_module_names:
        return None
    record = _beside(importer, name, name)
    return None if record is None else ModuleSpec(record.name, _Alias(record))


def _asking_frame() -> FrameType:
    frame = sys._getframe(1)  # noqa: SLF001 - importlib passes no importer to finders
    while frame.f_back is not None and _is_import_machinery(frame.f_globals.get("__name__")):
        frame = frame.f_back
    return frame


def _is_import_machinery(name: object) -> bool:
    return isinstance(name, str) and (name == __name__ or name.partition(".")[0] in ("importlib", "_frozen_importlib"))


class _Alias(Loader):
    """Hand out a module that is loaded already."""

    def __init__(self, record: ScriptletModule) -> None:
        self._record = record
        self._spec = record.module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        del spec
        return self._record.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Nothing(Loader):
    """Load an empty module: before it looks up `/w/a.py`, pickle imports what is before the first dot, `/w/a`."""

    def create_module(self, spec: ModuleSpec) -> None:
        del spec

    def exec_module(self, module: ModuleType) -> None:
        del module


_FINDER = _Finder()
_NOTHING = _Nothing()
