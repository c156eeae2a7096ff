"""Variables from an env file, and which of them win over inherited ones (flow-format.md 8, protocol.md 2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["read_env_file", "variables_on_top"]


def read_env_file(path: Path) -> dict[str, str]:
    """Read `KEY=VALUE` lines as the reference does: split at the first `=`, both sides trimmed, no quotes.

    The reference knows no comments either: it drops every line without `=` unseen, and makes of `# A=1` a variable
    called `# A`. Nobody can want either, so here lines that begin with `#` are skipped, and a line that is no pair is
    a mistake that is named. A file of pairs and blank lines means the same to both.

    Args:
        path: the file.

    Returns:
        The pairs in order; of a key that stands twice the last value counts.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no UTF-8 text, or has a line that is no pair; the text names the place.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text") from error
    numbered = ((number, line.strip()) for number, line in enumerate(lines, start=1))
    return dict(_pair(path, number, line) for number, line in numbered if line and not line.startswith("#"))


def _pair(path: Path, number: int, line: str) -> tuple[str, str]:
    key, sign, value = (part.strip() for part in line.partition("="))
    if not sign or not key or any(mark.isspace() for mark in key):
        raise ValueError(f"{path}:{number}: expected KEY=VALUE, found {line!r}")
    return key, value


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
