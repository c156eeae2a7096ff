"""The examples as a user runs them: by the command, from an empty directory, with results in `out/`."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
COMMAND = Path(sys.executable).with_name("oocana-async")


@dataclass(frozen=True)
class Example:
    """A finished run: its events, and the directory in which it was started."""

    events: list[dict[str, Any]]
    place: Path

    def of(self, kind: str, node: str) -> list[dict[str, Any]]:
        """Return the events of one type that belong to one node."""
        return [
            event
            for event in self.events
            if event["type"] == kind and event["stacks"] and event["stacks"][-1]["node_id"] == node
        ]

    def result(self, node: str) -> dict[str, Any]:
        """Return what the only run of a node returned."""
        (finished,) = self.of("BlockFinished", node)
        result: dict[str, Any] = finished["result"]
        return result

    def previews(self, node: str) -> list[dict[str, Any]]:
        return [event["payload"] for event in self.of("BlockPreview", node)]


def run_example(name: str, place: Path, *flags: str) -> Example:
    line = [str(COMMAND), "run", str(EXAMPLES / name / "flows" / name), "--json", *flags]
    line += ["--session-dir", str(place / "session"), "--temp-root", str(place), "--pkg-data-root", str(place)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=place, timeout=100)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return Example([json.loads(text) for text in done.stdout.splitlines()], place)


@pytest.fixture(scope="module")
def penguins(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return run_example("penguins", tmp_path_factory.mktemp("penguins"))


@pytest.fixture(scope="module")
def earthquakes(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return run_example("earthquakes", tmp_path_factory.mktemp("earthquakes"))


@pytest.fixture(scope="module")
def climate(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return run_example("climate", tmp_path_factory.mktemp("climate"))


def test_penguins_writes_its_report_where_it_says(penguins: Example) -> None:
    folder = penguins.place / "out" / "penguins"
    assert sorted(path.name for path in folder.iterdir()) == [
        "body_mass_g-by-flipper_length_mm.png",
        "report.md",
        "summary.csv",
    ]
    assert penguins.result("report")["files"][0] == str(folder / "report.md")
    assert "| Gentoo | 119 |" in (folder / "report.md").read_text(encoding="utf-8")
    assert [event["log"] for event in penguins.of("BlockLog", "report")] == [f"the report is {folder / 'report.md'}"]


def test_penguins_drops_incomplete_rows_with_a_warning(penguins: Example) -> None:
    assert [event["output"] for event in penguins.of("BlockOutput", "clean") if event["handle"] == "dropped"] == [11]
    assert len(penguins.of("BlockWarning", "clean")) == 1


def test_penguins_shows_tables_and_a_figure(penguins: Example) -> None:
    (table,), (summary,), (figure,) = (penguins.previews(node) for node in ("load", "summarise", "scatter"))
    assert (table["type"], table["data"]["row_count"]) == ("table", 344)
    assert summary["data"]["columns"][:3] == ["species", "sex", "birds"]
    assert figure["data"].startswith("data:image/png;base64,")


def test_penguins_fits_a_line_per_species(penguins: Example) -> None:
    lines = penguins.result("fit")["lines"]
    assert [line["species"] for line in lines] == ["Adelie", "Chinstrap", "Gentoo"]
    assert all(30 < line["slope"] < 60 for line in lines)


def test_penguins_takes_another_folder_by_input(tmp_path: Path) -> None:
    run_example("penguins", tmp_path, "--nodes-inputs", json.dumps({"scatter": {"folder": str(tmp_path / "mine")}}))
    assert (tmp_path / "mine" / "report.md").exists()
    assert not (tmp_path / "out").exists()


def test_earthquakes_streams_every_row_to_a_consumer(earthquakes: Example) -> None:
    assert len(earthquakes.of("BlockOutput", "feed")) == 1679
    assert len(earthquakes.of("BlockFinished", "assess")) == 1679


def test_earthquakes_consumes_up_to_sixteen_at_once(earthquakes: Example) -> None:
    running: set[str] = set()
    most = 0
    for event in earthquakes.events:
        if not event.get("stacks") or event["stacks"][-1]["node_id"] != "assess":
            continue
        if event["type"] == "BlockStarted":
            running.add(event["job_id"])
        elif event["type"] == "BlockFinished":
            running.discard(event["job_id"])
        most = max(most, len(running))
    assert 1 < most <= 16


def test_earthquakes_lists_the_strong_ones_in_order(earthquakes: Example) -> None:
    with (earthquakes.place / "out" / "earthquakes" / "alerts.csv").open(encoding="utf-8") as file:
        alerts = list(csv.DictReader(file))
    assert earthquakes.result("report")["alerts"] == len(alerts) == 85
    assert all(float(alert["magnitude"]) >= 4.5 for alert in alerts)
    assert [alert["time"] for alert in alerts] == sorted(alert["time"] for alert in alerts)


def test_climate_runs_classic_scriptlets_as_they_are(climate: Example) -> None:
    assert climate.result("draw")["sentence"] == "The world is 1.18 degrees warmer."
    assert (climate.place / "session" / "temperature.png").read_bytes().startswith(b"\x89PNG")


def test_climate_shows_the_figure_of_pyplot(climate: Example) -> None:
    figure, text = climate.previews("draw")
    assert figure["type"] == "image"
    assert len(figure["data"]) == 1
    assert figure["data"][0].startswith("data:image/png;base64,")
    assert text["type"] == "text"


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_example_names_source_and_licence_of_its_data(name: str) -> None:
    text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    data = [path.name for path in (EXAMPLES / name / "data").iterdir()]
    assert all(file in text.split("## The data")[1] for file in data)
    assert any(word in text for word in ("CC0", "public domain", "not subject to copyright"))
