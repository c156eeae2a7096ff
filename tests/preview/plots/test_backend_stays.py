"""Whatever backend a block or a library asks for: `show()` previews, and the host has its own again at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from oocana_async.preview.plots.hooks import PlotHooks, install_plot_hooks

pytest.importorskip("matplotlib")
pytest.importorskip("plotly")

import matplotlib as mpl
import plotly.io as pio
from matplotlib import pyplot as plt
from matplotlib.backend_bases import FigureManagerBase

OURS = "module://oocana_async.preview.plots.matplotlib_backend"
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def host_backend() -> Iterator[None]:
    """Start with the host's backend `agg`, and leave it behind."""
    mpl.use("agg")
    plt.close("all")
    yield
    mpl.use("agg")


@pytest.fixture
def sent() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def hooks(sent: list[dict[str, Any]]) -> Iterator[PlotHooks]:
    hooks = install_plot_hooks(sent.append, scope=lambda: "J1")
    yield hooks
    hooks()


def choose_by_parameter() -> None:
    mpl.rcParams["backend"] = "TkAgg"


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize(
    "choose",
    [
        lambda: mpl.use("TkAgg"),
        lambda: mpl.use("agg"),
        lambda: mpl.use("TkAgg", force=False),
        lambda: plt.switch_backend("TkAgg"),
        lambda: plt.switch_backend("svg"),
        choose_by_parameter,
    ],
    ids=["use", "use-agg", "use-gently", "switch", "switch-svg", "parameter"],
)
def test_show_previews_whatever_was_chosen(choose: Callable[[], None], sent: list[dict[str, Any]]) -> None:
    choose()
    plt.plot([1, 2])
    choose()
    plt.show()
    assert [payload["type"] for payload in sent] == ["image"]
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    "choose",
    [
        "matplotlib.use('TkAgg')",
        "matplotlib.use('agg')",
        "matplotlib.rcParams['backend'] = 'TkAgg'",
        "from matplotlib.pyplot import switch_backend; switch_backend('TkAgg')",
        "",
    ],
    ids=["use", "use-agg", "parameter", "switch", "variable"],
)
def test_choice_before_pyplot_is_there_takes_no_preview_away(choose: str) -> None:
    script = f"""
from oocana_async.preview.plots.hooks import install_plot_hooks
sent = []
remove = install_plot_hooks(sent.append)
import matplotlib
{choose}
import matplotlib.pyplot as plt
plt.plot([1, 2]); plt.show()
assert [payload["type"] for payload in sent] == ["image"], sent
assert matplotlib.get_backend() == {OURS!r}
remove()
plt.figure()
assert matplotlib.get_backend().lower() == "svg", matplotlib.get_backend()
"""
    variables = {**os.environ, "MPLBACKEND": "svg"}
    subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, check=True, env=variables)


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize(("wish", "suffix"), [("pdf", "pdf"), ("SVG", "svg"), ("agg", "png"), ("TkAgg", "png")])
def test_wish_decides_what_files_without_a_suffix_are(wish: str, suffix: str, tmp_path: Path) -> None:
    mpl.use(wish)
    plt.plot([1, 2])
    plt.savefig(tmp_path / "figure")
    plt.close("all")
    assert [path.name for path in tmp_path.iterdir()] == [f"figure.{suffix}"]


@pytest.mark.usefixtures("hooks")
def test_backend_that_does_not_exist_is_still_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        mpl.use("nonsense")


def test_host_has_its_backend_again(hooks: PlotHooks, tmp_path: Path) -> None:
    mpl.use("svg")
    plt.figure()
    hooks()
    assert (mpl.get_backend(), mpl.rcParamsDefault["backend"]) == ("agg", "agg")
    plt.figure()
    plt.savefig(tmp_path / "figure")
    plt.switch_backend("svg")
    assert mpl.get_backend() == "svg"
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


def test_host_has_its_parameters_again(sent: list[dict[str, Any]]) -> None:
    with mpl.rc_context({"axes.facecolor": "pink", "lines.linewidth": 7}):
        hooks = install_plot_hooks(sent.append)
        assert mpl.rcParams["axes.facecolor"] == "black"
        hooks()
        assert (mpl.rcParams["axes.facecolor"], mpl.rcParams["lines.linewidth"]) == ("pink", 7)


def test_host_has_its_renderer_of_plotly_again(sent: list[dict[str, Any]]) -> None:
    before = pio.renderers.default
    pio.renderers.default = "json"
    try:
        hooks = install_plot_hooks(sent.append)
        assert pio.renderers.default != "json"
        hooks()
        assert pio.renderers.default == "json"
    finally:
        pio.renderers.default = before


@pytest.mark.usefixtures("hooks")
def test_figure_that_cannot_be_drawn_is_closed_all_the_same(sent: list[dict[str, Any]]) -> None:
    plt.title("$\\unknown{$")
    with pytest.raises(ValueError, match="unknown"):
        plt.show()
    assert (sent, plt.get_fignums()) == ([], [])


def test_figures_of_a_finished_job_are_destroyed(hooks: PlotHooks, monkeypatch: pytest.MonkeyPatch) -> None:
    destroyed: list[Any] = []
    monkeypatch.setattr(FigureManagerBase, "destroy", lambda self: destroyed.append(self.num))
    plt.figure(3)
    plt.figure(8)
    hooks.close_figures("J1")
    assert destroyed == [3, 8]
