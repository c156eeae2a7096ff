"""Makes `import oocana` give this package's names, without and beside the official package of that name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from oocana_async.patching import SharedPatch

__all__ = ["SUBMODULES", "install_alias", "uninstall_alias"]

NAME = "oocana"
SUBMODULES = frozenset(
    (
        "context",
        "credential",
        "data",
        "extra",
        "handle",
        "internal",
        "mainframe",
        "preview",
        "schema",
        "serialization",
        "service",
        "throttler",
    )
)
"""Submodules of the official package (protocol.md 8.1); each of ours has all names."""

_NOT_ON_TOP = frozenset(
    (
        "COMPRESSION_OPTIONS_FILE",
        "CsvPreviewPayload",
        "DataFrame",
        "DataclassJSONEncoder",
        "InternalAPI",
        "OnlyEqualSelf",
        "OomolType",
        "PartialDataFrame",
        "SUPPORTED_COMPRESSION_METHODS",
        "ShapeDataFrame",
        "TablePreviewData",
        "compression_options",
        "compression_suffix",
        "throttle",
    )
)
"""Names that the official package has in submodules only."""
_NOT_OFFICIAL = frozenset(("install_alias", "uninstall_alias"))


class _AliasFinder(MetaPathFinder, Loader):
    """Finds `oocana` and its submodules; the names come from `oocana_async.compat` when the first is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != NAME or (name and name not in SUBMODULES):
            return None
        return ModuleSpec(fullname, self, origin="oocana_async.compat", is_package=not name)

    def exec_module(self, module: ModuleType) -> None:
        compat = importlib.import_module("oocana_async.compat")
        module.__doc__ = compat.__doc__
        hidden = _NOT_OFFICIAL
        if module.__name__ == NAME:
            hidden = _NOT_OFFICIAL | _NOT_ON_TOP
            module.__dict__["__getattr__"] = _submodule
        names: dict[str, Any] = {name: getattr(compat, name) for name in compat.__all__ if name not in hidden}
        module.__dict__.update(names, __all__=list(names))


def _submodule(name: str) -> ModuleType:
    """Import a submodule at its first use as an attribute: `oocana.data` works after `import oocana` alone."""
    if name in SUBMODULES:
        return importlib.import_module(f"{NAME}.{name}")
    raise AttributeError(f"module {NAME!r} (of oocana_async) has no attribute {name!r}")


_FINDER = _AliasFinder()


def install_alias() -> None:
    """Let `import oocana` give this package's names from now on, also where the official package is installed.

    May be called several times; each call needs its own `uninstall_alias`.
    """
    _alias.install()


def uninstall_alias() -> None:
    """Put back, with the last call of several, what `oocana` was before."""
    _alias.uninstall()


def _put_in_place() -> Callable[[], None]:
    """Hide what `oocana` is now, and have ours found; returns what puts the former back."""
    replaced = _take_out()
    sys.meta_path.insert(0, _FINDER)

    def restore() -> None:
        sys.meta_path.remove(_FINDER)
        _take_out()
        sys.modules.update(replaced)

    return restore


_alias = SharedPatch(_put_in_place)


def _take_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name == NAME or name.startswith(f"{NAME}.")]
    return {name: sys.modules.pop(name) for name in names}
