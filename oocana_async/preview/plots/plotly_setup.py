"""Prepares plotly when a scriptlet imports it: a renderer that sends previews, and the template of the front end."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from oocana_async.preview.plots.delivery import deliver
from oocana_async.preview.plots.matplotlib_setup import is_light

__all__ = ["set_up"]

_RENDERER = "oocana"


def set_up(pio: ModuleType) -> Callable[[], None]:
    """Make our renderer and the template of the front end plotly's defaults.

    Returns:
        A function that restores both.
    """
    renderer, template = pio.renderers.default, pio.templates.default
    pio.renderers[_RENDERER] = _renderer(pio)
    pio.renderers.default = _RENDERER
    pio.templates.default = "plotly" if is_light() else "plotly_dark"

    def restore() -> None:
        pio.renderers.default = renderer
        pio.templates.default = template
        # plotly's own `del` fails when the default was never read
        getattr(pio.renderers, "_renderers", {}).pop(_RENDERER, None)

    return restore


def _renderer(pio: ModuleType) -> Any:
    """Make the renderer; plotly accepts subclasses of its own class only, which exists only now."""

    def render(self: Any, figure: dict[str, Any]) -> None:
        html = pio.to_html(
            figure,
            config=self.config,
            auto_play=self.auto_play,
            post_script=self.post_script,
            animation_opts=self.animation_opts,
            include_plotlyjs="cdn",
            include_mathjax="cdn",
            full_html=True,
            validate=False,
        )
        deliver({"type": "html", "data": html}, "fig.show()")

    members = {"render": render, "config": None, "auto_play": True, "post_script": None, "animation_opts": None}
    return type("OocanaRenderer", (pio.base_renderers.ExternalRenderer,), members)()
