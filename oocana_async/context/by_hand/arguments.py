"""Which Context the arguments of its constructor ask for, and what is said when they do not fit together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from oocana_async.context.by_hand.desk import desk_parts
from oocana_async.context.by_hand.job import job_parts
from oocana_async.context.members import ContextParts

__all__ = ["parts_by_hand"]

_DESK = frozenset(("inputs", "inputs_def", "outputs_def", "session_dir", "tmp_dir"))
_NEEDED = {
    "blockInfo": "BlockInfo(session_id=..., job_id=..., stacks=[...])",
    "mainframe": "an object with send(job_info, message) and report(block_info, message)",
    "session_dir": "the directory that all blocks of the session share",
}
_MAPPINGS = {
    "inputs": "a dict of the block's inputs",
    "inputs_def": "a dict of handle definitions",
    "outputs": "a dict of handle definitions",
    "outputs_def": "a dict of handle definitions",
}


def parts_by_hand(arguments: Mapping[str, Any]) -> ContextParts:
    """Make the parts of a Context that is made by hand: around a mainframe, or for the desk.

    Args:
        arguments: those of the constructor by name; `UNSET` for those that were not given.

    Raises:
        TypeError: They do not fit together, or one is of another kind; the text names it and what would be right.
        ValueError: A handle definition lacks its `handle`.
    """
    given = {name: value for name, value in arguments.items() if value is not UNSET}
    for name in _MAPPINGS.keys() & given.keys():
        _require_mapping(name, given[name])
    for name in ("session_dir", "tmp_dir") & given.keys():
        given[name] = _path(name, given[name])
    if "blockInfo" in given or "mainframe" in given:
        _require_job(given)
        return job_parts(**given)
    foreign = sorted(given.keys() - _DESK)
    if foreign:
        raise TypeError(f"{', '.join(foreign)}: only together with blockInfo and mainframe; {_needs(*_NEEDED)}")
    return desk_parts(**given)


def _require_job(given: dict[str, Any]) -> None:
    missing = [name for name in _NEEDED if given.get(name) is None]
    if missing:
        raise TypeError(f"a Context around a mainframe lacks {', '.join(missing)}; {_needs(*missing)}")
    if "outputs" in given and "outputs_def" in given:
        raise TypeError("outputs and outputs_def are two names of the same definitions; give outputs_def alone")
    methods = [name for name in ("send", "report") if not callable(getattr(given["mainframe"], name, None))]
    if methods:
        kind = type(given["mainframe"]).__name__
        raise TypeError(f"mainframe is a {kind} without {' and '.join(methods)}; {_needs('mainframe')}")


def _needs(*names: str) -> str:
    return "it takes " + ", ".join(f"{name}={_NEEDED[name]}" for name in names)


def _require_mapping(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{name} should be {_MAPPINGS[name]}, but got {type(value).__name__}")


def _path(name: str, value: Any) -> str | None:
    if value is None:
        return None
    try:
        return os.fsdecode(value)
    except TypeError:
        raise TypeError(f"{name} should be the path of a directory, but got {type(value).__name__}") from None
