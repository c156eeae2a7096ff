"""A run as a live display: entries scroll by, the nodes and their progress stay below. The only module with rich."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from oocana_async.cli.display.plain import MAX_SUMMARY, closing_lines, summary_row
from oocana_async.watching.entries import Entry, EntryKind
from oocana_async.watching.node_view import NodePhase, NodeView
from oocana_async.watching.preview_text import SmallTable
from oocana_async.watching.state import RunView
from oocana_async.watching.text import clock, shorten

__all__ = ["LiveDisplay", "entry_renderable", "nodes_renderable", "summary_renderable"]

_STYLES: Final = {
    EntryKind.STARTED: "cyan",
    EntryKind.FINISHED: "green",
    EntryKind.FAILED: "bold red",
    EntryKind.LOG: "dim",
    EntryKind.WARNING: "yellow",
    EntryKind.ERROR: "red",
    EntryKind.PREVIEW: "magenta",
    EntryKind.MESSAGE: "blue",
}
_PHASE_STYLES: Final = {
    NodePhase.WAITING: "dim",
    NodePhase.RUNNING: "cyan",
    NodePhase.FINISHED: "green",
    NodePhase.FAILED: "bold red",
    NodePhase.STOPPED: "yellow",
    NodePhase.SKIPPED: "dim",
}
_FRAME_LINES: Final = 6
"""Lines of the terminal that the list of nodes leaves to the heading and to entries."""


def entry_renderable(entry: Entry) -> RenderableType:
    """Return an entry as coloured text, with its table if it has one."""
    style = _STYLES[entry.kind]
    first, *rest = entry.lines or ("",)
    text = Text.assemble((f"{entry.kind.value:<9} ", style), (entry.node, "bold"), " ")
    text.append(first, style="red" if entry.stream == "stderr" else "")
    for line in rest:
        text.append(f"\n{' ' * 10}{line}")
    if entry.table is None:
        return text
    return Group(text, Padding(table_renderable(entry.table), (0, 0, 0, 10)))


def table_renderable(content: SmallTable) -> Table:
    """Return a preview table."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in content.columns:
        table.add_column(Text(name), overflow="ellipsis", no_wrap=True)
    for row in content.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def nodes_renderable(view: RunView, now: int, height: int) -> RenderableType:
    """Return the heading and the nodes that matter most now, in at most `height` lines."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=2)
    grid.add_column(width=16)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=3)
    shown, hidden = _choose(view, max(1, height - _FRAME_LINES))
    for node in shown:
        grid.add_row(*_node_cells(node, now))
    lines: list[RenderableType] = [_heading(view, now), grid]
    if hidden:
        lines.append(Text(f"  and {hidden} more nodes", style="dim"))
    return Group(*lines)


def _heading(view: RunView, now: int) -> Text:
    done = view.count(NodePhase.FINISHED)
    running = view.count(NodePhase.RUNNING)
    text = Text.assemble(("running ", "bold cyan"), shorten(view.path, 60), f"  {clock(view.elapsed(now))}  ")
    text.append(f"{done} of {len(view.nodes)} nodes finished, {running} running", style="dim")
    return text


def _choose(view: RunView, room: int) -> tuple[list[NodeView], int]:
    """Return the nodes to show in their order: all if there is room, else those that run or failed, then the rest."""
    nodes = list(view.nodes.values())
    if len(nodes) <= room:
        return nodes, 0
    rank = {NodePhase.RUNNING: 0, NodePhase.FAILED: 0, NodePhase.WAITING: 2}
    best = sorted(range(len(nodes)), key=lambda index: rank.get(nodes[index].phase, 1))[:room]
    return [nodes[index] for index in sorted(best)], len(nodes) - room


def _node_cells(node: NodeView, now: int) -> Iterator[RenderableType]:
    phase = node.phase
    elapsed = node.elapsed(now)
    yield Text(f"  {phase.value:<8}", style=_PHASE_STYLES[phase])
    yield Text(shorten(node.name, 40))
    yield _bar(node, phase)
    runs = f"{node.finished}/{node.started} " if node.started > 1 else ""
    yield Text(f"{runs}{'' if elapsed is None else clock(elapsed)}", style="dim")
    yield Text(node.last_line if phase is NodePhase.RUNNING else node.result(), style="dim")


def _bar(node: NodeView, phase: NodePhase) -> RenderableType:
    if phase is NodePhase.RUNNING and node.progress is not None:
        return ProgressBar(total=100, completed=node.progress, width=16)
    return Text("")


def summary_renderable(view: RunView, now: int) -> RenderableType:
    """Return the table of nodes after the run, and the line that says how it ended."""
    nodes = view.nested()
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in ("node", "state", "runs", "time"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("runs", "time") else "left")
    # Only columns that may wrap give way on a narrow terminal; the cells themselves say that they are cut instead.
    table.add_column("result")
    for node in nodes[:MAX_SUMMARY]:
        name, state, *rest = summary_row(node, now)
        table.add_row(
            Text(name),
            Text(state, style=_PHASE_STYLES[node.phase]),
            *(Text(cell, no_wrap=True, overflow="ellipsis") for cell in rest),
        )
    lines: list[RenderableType] = [table] if nodes else []
    if len(nodes) > MAX_SUMMARY:
        lines.append(Text(f"... {len(nodes) - MAX_SUMMARY} more nodes", style="dim"))
    ended_well = view.error is None and not view.was_interrupted
    lines += [Text(line, style="bold green" if ended_well else "bold red") for line in closing_lines(view, now)]
    return Group(*lines)


class LiveDisplay:
    """Draws a run on a terminal. Refreshed by its owner; between `start` and `stop` the cursor is hidden.

    Args:
        view: what is drawn.
        out: the terminal.
        now: milliseconds since the epoch.
    """

    def __init__(self, view: RunView, out: TextIO, now: Callable[[], int], *, console: Console | None = None) -> None:
        self._view = view
        self._now = now
        self._console = console or Console(file=out, highlight=False, markup=False, emoji=False, soft_wrap=False)
        self._live = Live(
            get_renderable=self._render,
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def start(self) -> None:
        """Show the display."""
        self._live.start()

    def show(self, entry: Entry) -> None:
        """Print an entry above the nodes."""
        self._console.print(entry_renderable(entry))

    def print(self, text: str) -> None:
        """Print a line above the nodes."""
        self._console.print(Text(text, style="bold yellow"))

    def refresh(self) -> None:
        """Draw the nodes as they are now."""
        self._live.refresh()

    def stop(self) -> None:
        """Take the nodes away and give the terminal back; may be called twice."""
        self._live.stop()

    def summarise(self) -> None:
        """Print the nodes and how the run ended, after `stop`."""
        self._console.print(summary_renderable(self._view, self._now()))

    def _render(self) -> RenderableType:
        return nodes_renderable(self._view, self._now(), self._console.height)
