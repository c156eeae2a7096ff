"""Variables from an env file, and which of them win over inherited ones (flow-format.md 8, protocol.md 2.2)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["parse_env_file", "read_env_file", "variables_on_top"]


def parse_env_file(text: str) -> dict[str, str]:
    """Read `KEY=VALUE` lines: split at the first `=`, trimmed; there are no quotes and no comments.

    Args:
        text: content of the file.

    Returns:
        The pairs in order; lines without `=` or without a key are left out.
    """
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip() for key, sign, value in pairs if sign and key.strip()}


def read_env_file(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read an env file.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is no UTF-8 text.
    """
    return parse_env_file(Path(path).read_text(encoding="utf-8"))


def variables_on_top(
    given: Mapping[str, str] | None, inherited: Mapping[str, str], *, retain: Iterable[str] = ()
) -> dict[str, str]:
    """Return the variables that override inherited ones.

    Args:
        given: pairs of the env file.
        inherited: the environment of this process; its `OOMOL_*` variables win over the file.
        retain: further inherited variables that win.
    """
    kept = {key for key in inherited if key.startswith("OOMOL_")} | set(retain).intersection(inherited)
    return {key: value for key, value in (given or {}).items() if key not in kept}
