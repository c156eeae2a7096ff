"""Says what a package `oocana` offers: names, parameters, attributes, results of calls. Runs in any interpreter.

As a program it prints the table of the installed package as JSON; with `--calls` it evaluates the expressions that it
reads as JSON from stdin. It looks at objects only, and never at the code of the package.
"""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import json
import sys
import typing
from types import ModuleType
from typing import Any

SUBMODULES = (
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
_BUILTIN = (object, dict, Exception, BaseException)
_SPECIAL = ("__getitem__", "__contains__", "__setitem__")
_CONSTANTS = (str, int, list, tuple, dict, set, frozenset)


def describe() -> dict[str, Any]:
    """Return the table: module to name to what it is."""
    top = importlib.import_module("oocana")
    table = {"oocana": {name: entry(value) for name, value in _public(top).items() if not inspect.ismodule(value)}}
    for name in SUBMODULES:
        module = importlib.import_module(f"oocana.{name}")
        own = {key: value for key, value in _public(module).items() if _is_own(key, value, module)}
        table[f"oocana.{name}"] = {key: entry(value) for key, value in own.items()}
    return table


def call(expressions: typing.Iterable[str]) -> list[str]:
    """Return what each expression gives: its repr, or `raises` with the classes of the error and its text."""
    names: dict[str, Any] = dict(vars(importlib.import_module("oocana")))
    for name in SUBMODULES:
        names.update(_public(importlib.import_module(f"oocana.{name}")))
    names.update((name, importlib.import_module(name)) for name in ("collections", "copy", "dataclasses", "pickle"))
    return [_outcome(expression, names) for expression in expressions]


def _outcome(expression: str, names: dict[str, Any]) -> str:
    try:
        return repr(eval(expression, dict(names)))
    except Exception as error:
        kinds = " ".join(kind.__name__ for kind in type(error).__mro__[:-2])
        return f"raises {kinds}: {error}"


def _public(module: ModuleType) -> dict[str, Any]:
    return {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}


def _is_own(name: str, value: Any, module: ModuleType) -> bool:
    """Say whether a name was defined in a module, and not only imported there."""
    if inspect.ismodule(value) or getattr(typing, name, None) is value or hasattr(collections.abc, name):
        return False
    home = getattr(value, "__module__", None)
    return home in (module.__name__, "typing") or (home is None and isinstance(value, _CONSTANTS))


def entry(value: Any) -> Any:
    """Return what a name is: the signature of a function, the keys of a dictionary, the members of a class."""
    if not inspect.isclass(value):
        return _signature(value) if inspect.isroutine(value) else "value"
    if typing.is_typeddict(value):
        return {"keys": sorted(typing.get_type_hints(value))}
    return {"made with": _signature(value), **_members(value)}


def _members(kind: type) -> dict[str, str]:
    builtin = {name for base in kind.__mro__ if base in _BUILTIN for name in vars(base)}
    names = {name for base in kind.__mro__ for name in (*vars(base), *vars(base).get("__annotations__", ()))} - builtin
    return {name: _member(kind, name) for name in sorted(names) if not name.startswith("_") or name in _SPECIAL}


def _member(kind: type, name: str) -> str:
    found = getattr(kind, name, None)
    return _signature(found) if callable(found) and not inspect.isclass(found) else "attribute"


def _signature(function: Any) -> str:
    """Return names, kinds and defaults of the parameters as they are written."""
    try:
        found = inspect.signature(function)
    except (ValueError, TypeError):
        return "(?)"
    plain = [one.replace(annotation=inspect.Parameter.empty) for one in found.parameters.values()]
    return str(inspect.Signature(plain))


if __name__ == "__main__":
    answer: Any = call(json.load(sys.stdin)) if "--calls" in sys.argv else describe()
    print(json.dumps(answer, indent=1, sort_keys=True))
