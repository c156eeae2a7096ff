"""A run drawn as plain lines and by rich."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from oocana_async.cli.display.live import LiveDisplay, entry_renderable, nodes_renderable, summary_renderable
from oocana_async.cli.display.plain import closing_lines, entry_lines, failure_lines, summary_lines
from oocana_async.watching.entries import Entry, EntryKind
from oocana_async.watching.preview_text import SmallTable
from oocana_async.watching.state import RunView
from oocana_async.wire.messages.report import decode_report

CASES = Path(__file__).resolve().parents[2] / "conformance" / "cases"
TABLE = Entry(
    EntryKind.PREVIEW, "n", ("table: 2 rows x 2 columns",), SmallTable(("a", "long"), (("1", "2"), ("3", "4")))
)


def recorded(case: str, *, events: int | None = None) -> RunView:
    """Return the state after the first `events` events of a recording, or after all."""
    (directory,) = CASES.glob(f"{case}-*")
    view = RunView()
    for line in (directory / "events.jsonl").read_bytes().splitlines()[:events]:
        event = decode_report(line)
        assert event is not None
        view.apply(event)
    return view


def drawn(thing: object, *, height: int = 25) -> list[str]:
    console = Console(record=True, width=80, height=height, file=io.StringIO(), force_terminal=True)
    console.print(thing)
    return [line.rstrip() for line in console.export_text().splitlines()]


@pytest.mark.parametrize(
    ("entry", "lines"),
    [
        (Entry(EntryKind.STARTED, "n"), ["started   n"]),
        (Entry(EntryKind.LOG, "a/n", ("one", "two")), ["log       a/n: one", "          two"]),
        (Entry(EntryKind.LOG, "n", ("oh",), stream="stderr"), ["log       n (stderr): oh"]),
        (Entry(EntryKind.FINISHED, "n", ("in 1 s",)), ["finished  n in 1 s"]),
        (TABLE, ["preview   n: table: 2 rows x 2 columns", "          a  long", "          1  2", "          3  4"]),
    ],
)
def test_entry_as_plain_lines(entry: Entry, lines: list[str]) -> None:
    assert list(entry_lines(entry)) == lines


def test_summary_has_state_runs_time_and_result() -> None:
    lines = list(summary_lines(recorded("091"), 0))
    assert [line.split()[:3] for line in lines] == [
        ["node", "state", "runs"],
        ["s", "failed", "1"],
        ["s/t", "failed", "1"],
        ["z", "not", "run"],
    ]


def test_end_names_node_and_cause() -> None:
    view = recorded("091")
    assert list(closing_lines(view, 0)) == ["failed after 0.00 s: 3 nodes"]
    (line,) = failure_lines(view)
    assert line.endswith('flow.oo.yaml failed. The cause in node "s/t": <traceback> ValueError: boom')


def test_end_of_a_run_that_was_cut_off() -> None:
    assert list(closing_lines(recorded("002", events=6), 0)) == ["interrupted after 0.00 s: 3 nodes"]


def test_outputs_of_a_subflow_are_shown_at_the_end() -> None:
    assert next(iter(closing_lines(recorded("132"), 0))).startswith("outputs: ")


def test_entry_in_colour_has_the_same_text() -> None:
    assert drawn(entry_renderable(TABLE)) == [
        "preview   n table: 2 rows x 2 columns",
        "          a  long",
        "          1  2",
        "          3  4",
    ]


def test_markup_in_logs_is_text() -> None:
    assert drawn(entry_renderable(Entry(EntryKind.LOG, "n", ("[bold]x[/bold] :smile:",)))) == [
        "log       n [bold]x[/bold] :smile:"
    ]


def test_live_nodes_show_state_and_progress() -> None:
    view = recorded("002", events=6)
    view.nodes[("b",)].progress = 50
    lines = drawn(nodes_renderable(view, 0, 25))
    assert "1 of 3 nodes finished, 1 running" in lines[0]
    assert [line.split()[:2] for line in lines[1:]] == [["finished", "a"], ["running", "b"], ["waiting", "c"]]
    assert "━━━" in lines[2]


def test_live_nodes_fit_the_terminal() -> None:
    view = RunView()
    names = [f"n{number}" for number in range(10_000)]
    head = {"session_id": "S", "job_id": "J", "flow_path": "f", "stacks": []}
    plan = {"type": "FlowNodesWillRun", **head, "start_nodes": names, "mid_nodes": [], "end_nodes": []}
    event = decode_report(json.dumps(plan).encode())
    assert event is not None
    view.apply(event)
    view.nodes[("n9000",)].begin(0)
    lines = drawn(nodes_renderable(view, 0, 20))
    assert len(lines) <= 20
    assert any(line.split()[:2] == ["running", "n9000"] for line in lines)
    assert lines[-1].strip() == "and 9986 more nodes"


def test_summary_by_rich_says_how_it_ended() -> None:
    lines = drawn(summary_renderable(recorded("002"), 0))
    assert lines[0].split() == ["node", "state", "runs", "time", "result"]
    assert lines[-1] == "finished after 0.00 s: 3 nodes"


def test_summary_on_a_narrow_terminal_shortens_results_only() -> None:
    view = recorded("002")
    node = view.nodes.pop(("a",))
    node.name = "summarise"
    node.outputs = {"picture": "x" * 200, "more": "y" * 200}
    view.nodes["summarise",] = node
    lines = drawn(summary_renderable(view, 0))
    assert lines[0].split() == ["node", "state", "runs", "time", "result"]
    assert any(line.startswith("summarise ") for line in lines)


def test_display_leaves_entries_and_a_visible_cursor() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, height=25, force_terminal=True, color_system=None)
    display = LiveDisplay(recorded("002", events=6), out, lambda: 0, console=console)
    display.start()
    display.show(Entry(EntryKind.LOG, "a", ("hello",)))
    display.refresh()
    display.stop()
    display.stop()
    text = out.getvalue()
    assert "log       a hello" in text
    assert "waiting" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    console.print(entry_renderable(Entry(EntryKind.FAILED, "n", ("boom",))))
    assert "\x1b[31m" not in out.getvalue()
    assert ";31m" not in out.getvalue()
