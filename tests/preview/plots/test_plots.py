"""What `plt.show()`, `figure.show()` and `fig.show()` of plotly do in a block, and the import hook behind them."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from oocana_async.preview.plots.hooks import PlotHooks, install_plot_hooks
from oocana_async.preview.plots.import_hook import when_imported

pytest.importorskip("matplotlib")
pytest.importorskip("plotly")

import matplotlib as mpl
import plotly.graph_objects as go
import plotly.io as pio
from matplotlib import pyplot as plt

OURS = "module://oocana_async.preview.plots.matplotlib_backend"


class Desk:
    """Stands for the executor: knows which job runs and what was sent."""

    def __init__(self) -> None:
        self.job: str | None = "J1"
        self.sent: list[dict[str, Any]] = []

    def send(self, payload: dict[str, Any]) -> None:
        if self.job is None:
            raise LookupError
        self.sent.append(payload)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def hooks(desk: Desk) -> Iterator[PlotHooks]:
    mpl.use("agg")
    plt.close("all")
    hooks = install_plot_hooks(desk.send, scope=lambda: desk.job)
    yield hooks
    hooks()


@pytest.mark.usefixtures("hooks")
def test_plt_show_sends_all_open_figures_at_once_and_closes_them(desk: Desk) -> None:
    plt.plot([1, 2])
    plt.figure()
    plt.plot([2, 1])
    plt.show()
    [payload] = desk.sent
    assert payload["type"] == "image"
    assert [url[:27] for url in payload["data"]] == ["data:image/png;base64,iVBOR"] * 2
    assert plt.get_fignums() == []


@pytest.mark.usefixtures("hooks")
def test_plt_show_without_figures_sends_nothing(desk: Desk) -> None:
    plt.show()
    assert desk.sent == []


@pytest.mark.usefixtures("hooks")
def test_show_of_one_figure_sends_only_that_one(desk: Desk) -> None:
    plt.figure()
    figure, _ = plt.subplots()
    figure.show()
    assert len(desk.sent[0]["data"]) == 1
    assert plt.get_fignums() == [1]


@pytest.mark.usefixtures("hooks")
def test_pyplot_works_as_ever_with_figures_of_its_own() -> None:
    first, second = plt.figure("one"), plt.figure(7)
    assert plt.get_fignums() == [1, 7]
    assert plt.get_figlabels() == ["one", ""]
    assert plt.gcf() is second
    assert plt.figure("one") is first
    assert plt.gcf() is first
    plt.close(first)
    assert plt.fignum_exists(7)
    plt.close("all")
    assert plt.get_fignums() == []


@pytest.mark.usefixtures("hooks")
def test_figures_are_closed_although_sending_fails(desk: Desk) -> None:
    desk.send = lambda payload: 1 / 0  # type: ignore[assignment]
    plt.figure()
    plt.show()
    assert plt.get_fignums() == []


@pytest.mark.usefixtures("hooks")
def test_jobs_do_not_see_each_others_figures(desk: Desk) -> None:
    plt.plot([1])
    desk.job = "J2"
    plt.show()
    assert desk.sent == []
    plt.plot([2])
    plt.show()
    assert len(desk.sent[0]["data"]) == 1
    desk.job = "J1"
    assert plt.get_fignums() == [1]


def test_figures_left_open_are_closed_with_the_job(desk: Desk, hooks: PlotHooks) -> None:
    plt.figure()
    plt.figure()
    assert hooks.close_figures("J2") == 0
    assert hooks.close_figures("J1") == 2
    assert plt.get_fignums() == []


@pytest.mark.usefixtures("hooks")
def test_show_outside_of_a_block_writes_to_stderr(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.job = None
    plt.figure()
    plt.show()
    go.Figure().show()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("plt.show(): no block runs here")
    assert second.startswith("fig.show(): no block runs here")


@pytest.mark.usefixtures("hooks")
def test_error_while_sending_reaches_the_scriptlet(desk: Desk) -> None:
    def send(payload: dict[str, Any]) -> None:
        raise KeyError("x")

    hooks = install_plot_hooks(send)
    try:
        with pytest.raises(KeyError):
            go.Figure().show()
    finally:
        hooks()


@pytest.mark.usefixtures("hooks")
def test_newest_owner_with_a_job_gets_the_preview(desk: Desk) -> None:
    other = Desk()
    inner = install_plot_hooks(other.send)
    plt.figure()
    plt.show()
    other.job = None
    plt.figure()
    plt.show()
    inner()
    assert plt.get_backend() == OURS
    assert (len(other.sent), len(desk.sent)) == (1, 1)


@pytest.mark.usefixtures("hooks")
def test_plotly_show_sends_a_page(desk: Desk) -> None:
    go.Figure(data=[go.Bar(y=[2, 3, 1])]).show(config={"displayModeBar": False})
    [payload] = desk.sent
    assert payload["type"] == "html"
    assert "cdn" in payload["data"]
    assert '"displayModeBar": false' in payload["data"]
    assert len(payload["data"]) < 100_000


@pytest.mark.parametrize(
    ("scheme", "background", "template"),
    [("light", "w", "plotly"), ("dark", "black", "plotly_dark"), (None, "black", "plotly_dark")],
)
def test_style_follows_the_colour_scheme(
    monkeypatch: pytest.MonkeyPatch, desk: Desk, scheme: str | None, background: str, template: str
) -> None:
    monkeypatch.delenv("OOMOL_COLOR_SCHEME", raising=False)
    if scheme is not None:
        monkeypatch.setenv("OOMOL_COLOR_SCHEME", scheme)
    hooks = install_plot_hooks(desk.send)
    try:
        assert (plt.rcParams["axes.facecolor"], pio.templates.default) == (background, template)
    finally:
        hooks()


def test_font_of_the_front_end_is_used_only_if_installed(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    from matplotlib import font_manager

    def first_font() -> Any:
        hooks = install_plot_hooks(desk.send)
        try:
            return plt.rcParams["font.sans-serif"][0]
        finally:
            hooks()

    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    assert first_font() != "Source Han Sans SC"
    entry = font_manager.FontEntry(name="Source Han Sans SC")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [entry])
    assert first_font() == "Source Han Sans SC"


def test_uninstall_restores_everything(desk: Desk) -> None:
    mpl.use("svg")
    plt.close("all")
    plt.figure()

    def state() -> list[Any]:
        shown = (pio.renderers.default, pio.templates.default, list(pio.renderers))
        return [plt.get_backend(), dict(mpl.rcParams), plt.get_fignums(), list(sys.meta_path), *shown]

    before = state()
    hooks = install_plot_hooks(desk.send, scope=lambda: desk.job)
    plt.figure()
    assert plt.get_backend() == OURS
    hooks()
    hooks()
    assert state() == before
    plt.close("all")


def test_nothing_is_imported_before_the_scriptlet_does(tmp_path: Path) -> None:
    script = """
