"""What can be said about a manifest: errors, warnings, notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from oocana_async.errors import ManifestError

__all__ = ["Finding", "Severity", "from_fault", "listed"]

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark about one place of a manifest.

    Attributes:
        severity: "error" when the flow cannot run as written, "warning" when it runs but hardly as meant, "note" for
            what may well be meant so.
        code: short stable name, such as `unknown-node`.
        path: the file, None when there is none.
        line: 1-based line, None when the file as a whole is meant.
        column: 1-based column.
        message: what was found and what would be right.
        hint: a suggestion, else empty.
    """

    severity: Severity
    code: str
    path: Path | None
    line: int | None
    column: int | None
    message: str
    hint: str = ""

    @property
    def place(self) -> str:
        """`file:line:column`, as much of it as is known."""
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)

    def __str__(self) -> str:
        text = f"{self.place}: {self.severity}: {self.message}" if self.place else f"{self.severity}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text


def from_fault(fault: ManifestError) -> Finding:
    """Return the finding that stands for a fault that makes a file unreadable."""
    return Finding("error", "manifest", fault.path, fault.line, fault.column, fault.reason, fault.hint)


def listed(words: Sequence[str], none: str = "nothing") -> str:
    """Return `"a", "b" or "c"`."""
    quoted = [f'"{word}"' for word in words]
    if len(quoted) < 2:
        return quoted[0] if quoted else none
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"
