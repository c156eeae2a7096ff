"""Prepares matplotlib when a scriptlet imports it: backend, style, font, and a pyplot of its own for each job."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Hashable
from types import ModuleType
from typing import Any

from oocana_async.preview.plots.figure_scopes import ScopedFigures

__all__ = ["close_figures", "is_light", "prefer_font", "set_up"]

_BACKEND = "module://oocana_async.preview.plots.matplotlib_backend"
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
    _use_backend(params, _BACKEND)
    give_figures_back = _scope_figures()

    def restore() -> None:
        give_figures_back()
        dict.update(params, before)
        _use_backend(params, before["backend"])

    return restore


def _use_backend(params: dict[str, Any], backend: Any) -> None:
    """Choose a backend; the parameter alone counts until pyplot is there."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and hasattr(pyplot, "switch_backend"):
        pyplot.switch_backend(backend if isinstance(backend, str) else "agg")
    dict.__setitem__(params, "backend", backend)


def _scope_figures() -> Callable[[], None]:
    from matplotlib._pylab_helpers import Gcf

    from oocana_async.preview.plots.hooks import current_scope

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
