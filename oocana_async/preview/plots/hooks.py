"""Makes `plt.show()` and plotly's `fig.show()` send previews from the running block (protocol.md 7.7).

Nothing is imported here: the hooks wait until a scriptlet imports matplotlib or plotly, and cost nothing before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from types import ModuleType

from oocana_async.patching import SharedPatch
from oocana_async.preview.plots import matplotlib_setup, plotly_setup
from oocana_async.preview.plots.delivery import Scope, Send, add_owner, remove_owner
from oocana_async.preview.plots.import_hook import when_imported

__all__ = ["PlotHooks", "Send", "install_plot_hooks"]


class PlotHooks:
    """Hooks that one owner has installed; calling the object takes them away and restores everything."""

    def __init__(self, send: Send, scope: Scope | None) -> None:
        self.send = send
        self.scope = scope
        self._is_installed = False

    def install(self) -> None:
        """Put the hooks in place."""
        with _lock:
            add_owner(self)
            self._is_installed = True
            _hooks.install()

    def __call__(self) -> None:
        """Take the hooks away; with the last owner's, backend, style and renderer become what they were."""
        with _lock:
            if self._is_installed:
                self._is_installed = False
                remove_owner(self)
                _hooks.uninstall()

    def close_figures(self, scope: Hashable) -> int:
        """Close the pyplot figures that a job has left open; free of charge if matplotlib was never imported.

        Args:
            scope: what `scope()` returned inside the job.

        Returns:
            The number of figures closed.
        """
        return matplotlib_setup.close_figures(scope)


def install_plot_hooks(send: Send, *, scope: Scope | None = None) -> PlotHooks:
    """Let `plt.show()` and plotly's `fig.show()` send previews, as soon as one of them is imported.

    `plt.show()` sends all open figures as one `image` preview and closes them, whichever backend a block or library
    asks for; `fig.show()` of plotly sends `html`. The style follows `OOMOL_COLOR_SCHEME`: `classic` and `plotly` for
    `light`, else `dark_background` and `plotly_dark`. Outside of a job a line goes to stderr instead. Several owners
    may install hooks; the newest whose `send` finds a job gets the preview.

    Args:
        send: takes the payload in the thread that called `show()`; raises LookupError where no job runs.
        scope: names the job that runs here, None outside of jobs. With it each job has figures of its own, so that
            two jobs that draw at the same time do not mix.

    Returns:
        An object to call for taking the hooks away; its `close_figures` frees what a finished job left open.
    """
    hooks = PlotHooks(send, scope)
    hooks.install()
    return hooks


def _set_up_when_imported() -> Callable[[], None]:
    """Prepare each library once it is there, and return what takes all of it back, the newest change first."""
    undo: list[Callable[[], None]] = []

    def then(action: Callable[[ModuleType], Callable[[], None]]) -> Callable[[ModuleType], None]:
        return lambda module: undo.append(action(module))

    undo.append(
        when_imported(
            {
                "matplotlib": then(matplotlib_setup.set_up),
                "matplotlib.pyplot": then(matplotlib_setup.keep_backend),
                "matplotlib.font_manager": then(matplotlib_setup.prefer_font),
                "plotly.io": then(plotly_setup.set_up),
            }
        )
    )

    def take_back() -> None:
        while undo:
            undo.pop()()

    return take_back


_hooks = SharedPatch(_set_up_when_imported)
_lock = threading.RLock()