import sys
from oocana_async.preview.plots.hooks import install_plot_hooks
sent = []
remove = install_plot_hooks(sent.append)
assert not {"matplotlib", "plotly", "numpy"} & set(sys.modules)
import matplotlib
assert "matplotlib.pyplot" not in sys.modules
import matplotlib.pyplot as plt
import importlib.resources
assert importlib.resources.files("matplotlib").joinpath("mpl-data").is_dir()
plt.plot([1, 2]); plt.show()
import plotly.express as px
px.line(y=[1, 2]).show()
assert [payload["type"] for payload in sent] == ["image", "html"], sent
remove()
"""
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=root, check=True)


def test_import_hook_runs_an_action_once_after_the_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "hooked_module_x.py").write_text("ready = True")
    monkeypatch.syspath_prepend(tmp_path)
    seen: list[bool] = []

    def act(module: ModuleType) -> None:
        seen.append(module.ready)
        raise RuntimeError("mine")

    remove = when_imported({"hooked_module_x": act})
    with caplog.at_level(logging.WARNING):
        import hooked_module_x  # type: ignore[import-not-found]
    assert hooked_module_x.ready
    assert seen == [True]
    assert "setting up hooked_module_x failed" in caplog.text
    assert "exec_module" not in vars(hooked_module_x.__spec__.loader)
    remove()
    remove()
    del sys.modules["hooked_module_x"]
    import hooked_module_x

    assert seen == [True]
