"""Prepares matplotlib when a scriptlet imports it: backend, style, font, and a pyplot of its own for each job."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Hashable
from types import ModuleType
from typing import Any, Final

from oocana_async.preview.plots.delivery import current_scope
from oocana_async.preview.plots.figure_scopes import ScopedFigures

__all__ = ["close_figures", "is_light", "keep_backend", "prefer_font", "set_up"]

_BACKEND: Final = "module://oocana_async.preview.plots.matplotlib_backend"
_FILE_TYPES: Final = {"pdf": "pdf", "pgf": "pdf", "ps": "ps", "svg": "svg"}
"""What `savefig("name")` writes with those backends of matplotlib that do not take it from `savefig.format`."""
_FONT = "Source Han Sans SC"
_FONT_KEY = "font.sans-serif"


def is_light() -> bool:
    """Say whether the front end shows a light background."""
    return os.environ.get("OOMOL_COLOR_SCHEME", "").lower() == "light"


def set_up(matplotlib: ModuleType) -> Callable[[], None]:
    """Choose our backend and the style of the front end; figures belong to the job that makes them.

    Returns:
        A function that restores parameters, backend and figures.
    """
    from matplotlib import style

    params: dict[str, Any] = matplotlib.rcParams
    before = dict(params.copy())  # reading the backend of the original would import pyplot
    style.use("classic" if is_light() else "dark_background")
    # Past the checks of `rcParams`, which import pyplot; the parameter alone counts until pyplot is there.
    dict.__setitem__(params, "backend", _BACKEND)
    give_figures_back = _scope_figures()

    def restore() -> None:
        give_figures_back()
        dict.update(params, before)

    return restore


def keep_backend(pyplot: ModuleType) -> Callable[[], None]:
    """Have pyplot draw with our backend, whichever one a block or a library asks for from now on.

    Every way to choose one, `matplotlib.use`, `switch_backend`, the parameter, MPLBACKEND, ends in
    `pyplot.switch_backend`, at once or with the first figure. There we take the wish and keep what we have: refusing it
    would break blocks that ask for `TkAgg` out of habit, obeying it would take their previews away. One thing of the
    wish counts: whoever asks for `pdf` or `svg` gets such files from `savefig` without a suffix.

    Returns:
        A function that gives pyplot its backend and the choice of it back.
    """
    module: Any = pyplot
    matplotlib: Any = sys.modules["matplotlib"]
    switch, loaded = module.switch_backend, module._backend_mod  # noqa: SLF001
    default = dict.__getitem__(matplotlib.rcParamsDefault, "backend")

    @functools.wraps(switch)
    def keep(newbackend: str) -> None:
        from oocana_async.preview.plots.matplotlib_backend import FigureCanvas

        FigureCanvas.file_type = _FILE_TYPES.get(str(newbackend).lower())
        if getattr(module._backend_mod, "FigureCanvas", None) is not FigureCanvas:  # noqa: SLF001 - no public name
            switch(_BACKEND)

    def restore() -> None:
        # Not by switching: what the host had may be none yet, or one that cannot be loaded a second time.
        module.switch_backend, module._backend_mod = switch, loaded  # noqa: SLF001
        dict.__setitem__(matplotlib.rcParamsDefault, "backend", default)

    module.switch_backend = keep
    if loaded is not None:
        keep(_BACKEND)
    return restore


def _scope_figures() -> Callable[[], None]:
    from matplotlib._pylab_helpers import Gcf

    registry: Any = Gcf
    before = registry.figs
    scoped = ScopedFigures(current_scope)
    for number, manager in before.items():
        scoped[number] = manager
    registry.figs = scoped

    def restore() -> None:
        registry.figs = before
        _destroy(scoped.take_all())

    return restore


def prefer_font(font_manager: ModuleType) -> Callable[[], None]:
    """Put the font of the front end first where it is installed and nobody has chosen another one."""
    params: dict[str, Any] = sys.modules["matplotlib"].rcParams
    before = list(params[_FONT_KEY])
    if any(font.name == _FONT for font in font_manager.fontManager.ttflist) and _FONT not in before:
        params[_FONT_KEY] = [_FONT, *before]

    def restore() -> None:
        dict.__setitem__(params, _FONT_KEY, before)

    return restore


def close_figures(scope: Hashable) -> int:
    """Close the figures that are still open in a scope."""
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    figures = helpers.Gcf.figs if helpers is not None else None
    managers = figures.take(scope) if isinstance(figures, ScopedFigures) else []
    _destroy(managers)
    return len(managers)


def _destroy(managers: list[Any]) -> None:
    for manager in managers:
        if hasattr(manager, "_cidgcf"):
            manager.canvas.mpl_disconnect(manager._cidgcf)  # noqa: SLF001 - as pyplot itself does it
        manager.destroy()
