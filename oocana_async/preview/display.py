"""Finds out how an object wants to be shown: figures, images, and the display protocol of notebooks."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from typing import Any

from oocana_async.preview.media import data_url, figure_url, image_url

__all__ = ["display", "is_figure", "is_image", "is_plotly", "picture_of", "plotly_html"]


def is_figure(value: Any) -> bool:
    """Say whether a value draws itself with `savefig`, like figures of matplotlib and grids of seaborn."""
    return not isinstance(value, type) and callable(getattr(value, "savefig", None))


def is_plotly(value: Any) -> bool:
    """Say whether a value is a figure of plotly."""
    return not isinstance(value, type) and hasattr(value, "to_html") and hasattr(value, "to_plotly_json")


def is_image(value: Any) -> bool:
    """Say whether a value is an image of PIL."""
    return not isinstance(value, type) and callable(getattr(value, "save", None)) and hasattr(value, "mode")


def plotly_html(figure: Any) -> str:
    """Write a figure of plotly as a page; plotly.js and MathJax come from their CDNs (protocol.md 7.7)."""
    return str(figure.to_html(include_plotlyjs="cdn", include_mathjax="cdn", full_html=True))


def picture_of(value: Any) -> str | None:
    """Draw a figure, the figure of an Axes, or an image as a data URL; None if it is none of them."""
    if is_figure(value):
        return figure_url(value)
    if is_image(value):
        return image_url(value)
    owner = value.get_figure() if hasattr(value, "get_figure") and hasattr(value, "plot") else None
    if owner is not None and is_figure(owner):
        return figure_url(owner)
    for name, mime_type in _PICTURES:
        content = _call(value, name)
        if content is not None:
            return data_url(_as_bytes(content, mime_type), mime_type)
    return None


def display(value: Any) -> dict[str, Any] | None:
    """Give the payload of an object that knows how to show itself, None for any other object.

    Plotly figures become `html`, matplotlib figures, Axes and PIL images `image`; then the methods of the display
    protocol are asked: `_repr_html_`, `_repr_png_`, `_repr_jpeg_`, `_repr_svg_`, `_repr_markdown_` and
    `_repr_mimebundle_`. One that returns None or raises is passed over.
    """
    if is_plotly(value):
        return {"type": "html", "data": plotly_html(value)}
    if is_figure(value) or is_image(value):
        return {"type": "image", "data": picture_of(value)}
    html = _call(value, "_repr_html_")
    if html is not None:
        return {"type": "html", "data": str(html)}
    picture = picture_of(value)
    if picture is not None:
        return {"type": "image", "data": picture}
    markdown = _call(value, "_repr_markdown_")
    if markdown is not None:
        return {"type": "markdown", "data": str(markdown)}
    return _from_bundle(_call(value, "_repr_mimebundle_"))


_PICTURES = (("_repr_png_", "image/png"), ("_repr_jpeg_", "image/jpeg"), ("_repr_svg_", "image/svg+xml"))

_TEXTS = (("text/html", "html"), ("text/markdown", "markdown"), ("application/json", "json"))


def _from_bundle(bundle: Any) -> dict[str, Any] | None:
    if isinstance(bundle, tuple):
        bundle = bundle[0]
    if not isinstance(bundle, dict):
        return None
    for mime_type, kind in _TEXTS[:1]:
        if bundle.get(mime_type) is not None:
            return {"type": kind, "data": bundle[mime_type]}
    for _, mime_type in _PICTURES:
        if bundle.get(mime_type) is not None:
            return {"type": "image", "data": data_url(_as_bytes(bundle[mime_type], mime_type), mime_type)}
    for mime_type, kind in _TEXTS[1:]:
        if bundle.get(mime_type) is not None:
            return {"type": kind, "data": bundle[mime_type]}
    return None


def _call(value: Any, name: str) -> Any:
    """Ask one method of the display protocol; notebooks, too, take an error for "not this way"."""
    method: Callable[[], Any] | None = None if isinstance(value, type) else getattr(value, name, None)
    if not callable(method):
        return None
    try:
        result = method()
    except Exception:  # noqa: BLE001
        return None
    return result[0] if isinstance(result, tuple) and name != "_repr_mimebundle_" else result


def _as_bytes(content: Any, mime_type: str) -> bytes:
    """Notebooks allow bytes or base64 text for pictures; SVG is text."""
    if isinstance(content, str):
        return content.encode() if mime_type == "image/svg+xml" else b64decode(content)
    return bytes(content)
