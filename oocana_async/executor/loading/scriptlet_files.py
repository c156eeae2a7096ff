"""Find what a name means in a directory or a package, and read files so that a later version is noticed."""

from __future__ import annotations

import hashlib
import importlib.machinery
import io
import os
import sys
from pathlib import Path
from typing import NamedTuple

from oocana_async.executor.loading.package_paths import foreign_sys_path

INIT_FILE = "__init__.py"


class Source(NamedTuple):
    """A file and what it is to the one who asks for it.

    Attributes:
        path: absolute path of the file.
        directory: where its absolute imports are looked up first: that of the block whose entry it is or serves.
        package: whether it is the `__init__.py` of a package inside the directory, not the entry of a block.
    """

    path: str
    directory: str
    package: bool = False


class Stamp(NamedTuple):
    """What tells one version of a file from the next."""

    mtime_ns: int
    size: int
    digest: bytes


def find_beside(directory: str, name: str) -> Source | None:
    """Return what an import of `name` means in a directory: a package first, then a module, then a bare folder."""
    found = find_file(directory, name)
    if found is None and Path(directory, name).is_dir() and not _known_elsewhere(name):
        return Source(str(Path(directory, name)), directory, package=True)
    return found


def find_file(directory: str, name: str) -> Source | None:
    """Return the package or module of a name in a directory."""
    folder = Path(directory, name)
    for path, package in ((folder / INIT_FILE, True), (folder.with_name(f"{name}.py"), False)):
        if path.is_file():
            return Source(str(path), directory, package)
    return None


def is_installed(name: str) -> bool:
    """Whether somebody finds a name outside the packages, which stand at the end of `sys.path`."""
    if importlib.machinery.PathFinder.find_spec(name, foreign_sys_path()) is not None:
        return True
    others = [finder for finder in sys.meta_path if finder is not importlib.machinery.PathFinder]
    return any(finder.find_spec(name, None) is not None for finder in others if not _is_ours(finder))


def _is_ours(finder: object) -> bool:
    return type(finder).__module__.startswith(__package__ or "oocana_async")


def _known_elsewhere(name: str) -> bool:
    """Whether a name means something outside the directory; as in Python, a folder without `__init__.py` comes last."""
    return name in sys.modules or importlib.machinery.PathFinder.find_spec(name) is not None


def read_stamped(path: str) -> tuple[bytes, Stamp]:
    """Return what is in a file, and the stamp of exactly that."""
    with io.FileIO(path) as file:
        status = os.fstat(file.fileno())
        data = file.read()
    return data, Stamp(status.st_mtime_ns, len(data), hashlib.blake2b(data, digest_size=16).digest())
