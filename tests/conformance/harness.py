"""Run one conformance case with the embedded engine and bring its events into comparable form."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tests.conformance.compare import Event, read_events
from tests.conformance.normalise import normalise

HERE = Path(__file__).resolve().parent
COPIES = HERE / "cases"
ORIGINALS = HERE.parents[2] / "shared" / "conformance"
"""Where the recordings come from; stands beside a checkout of the whole project, not beside a plain clone."""


@dataclass(frozen=True)
class Case:
    """A recorded case: its files, how to run it and what the reference reported."""

    directory: Path
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def expected(self) -> list[Event]:
        return read_events(self.directory / "events.jsonl")

    @property
    def exit_code(self) -> int:
        """The exit code of `oocana-async run`: the 255 of the reference is 2 when nothing could be loaded, else 1."""
        if self.settings["exit_code"] != 255:
            return cast("int", self.settings["exit_code"])
        started = any(
            event["type"] in ("FlowStarted", "SubflowBlockStarted", "BlockStarted") for event in self.expected
        )
        return 1 if started else 2


@dataclass(frozen=True)
class Run:
    """What a run left behind."""

    events: list[Event]
    exit_code: int
    log: str = field(repr=False)

    def of(self, kind: str) -> list[Event]:
        """Return the events of one type."""
        return [event for event in self.events if event["type"] == kind]


def cases_directory() -> Path:
    """Return the recordings themselves when they are there, else our copies."""
    return ORIGINALS if ORIGINALS.is_dir() else COPIES


def load_cases(directory: Path) -> list[Case]:
    """Read all cases of a directory in the order of their numbers."""
    found = sorted(path.parent for path in directory.glob("*/case.json"))
    return [Case(path, json.loads((path / "case.json").read_text(encoding="utf-8"))) for path in found]


def arguments(case: Case, place: Path, session: str, workplace: Path) -> list[str]:
    """Return the command line for a case that was copied to `place`."""
    settings = case.settings
    line = ["run", str(place / settings["run"]), "--json", "--session", session]
    for flag, name in (("--session-dir", "session"), ("--temp-root", "tmp"), ("--project-data", "data")):
        (workplace / name).mkdir()
        line += [flag, str(workplace / name)]
    line += ["--pkg-data-root", str(workplace / "data")]
    if settings.get("search_paths"):
        line += ["--search-paths", ",".join(str(place / path) for path in settings["search_paths"])]
    if settings.get("nodes"):
        line += ["--nodes", ",".join(settings["nodes"])]
    for flag in ("inputs", "nodes_inputs"):
        if settings.get(flag) is not None:
            line += [f"--{flag.replace('_', '-')}", json.dumps(settings[flag])]
    return line


@contextlib.contextmanager
def home_directory(path: Path) -> Iterator[None]:
    """Give the run a home directory of its own."""
    before = os.environ.get("HOME")
    os.environ["HOME"] = str(path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = before


def run_command(line: Sequence[str]) -> tuple[int, str, str]:
    """Run `oocana-async` in this process and return its exit code and what it wrote to stdout and stderr."""
    from oocana_async.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(list(line))
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
    return int(code or 0), out.getvalue(), err.getvalue()


def run_case(case: Case, workplace: Path) -> Run:
    """Run a copy of the case in an empty directory."""
    place, home, session = workplace / "case", workplace / "home", str(uuid.uuid4())
    shutil.copytree(case.directory, place)
    if case.settings.get("home"):
        shutil.copytree(case.directory / case.settings["home"], home)
    else:
        home.mkdir()
    line = arguments(case, place, session, workplace)
    with home_directory(home):
        code, out, err = run_command(line)
    events = normalise(
        [json.loads(text) for text in out.splitlines() if text.strip()],
        case_dir=str(place),
        session_id=session,
        session_dir=str(workplace / "session"),
        tmp_dirs=[str(workplace / "tmp"), str(workplace / "data")],
    )
    return Run(events, code, err)
