"""Keep one module per scriptlet file and per version of it, whoever asks from whatever thread.

A file is a `Source`; what `sys.modules` holds for one version of it is a `ScriptletModule`. Its name is the absolute
path (protocol.md 7.1), later versions are `<path>#2` and so on, so pickle, dataclasses and `typing` find their way.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import threading
from collections.abc import Iterable
from enum import Enum
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

from oocana_async.executor.loading.scriptlet_files import (
    INIT_FILE,
    Source,
    Stamp,
    find_file,
    is_installed,
    read_stamped,
)

# Every live module that came from a scriptlet directory, by its name in sys.modules; a mirror of it, so global as well.
_BY_NAME: dict[str, ScriptletModule] = {}


class _State(Enum):
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


class ScriptletModule:
    """One version of one file, as a module.

    Attributes:
        source: the file.
        name: the module's `__name__`.
        module: the module; half-built while it is loading.
        bound: what names imported by this module mean, None for what lies outside its directory.
        parts: submodules, if it is a package.
    """

    def __init__(self, source: Source, name: str, registry: ModuleRegistry) -> None:
        self.source = source
        self.file = Path(source.path)
        self.name = name
        self.registry = registry
        self.bound: dict[str, ScriptletModule | None] = {}
        self.parts: list[ScriptletModule] = []
        self.importers: list[ScriptletModule] = []
        self.started: list[ScriptletModule] = []  # modules whose first import happened while this one was loading
        self.stamp: Stamp | None = None
        self.state = _State.LOADING
        self.owner = threading.get_ident()
        self.module: ModuleType
        self.loader: SourceLoader | None = None

    @property
    def is_entry_package(self) -> bool:
        """Whether this is the `__init__.py` that a block names as its entry."""
        return not self.source.package and self.file.name == INIT_FILE

    def execute(self) -> None:
        """Run the file's code in the module."""
        if self.loader is not None:
            self.loader.exec_module(self.module)

    def bind(self, name: str, target: ScriptletModule | None) -> None:
        """Remember what an imported name means, so that a running job keeps its version."""
        self.bound[name] = target
        if target is not None:
            target.importers.append(self)


class SourceLoader(importlib.machinery.SourceFileLoader):
    """Compile a scriptlet from its source: byte code caches know whole seconds only, and litter user directories."""

    def __init__(self, record: ScriptletModule) -> None:
        super().__init__(record.name, record.source.path)
        self._record = record

    def get_code(self, fullname: str) -> CodeType:
        """Read, stamp and compile the file."""
        data, self._record.stamp = read_stamped(self._record.source.path)
        code: CodeType = self.source_to_code(data, self._record.source.path)
        return code


class PartLoader(SourceLoader):
    """Load a submodule of a package beside a scriptlet; the import system calls it and keeps the locks."""

    def __init__(self, record: ScriptletModule, parent: ScriptletModule) -> None:
        super().__init__(record)
        self._parent = parent

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return the module of the record, None (make a plain one) the first time."""
        del spec
        return getattr(self._record, "module", None)

    def exec_module(self, module: ModuleType) -> None:
        """Run the submodule's code, known by name from its first line on."""
        _BY_NAME[self._record.name] = self._record
        self._parent.parts.append(self._record)
        try:
            super().exec_module(module)
        except BaseException:
            _BY_NAME.pop(self._record.name, None)
            self._parent.parts.remove(self._record)
            raise
        self._record.state = _State.READY


