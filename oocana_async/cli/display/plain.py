"""A run as plain lines: for pipes, files and terminals that can do no better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from oocana_async.watching.entries import Entry, EntryKind
from oocana_async.watching.node_view import NodeView
from oocana_async.watching.preview_text import SmallTable
from oocana_async.watching.state import RunView
from oocana_async.watching.text import brief, brief_handles, clock, headline, printable, shorten

__all__ = ["closing_lines", "entry_lines", "failure_lines", "grid", "summary_lines"]

INDENT: Final = " " * 10
MAX_SUMMARY: Final = 200
"""Nodes that the summary lists; of more only the number is told."""


def entry_lines(entry: Entry) -> Iterator[str]:
    """Yield the lines of one entry: its kind, the node and the text; further lines are indented."""
    first, *rest = entry.lines or ("",)
    joint = " " if entry.kind in (EntryKind.STARTED, EntryKind.FINISHED, EntryKind.FAILED) else ": "
    stream = " (stderr)" if entry.stream == "stderr" else ""
    yield f"{entry.kind.value:<9} {entry.node}{stream}{joint}{first}".rstrip()
    yield from (f"{INDENT}{line}".rstrip() for line in rest)
    if entry.table is not None:
        yield from (f"{INDENT}{line}" for line in table_lines(entry.table))


def table_lines(table: SmallTable) -> Iterator[str]:
    """Yield a table as aligned columns."""
    yield from grid([table.columns, *table.rows])


def grid(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows of text as columns that are as wide as their widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def summary_lines(view: RunView, now: int) -> Iterator[str]:
    """Yield one line per node, with its state, runs, time and result, under a heading."""
    nodes = view.nested()
    if not nodes:
        return
    rows = [("node", "state", "runs", "time", "result"), *(summary_row(node, now) for node in nodes[:MAX_SUMMARY])]
    yield from grid(rows)
    if len(nodes) > MAX_SUMMARY:
        yield f"... {len(nodes) - MAX_SUMMARY} more nodes"


def summary_row(node: NodeView, now: int) -> tuple[str, str, str, str, str]:
    """Return what the summary says of a node."""
    elapsed = node.elapsed(now)
    took = "" if elapsed is None else clock(elapsed)
    return shorten(node.name, 40), node.phase.value, str(node.started), took, shorten(node.result(), 80)


def closing_lines(view: RunView, now: int) -> Iterator[str]:
    """Yield how the run ended; nothing is said here of why it failed."""
    if view.outputs:
        values = {handle: brief(value, 200) for handle, value in view.outputs.items()}
        yield f"outputs: {brief_handles(values, 2000)}"
    count = len(view.nodes)
    words = [f"{count} node{'s' * (count != 1)}"]
    if view.warnings:
        words.append(f"{view.warnings} warning{'s' * (view.warnings != 1)}")
    ending = "interrupted" if view.was_interrupted else "failed" if view.error is not None else "finished"
    yield f"{ending} after {clock(view.elapsed(now))}: {', '.join(words)}"


def failure_lines(view: RunView) -> Iterator[str]:
    """Yield why the run failed: one line, and the whole error below it when nothing has told it yet."""
    if view.error is None or view.was_interrupted:
        return
    cause = view.cause or view.error
    place = view.place_of(*view.failed_at) if view.failed_at else None
    where = f' in node "{view.failed_node}"' if view.failed_node else ""
    where += f" ({place})" if place else ""
    reason = f"{view.error} The cause{where}: {headline(cause)}" if view.cause else headline(view.error)
    yield f"error: {reason}"
    if cause not in view.told and "\n" in cause:
        yield from (f"{INDENT}{printable(line)}" for line in cause.splitlines())
