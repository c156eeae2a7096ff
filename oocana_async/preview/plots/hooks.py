"""Makes `plt.show()` and plotly's `fig.show()` send previews from the running block (protocol.md 7.7).

Nothing is imported here: the hooks wait until a scriptlet imports matplotlib or plotly, and cost nothing before.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable
from types import ModuleType
from typing import Any, TypeAlias

from oocana_async.preview.plots import matplotlib_setup, plotly_setup
from oocana_async.preview.plots.import_hook import when_imported

__all__ = ["PlotHooks", "Send", "current_scope", "deliver", "install_plot_hooks"]

Send: TypeAlias = Callable[[dict[str, Any]], object]
"""Sends a preview payload for the job that runs here; raises LookupError (no subclass of it) where no job runs."""

_lock = threading.RLock()
_installed: list[PlotHooks] = []
_undo: list[Callable[[], None]] = []


class PlotHooks:
    """Hooks that one owner has installed; calling the object takes them away and restores everything."""

    def __init__(self, send: Send, scope: Callable[[], Hashable] | None) -> None:
        self.send = send
        self.scope = scope

    def __call__(self) -> None:
        """Take the hooks away; with the last owner's, backend, style and renderer become what they were."""
        with _lock:
            if self in _installed:
                _installed.remove(self)
            if not _installed:
                while _undo:
                    _undo.pop()()

    def close_figures(self, scope: Hashable) -> int:
        """Close the pyplot figures that a job has left open; free of charge if matplotlib was never imported.

        Args:
            scope: what `scope()` returned inside the job.

        Returns:
            The number of figures closed.
        """
        return matplotlib_setup.close_figures(scope)


def install_plot_hooks(send: Send, *, scope: Callable[[], Hashable] | None = None) -> PlotHooks:
    """Let `plt.show()` and plotly's `fig.show()` send previews, as soon as one of them is imported.

    `plt.show()` sends all open figures as one `image` preview and closes them; `fig.show()` of plotly sends `html`.
    The style follows `OOMOL_COLOR_SCHEME`: `classic` and `plotly` for `light`, else `dark_background` and
    `plotly_dark`. Outside of a job a line goes to stderr instead. Several owners may install hooks; the newest whose
    `send` finds a job gets the preview.

    Args:
        send: takes the payload in the thread that called `show()`; raises LookupError where no job runs.
        scope: names the job that runs here, None outside of jobs. With it each job has figures of its own, so that
            two jobs that draw at the same time do not mix.

    Returns:
        An object to call for taking the hooks away; its `close_figures` frees what a finished job left open.
    """
    hooks = PlotHooks(send, scope)
    with _lock:
        first = not _installed
        _installed.append(hooks)
        if first:
            _undo.append(
                when_imported(
                    {
                        "matplotlib": _set_up(matplotlib_setup.set_up),
                        "matplotlib.font_manager": _set_up(matplotlib_setup.prefer_font),
                        "plotly.io": _set_up(plotly_setup.set_up),
                    }
                )
            )
    return hooks


def _set_up(action: Callable[[ModuleType], Callable[[], None]]) -> Callable[[ModuleType], None]:
    def act(module: ModuleType) -> None:
        undo = action(module)
        with _lock:
            _undo.append(undo)

    return act


def deliver(payload: dict[str, Any], what: str) -> None:
    """Hand a payload to the owner whose job runs here, else say on stderr that nobody saw it.

    Args:
        payload: the preview.
        what: what was called, such as `plt.show()`.
    """
    for hooks in reversed(list(_installed)):
        try:
            hooks.send(payload)
        except LookupError as error:
            if type(error) is not LookupError:
                raise
        else:
            return
    sys.stderr.write(f"{what}: no block runs here, so there is nobody to show this preview to\n")


def current_scope() -> Hashable:
    """Name the job that runs here, None where none runs or nobody told how jobs are named."""
    for hooks in reversed(list(_installed)):
        key = hooks.scope() if hooks.scope is not None else None
        if key is not None:
            return key
    return None
