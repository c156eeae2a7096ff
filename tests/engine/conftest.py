"""A small package on disk that the tests of the engine write manifests into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from oocana_async.engine.graph.graph import Graph
from oocana_async.engine.running.tasks import TaskOwner
from oocana_async.engine.target import LoadedTarget, load_target
from oocana_async.errors import LoadError, ManifestError

MAIN = "flows/main/flow.oo.yaml"


class Project:
    """A package directory.

    Attributes:
        root: the package.
        main: its flow.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.main = root / MAIN

    def write(self, path: str, text: str = "") -> Path:
        """Write a file of the package, its text without common indentation."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), "utf-8")
        return file

    def flow(self, text: str) -> Project:
        """Write the main flow."""
        self.write(MAIN, text)
        return self

    def load(self, target: str = MAIN, **options: Any) -> LoadedTarget:
        """Load a target of the package."""
        return load_target(target, base_dir=self.root, **options)

    def graph(self, target: str = MAIN, **options: Any) -> Graph:
        """Load a flow of the package."""
        root = self.load(target, **options).root
        assert isinstance(root, Graph)
        return root

    def faults(self, target: str = MAIN, **options: Any) -> tuple[ManifestError, ...]:
        """Return all faults of a load that fails."""
        with pytest.raises(LoadError) as caught:
            self.load(target, **options)
        return caught.value.faults

    def fault(self, target: str = MAIN, **options: Any) -> ManifestError:
        """Return the only fault of a load that fails."""
        (fault,) = self.faults(target, **options)
        return fault

    def fault_in(self, text: str) -> ManifestError:
        """Return the only fault of a main flow."""
        return self.flow(text).fault()

    def faults_in(self, text: str) -> tuple[ManifestError, ...]:
        """Return all faults of a main flow."""
        return self.flow(text).faults()

    def warnings(self, text: str) -> list[str]:
        """Return the warnings of a main flow as `line:column code message hint`."""
        found = self.flow(text).load().warnings
        return [f"{w.line}:{w.column} {w.code}: {w.message} {w.hint}".strip() for w in found]


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> dict[float, Callable[[], None]]:
    """Delay -> call: the timers of sessions, which the test fires by hand instead of waiting for them."""
    waiting: dict[float, Callable[[], None]] = {}

    def keep(_: TaskOwner, delay: float, call: Callable[[], None]) -> Callable[[], None]:
        waiting[delay] = call
        return lambda: None

    monkeypatch.setattr(TaskOwner, "call_later", keep)
    return waiting


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty package."""
    return Project(tmp_path / "pkg")
