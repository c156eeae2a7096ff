"""Which version of a package is used, and where packages are (flow-format.md 1.6, 1.7)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from oocana_async.engine.manifests.blocks import SearchContext
from oocana_async.engine.manifests.lookup import SUFFIXES, package_directory
from oocana_async.engine.manifests.manifest import PackageManifest
from oocana_async.engine.manifests.reading.files import read_package_file

VersionKey: TypeAlias = tuple[tuple[tuple[int, int, str], ...], tuple[tuple[int, int, str], ...]]

_END: Final = (1, 0, "")
_SPLIT: Final = re.compile(r"[.\-_]|(?<=\d)(?=[a-zA-Z])|(?<=[a-zA-Z])(?=\d)")


def version_key(version: str) -> VersionKey:
    """Return what versions are ordered by: numbers, then none, then words; a pre-release is less than its release.

    Missing and zero parts are alike, and so are builds: `1.2` ties with `1.2.0`, `1.0.0+b1` with `1.0.0`.
    """
    text = version.strip().lower().removeprefix("v").partition("+")[0]
    release, _, pre = text.partition("-")
    numbers = [_part(part) for part in release.split(".")]
    while numbers and numbers[-1] == (2, 0, ""):
        numbers.pop()
    before = tuple(_part(part) for part in _SPLIT.split(pre)) if pre else ()
    return (*numbers, _END), (*((0, 0, ""), *before),) if pre else (_END,)


def _part(text: str) -> tuple[int, int, str]:
    return (2, int(text), "") if text.isdecimal() else (0, 0, text)


def package_root(manifest: Path) -> Path:
    """Return a manifest's package path: two levels above its directory, whatever is there."""
    return manifest.parent.parent.parent


def find_package_file(directory: Path) -> Path | None:
    """Return the package file of a directory."""
    paths = (directory / f"package{suffix}" for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def read_package(directory: Path) -> PackageManifest | None:
    """Return what the package file of a directory says, None when there is none that can be read."""
    path = find_package_file(directory)
    return None if path is None else read_package_file(path)


def installed_versions(search_paths: Sequence[Path]) -> dict[str, str]:
    """Return name -> greatest version of the packages that lie in versioned directories of the search paths."""
    versions: dict[str, str] = {}
    for directory in (entry for base in search_paths for entry in _directories(base)):
        package = read_package(directory)
        if package is None:
            continue
        version = package.version or ""
        name = package.name if package.name is not None else _stripped(directory.name, version)
        if name == directory.name:
            continue
        if name not in versions or version_key(version) > version_key(versions[name]):
            versions[name] = version
    return versions


def _directories(base: Path) -> list[Path]:
    try:
        return sorted(entry for entry in base.iterdir() if entry.is_dir())
    except OSError:
        return []


def _stripped(name: str, version: str) -> str:
    """Return what is left of a directory name without its version; a dash stays, so it is never found again."""
    return name.removesuffix(version) if name.endswith(version) else ""


def dependencies_of(directory: Path) -> Mapping[str, str]:
    """Return the `dependencies` of the package in a directory, empty when there is none."""
    package = read_package(directory)
    return {} if package is None else package.dependencies


def find_package(name: str, context: SearchContext) -> Path | None:
    """Return the directory of a package by name, None when it has no package file or is not there."""
    directory = package_directory(name, context)
    here = context.base / directory
    places = [here] if here.exists() else [base / directory for base in context.search_paths]
    found = next((place for place in places if place.exists()), None)
    return found if found is not None and find_package_file(found) is not None else None
