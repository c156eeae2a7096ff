"""What is worth a line while a flow runs, independent of how the line is drawn."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from oocana_async.watching.preview_text import SmallTable

__all__ = ["Entry", "EntryKind"]


class EntryKind(enum.Enum):
    """What an entry tells; the value is its word in plain lines."""

    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"
    LOG = "log"
    WARNING = "warning"
    ERROR = "error"
    PREVIEW = "preview"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Entry:
    """One remark about one node.

    Attributes:
        kind: what it tells.
        node: the node as `outer/inner`, empty for the run as a whole.
        lines: text, at least one line except for a plain start.
        table: a table to show below the text.
        stream: "stderr" for log lines that came from there.
    """

    kind: EntryKind
    node: str
    lines: tuple[str, ...] = ()
    table: SmallTable | None = None
    stream: str = "stdout"