class ModuleRegistry:
    """The newest version of each file, loaded once however many threads ask at the same time.

    It also knows the directories of the packages whose scriptlets it holds, see `add_package`.

    Different files never wait for each other, except where one imports the other. A circular import across threads
    gets the half-built module, as in Python itself, instead of a deadlock.
    """

    def __init__(self) -> None:
        self._packages: tuple[str, ...] = ()
        self._latest: dict[Source, ScriptletModule] = {}
        self._changed = threading.Condition()
        self._waits_for: dict[int, ScriptletModule] = {}
        self._loading: dict[int, list[ScriptletModule]] = {}
        self._all: list[ScriptletModule] = []

    def get(self, source: Source) -> ScriptletModule:
        """Return the module of a file, loading it if it is new or has changed.

        Waits while another thread loads the same file.

        Raises:
            BaseException: whatever the file's code raises; nothing of it stays behind then.
        """
        # The files are looked at without the lock, because a slow disk must not hold up loads of other files; hence the
        # second look at `_latest` under the lock, and another round when somebody else was faster.
        while True:
            record = self._latest.get(source)
            is_ready = record is not None and record.state is _State.READY
            if record is not None and is_ready and is_fresh(record):
                return record
            with self._changed:
                if self._latest.get(source) is not record:
                    continue
                if record is None or is_ready:
                    fresh = self._begin(source)
                    break
                if record.state is _State.LOADING and self._waits_for_me(record):
                    return record
                self._wait(record)
        self._load(fresh, record)
        return fresh

    def add_package(self, directory: str) -> None:
        """Let files below a directory import what lies in it, as if nobody else had such a directory."""
        with self._changed:
            known = {*self._packages, os.path.normpath(directory)}
            self._packages = tuple(sorted(known, key=len, reverse=True))

    def find_in_package(self, path: str, name: str) -> Source | None:
        """Return what an import of `name` in a file means in its package; what is installed comes first."""
        package = next((one for one in self._packages if path.startswith(one + os.sep)), None)
        found = None if package is None else find_file(package, name)
        if found is None and package is not None and Path(package, name).is_dir():
            found = Source(str(Path(package, name)), package, package=True)
        return None if found is None or is_installed(name) else found

    def forget(self) -> None:
        """Take every module of this registry out of `sys.modules`; what still refers to them goes on working."""
        with self._changed:
            for record in self._all:
                _drop(record)
            self._all.clear()
            self._latest.clear()

    def _wait(self, record: ScriptletModule) -> None:
        me = threading.get_ident()
        self._waits_for[me] = record
        try:
            while record.state is _State.LOADING:
                self._changed.wait()
        finally:
            del self._waits_for[me]

    def _waits_for_me(self, record: ScriptletModule) -> bool:
        """Whether the loader of a module is this thread, or waits (for somebody who waits) for it."""
        me, seen = threading.get_ident(), set[int]()
        owner = record.owner
        while owner != me and owner not in seen:
            seen.add(owner)
            wanted = self._waits_for.get(owner)
            if wanted is None or wanted.state is not _State.LOADING:
                return False
            owner = wanted.owner
        return owner == me

    def _begin(self, source: Source) -> ScriptletModule:
        record = ScriptletModule(source, _free_name(source.path), self)
        _build(record)
        _BY_NAME[record.name] = record
        sys.modules[record.name] = record.module
        self._latest[source] = record
        return record

    def _load(self, record: ScriptletModule, previous: ScriptletModule | None) -> None:
        stack = self._loading.setdefault(threading.get_ident(), [])
        if stack:
            stack[-1].started.append(record)
        stack.append(record)
        try:
            record.execute()
        except BaseException:
            self._fail(record, previous)
            raise
        else:
            with self._changed:
                record.state = _State.READY
                self._all.append(record)
                self._changed.notify_all()
        finally:
            stack.pop()
            if not stack:
                del self._loading[threading.get_ident()]

    def _fail(self, record: ScriptletModule, previous: ScriptletModule | None) -> None:
        """Leave nothing of a failed import: neither the module nor what only it had pulled in."""
        with self._changed:
            for lost in _lost_with(record):
                lost.state = _State.FAILED
                _drop(lost)
                if self._latest.get(lost.source) is lost:
                    del self._latest[lost.source]
                if lost in self._all:
                    self._all.remove(lost)
            if previous is not None:  # still right for the content that it was made of: undoing the edit finds it again
                self._latest[record.source] = previous
            self._changed.notify_all()


def find_by_name(name: object) -> ScriptletModule | None:
    """Return the scriptlet module of this `__name__`, None for every other module."""
    return _BY_NAME.get(name) if isinstance(name, str) else None


def is_front_of_name(text: str) -> bool:
    """Whether a text is what comes before the first dot of some scriptlet module's name (pickle imports that)."""
    return any(name.partition(".")[0] == text for name in tuple(_BY_NAME))


def is_fresh(record: ScriptletModule) -> bool:
    """Whether neither the module's file nor that of anything it imported from beside it has changed."""
    if not (record.parts or record.bound):  # it has imported nothing: the usual case, once per job
        return record.state is not _State.READY or _same_file(record)
    seen: set[int] = set()
    todo = [record]
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if one.state is _State.READY and not _same_file(one):
            return False
        todo.extend(one.parts)
        todo.extend(bound for bound in tuple(one.bound.values()) if bound is not None)  # others may import meanwhile
    return True


def _same_file(record: ScriptletModule) -> bool:
    stamp = record.stamp
    if stamp is None:
        return True
    try:
        status = os.stat(record.source.path)  # noqa: PTH116 - once per job, and a Path costs as much again
        if (status.st_mtime_ns, status.st_size) == (stamp.mtime_ns, stamp.size):
            return True
        _, now = read_stamped(record.source.path)
    except OSError:
        return False
    if now.digest != stamp.digest:
        return False
    record.stamp = now
    return True


def new_part(package: ScriptletModule, name: str, file: Path) -> ScriptletModule:
    """Return the record of a submodule that the import system is about to load."""
    record = ScriptletModule(Source(str(file), package.source.directory, package=True), name, package.registry)
    _build(record, PartLoader(record, package))
    return record


def _build(record: ScriptletModule, loader: SourceLoader | None = None) -> None:
    """Make the empty module; a bare folder has no code, so no loader either."""
    if record.file.is_dir():
        spec = ModuleSpec(record.name, None, is_package=True)
        spec.submodule_search_locations = [record.source.path]
    else:
        record.loader = loader or SourceLoader(record)
        spec = ModuleSpec(
            record.name, record.loader, origin=record.source.path, is_package=record.file.name == INIT_FILE
        )
        spec.has_location = True
        if record.file.name == INIT_FILE:
            spec.submodule_search_locations = [str(record.file.parent)]
    record.module = importlib.util.module_from_spec(spec)


def _free_name(path: str) -> str:
    name, version = path, 1
    while name in sys.modules:
        version += 1
        name = f"{path}#{version}"
    return name


def _lost_with(record: ScriptletModule) -> list[ScriptletModule]:
    """Return a failed module and everything that it was the first to import, unless others use that already."""
    tree = list(_tree(record))
    inside = set(map(id, tree))
    return [one for one in tree if one is record or all(id(importer) in inside for importer in one.importers)]


def _tree(record: ScriptletModule) -> Iterable[ScriptletModule]:
    yield record
    for child in record.started:
        if child.state is _State.READY:
            yield from _tree(child)


def _drop(record: ScriptletModule) -> None:
    names = [record.name]
    if hasattr(record.module, "__path__"):
        names += [name for name in tuple(sys.modules) if name.startswith(f"{record.name}.")]
    for name in names:
        sys.modules.pop(name, None)
        _BY_NAME.pop(name, None)
