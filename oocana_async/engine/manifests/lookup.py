"""Finding the file that a reference means (flow-format.md 1.4, 1.5)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from oocana_async.engine.manifests.blocks import SearchContext
from oocana_async.suggestions import suggest

SUFFIXES: Final = (".oo.yaml", ".oo.yml")


class Kind(Enum):
    """What a reference is expected to name: prefix of the file and directory in a package, in the order tried."""

    TASK = (("block", "blocks"), ("task", "tasks"))
    SUBFLOW = (("subflow", "subflows"),)
    SLOTFLOW = (("slotflow", "slotflows"),)
    SERVICE = (("service", "services"), ("service", "blocks"))

    @property
    def word(self) -> str:
        """The kind's name in messages."""
        return self.name.lower()


class Form(Enum):
    """How a reference is written."""

    SELF = "self"
    ABSOLUTE = "absolute"
    RELATIVE = "relative"
    PACKAGE = "package"
    DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A reference taken apart: `name` is the block's name or path, `package` is set for form PACKAGE only."""

    form: Form
    name: str
    package: str = ""


def parse_reference(text: str) -> Parsed:
    """Classify a reference, in the order of flow-format.md 1.4."""
    if text.startswith("self::"):
        return Parsed(Form.SELF, text.removeprefix("self::"))
    if os.path.isabs(text):  # noqa: PTH117 - references are text, not paths
        return Parsed(Form.ABSOLUTE, text)
    if text.startswith(("./", "../")):
        return Parsed(Form.RELATIVE, text)
    parts = text.split("::")
    if len(parts) > 1 and parts[0] and parts[1]:
        return Parsed(Form.PACKAGE, parts[1], parts[0])
    return Parsed(Form.DIRECT, text)


@dataclass(slots=True)
class Search:
    """One search: what was found, else where it looked and what was near.

    Attributes:
        path: the file, None when nothing was found.
        places: all places that were looked at, as written in messages.
    """

    path: Path | None = None
    places: list[Path] = field(default_factory=list)

    def in_directory(self, directory: Path, prefix: str) -> Path | None:
        """Look for `prefix.oo.yaml`, then `.yml`, in a directory."""
        self.places.append(directory / f"{prefix}{SUFFIXES[0]}")
        return _first_file(directory / f"{prefix}{suffix}" for suffix in SUFFIXES)

    def directory_or_named(self, path: Path, prefix: str) -> Path | None:
        """Look into a directory, or take a file that has exactly the wanted name."""
        if path.is_file():
            return path if path.name in {f"{prefix}{suffix}" for suffix in SUFFIXES} else None
        return self.in_directory(path, prefix)

    def directory_or_file(self, path: Path, prefix: str) -> Path | None:
        """Look into a directory, take the file itself, or one whose extension is replaced."""
        found = self.directory_or_named(path, prefix)
        if found is not None:
            return found
        bare = path.with_name(path.stem) if path.name else path
        if path.name:
            self.places.append(bare.with_name(f"{bare.name}{SUFFIXES[0]}"))
        return _first_file(bare.with_name(f"{bare.name}{suffix}") for suffix in SUFFIXES) if path.name else None


def _first_file(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def clean(path: Path | str) -> Path:
    """Return an absolute path without `.` and `..`, symbolic links left as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


def package_directory(package: str, context: SearchContext) -> str:
    """Return the name of a package's directory: with a version when one is known, whatever exists."""
    version = context.versions.get(package)
    return package if version is None else f"{package}-{version}"


def find(kind: Kind, text: str, context: SearchContext) -> Search:
    """Look a reference up.

    Args:
        kind: what it must name.
        text: the reference as written.
        context: where to look.

    Returns:
        The search, with `path` set when it found something.
    """
    parsed = parse_reference(text)
    search = Search()
    for prefix, folder in kind.value:
        found = _find_one(search, parsed, prefix, folder, context)
        if found is not None:
            search.path = found
            return search
    return search


def _find_one(search: Search, parsed: Parsed, prefix: str, folder: str, context: SearchContext) -> Path | None:
    match parsed.form:
        case Form.SELF:
            path = context.base.parent.parent / folder / parsed.name
            return _cleaned(search.directory_or_file(clean(path), prefix))
        case Form.ABSOLUTE | Form.RELATIVE:
            path = clean(context.base / parsed.name)
            stem = path.name.removesuffix(path.suffix)
            wanted = stem.removesuffix(".oo") if stem.endswith(".oo") else prefix
            return _cleaned(search.directory_or_file(path, wanted))
        case Form.PACKAGE:
            inner = Path(package_directory(parsed.package, context), folder, parsed.name)
            return _canonical(_search_paths(search, inner, prefix, context, files=False))
        case _:
            return _canonical(_search_paths(search, Path(parsed.name), prefix, context, files=True))


def _search_paths(search: Search, inner: Path, prefix: str, context: SearchContext, *, files: bool) -> Path | None:
    for base in context.search_paths:
        found = search.in_directory(base / inner, prefix)
        if found is not None:
            return found
    here = context.base / inner
    return search.directory_or_named(here, prefix) if files else search.in_directory(here, prefix)


def _cleaned(path: Path | None) -> Path | None:
    return None if path is None else clean(path)


def _canonical(path: Path | None) -> Path | None:
    return None if path is None else Path(os.path.realpath(path))


def explain(kind: Kind, text: str, context: SearchContext, places: Sequence[Path]) -> tuple[str, str]:
    """Return why nothing was found, naming all places, and a hint with near names."""
    searched = ", ".join(dict.fromkeys(str(place) for place in places)) or "no place at all"
    reason = f'the {kind.word} "{text}" was not found, searched: {searched}'
    parsed = parse_reference(text)
    if parsed.form is Form.PACKAGE and parsed.package in context.versions:
        reason += f'; the version of "{parsed.package}" is {context.versions[parsed.package]}'
    return reason, _near(kind, parsed, context)


def _near(kind: Kind, parsed: Parsed, context: SearchContext) -> str:
    if parsed.form is Form.PACKAGE:
        packages = _packages(context)
        if parsed.package not in packages and (hint := suggest(parsed.package, packages)):
            return hint
    name = Path(parsed.name).name
    names = sorted({entry for folder in _folders(kind, parsed, context) for entry in _children(folder)})
    return suggest(name, names)


def _packages(context: SearchContext) -> list[str]:
    directories = {entry for base in context.search_paths for entry in _children(base)}
    versioned = {f"{name}-{version}": name for name, version in context.versions.items()}
    return sorted({versioned.get(entry, entry) for entry in directories})


def _folders(kind: Kind, parsed: Parsed, context: SearchContext) -> Iterator[Path]:
    for _, folder in kind.value:
        if parsed.form is Form.SELF:
            yield context.base.parent.parent / folder
        elif parsed.form is Form.PACKAGE:
            inner = Path(package_directory(parsed.package, context), folder)
            yield from (base / inner for base in (*context.search_paths, context.base))
        elif parsed.form is Form.DIRECT:
            yield from (base / Path(parsed.name).parent for base in (*context.search_paths, context.base))
        else:
            yield clean(context.base / parsed.name).parent


def _children(directory: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in directory.iterdir() if entry.is_dir() or entry.name.endswith(SUFFIXES))
    except OSError:
        return []


def find_flow(path: Path) -> Path | None:
    """Return the flow file of a directory, or the file itself when it is named exactly so (flow-format.md 1.8)."""
    return _cleaned(Search().directory_or_named(path, "flow"))
