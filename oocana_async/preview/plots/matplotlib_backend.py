"""The matplotlib backend that shows figures as previews; matplotlib loads it by its name."""

from __future__ import annotations

from typing import Any, ClassVar

from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

from oocana_async.preview.media import figure_url
from oocana_async.preview.plots.delivery import deliver

__all__ = ["FigureCanvas", "FigureManager"]


class FigureManager(FigureManagerBase):
    """Shows figures by sending them, and closes them, because nobody can look at them again."""

    @classmethod
    def pyplot_show(cls, *, block: bool | None = None) -> None:
        """Send all open figures as one preview; this is `plt.show()`."""
        managers = Gcf.get_all_fig_managers()
        if managers:
            _show(managers, "plt.show()")

    def show(self) -> None:
        """Send this figure; this is `figure.show()`."""
        _show([self], "figure.show()")


def _show(managers: list[Any], what: str) -> None:
    try:
        images = [figure_url(manager.canvas.figure) for manager in managers]
    finally:
        for manager in managers:
            Gcf.destroy(manager)
    deliver({"type": "image", "data": images}, what)


class FigureCanvas(FigureCanvasAgg):
    """Draws in memory.

    Attributes:
        file_type: what `savefig` writes to a name without a suffix; None for what `savefig.format` says.
    """

    file_type: ClassVar[str | None] = None
    manager_class: Any = FigureManager

    @classmethod
    def get_default_filetype(cls) -> str:
        """Return the suffix of files that are named without one; matplotlib calls this."""
        return cls.file_type or str(super().get_default_filetype())
