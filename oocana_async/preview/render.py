"""Turns whatever a scriptlet shows into the payload of a preview, in the caller's thread and at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from oocana_async.errors import EncodingError
from oocana_async.preview.display import display, is_plotly, picture_of, plotly_html
from oocana_async.preview.media import data_url, kind_of_file, mime_type_of
from oocana_async.preview.tables import is_array, is_frame, require_rows, table_of
from oocana_async.wire.encoding import hint_for

__all__ = ["render"]

_Bytes = (bytes, bytearray, memoryview)


def render(payload: Any, *, id: str | None = None) -> dict[str, Any]:  # noqa: A002 - the official SDK's name
    """Give the payload of a preview; what is drawn or cut is drawn and cut now.

    Payloads `{"type": ..., "data": ...}` are taken as they are, their `data` converted where needed: frames, arrays
    and lists of dicts of a `table`, figures, images and bytes of an `image`, paths anywhere. Bare frames, figures,
    images, texts, image bytes, lists and objects of the display protocol get the type that fits
    (protocol.md 8.5).

    Args:
        payload: what to show; it is never changed.
        id: tells several previews of one block apart; it wins over an `id` in the payload.

    Returns:
        A new dict that JSON takes, as far as the caller's own `data` does.

    Raises:
        EncodingError: There is no way to show this object; the text says what would be right.
    """
    shown = _render_payload(payload) if isinstance(payload, Mapping) else _render_bare(payload)
    if id is not None:
        shown["id"] = id
    return shown


def _render_payload(payload: Mapping[Any, Any]) -> dict[str, Any]:
    shown = dict(payload)
    kind = shown.get("type")
    if not isinstance(kind, str):
        return {"type": "json", "data": shown}
    if "data" in shown:
        convert = _CONVERT.get("text" if kind.startswith("text/") else kind, _any_data)
        shown["type"], shown["data"] = convert(kind, shown["data"])
    return shown


def _render_bare(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"type": "text", "data": value}
    if isinstance(value, bool | int | float):
        return {"type": "text", "data": str(value)}
    if isinstance(value, PurePath):
        return _render_path(value)
    if isinstance(value, _Bytes):
        return _render_bytes(bytes(value))
    if is_array(value) and getattr(value.dtype, "kind", "") == "O" and value.size:
        axes = picture_of(value.flat[0])  # `frame.hist()` and `plt.subplots` give arrays of Axes
        if axes is not None:
            return {"type": "image", "data": axes}
    if is_frame(value) or is_array(value) or isinstance(value, list | tuple):
        return _render_rows(value)
    require_rows(value)
    shown = display(value)
    if shown is None:
        raise EncodingError(_what_would_be_right(value), subject="preview")
    return shown


def _render_path(path: PurePath) -> dict[str, Any]:
    kind = kind_of_file(path)
    if kind is None:
        reason = f"cannot tell from the name {path.name!r} how to show it; give a dict with a type and the path as data"
        raise EncodingError(reason, subject="preview")
    return {"type": kind, "data": str(path)}


def _render_bytes(content: bytes) -> dict[str, Any]:
    mime_type = mime_type_of(content)
    if mime_type is None:
        reason = f"{len(content)} bytes that are no known image, sound or video; give a dict with a type, or a data URL"
        raise EncodingError(reason, subject="preview")
    return {"type": mime_type.partition("/")[0], "data": data_url(content, mime_type)}


def _render_rows(value: Any) -> dict[str, Any]:
    table = table_of(value)
    if table is not None:
        return {"type": "table", "data": table}
    if is_array(value):
        return {"type": "text", "data": str(value)}
    pictures = [_picture(item) for item in value]
    if pictures and None not in pictures:
        return {"type": "image", "data": pictures}
    return {"type": "json", "data": list(value)}


def _picture(value: Any) -> str | None:
    if isinstance(value, _Bytes):
        mime_type = mime_type_of(bytes(value))
        return data_url(bytes(value), mime_type) if mime_type and mime_type.startswith("image/") else None
    return None if isinstance(value, str | int | float | list | dict | type(None)) else picture_of(value)


def _what_would_be_right(value: Any) -> str:
    name = type(value).__name__
    if value is None:
        return "got None; give a dict with type and data, a data frame, a figure, an image or text"
    hint = hint_for(value)
    if "?" in hint:
        return hint
    return (
        f"cannot show a {name}; give a dict with type and data, a data frame, a figure, an image or text,"
        " or let the object define `_repr_html_`"
    )


def _any_data(kind: str, data: Any) -> tuple[str, Any]:
    return kind, str(data) if isinstance(data, PurePath) else data


def _table_data(kind: str, data: Any) -> tuple[str, Any]:
    table = table_of(data)
    return ("table", table) if table is not None else _any_data(kind, data)


def _json_data(kind: str, data: Any) -> tuple[str, Any]:
    return kind, table_of(data) if is_frame(data) else _any_data(kind, data)[1]


def _text_data(kind: str, data: Any) -> tuple[str, Any]:
    plain = isinstance(data, str | int | float | list | dict | bytes | type(None))
    return kind, data if plain else str(data)


def _html_data(kind: str, data: Any) -> tuple[str, Any]:
    if is_plotly(data):
        return kind, plotly_html(data)
    shown = None if isinstance(data, str | PurePath) else display(data)
    return (kind, shown["data"]) if shown and shown["type"] == kind else _any_data(kind, data)


def _image_data(kind: str, data: Any) -> tuple[str, Any]:
    if isinstance(data, list | tuple):
        return kind, [_image(item) for item in data]
    if is_plotly(data):
        return "html", plotly_html(data)
    return kind, _image(data)


def _image(data: Any) -> Any:
    if isinstance(data, str):
        return data
    if isinstance(data, PurePath):
        return str(data)
    if isinstance(data, _Bytes):
        return _media_data("image", data)[1]
    picture = picture_of(data)
    if picture is None:
        reason = (
            f"cannot make an image of a {type(data).__name__}; give an address, a path, bytes, a figure or an image"
        )
        raise EncodingError(reason, subject="preview")
    return picture


def _media_data(kind: str, data: Any) -> tuple[str, Any]:
    if not isinstance(data, _Bytes):
        return _any_data(kind, data)
    mime_type = mime_type_of(bytes(data))
    if mime_type is None:
        raise EncodingError(f"{len(data)} bytes that are no known {kind}; give a data URL or a path", subject="preview")
    return kind, data_url(bytes(data), mime_type)


_CONVERT: dict[str, Callable[[str, Any], tuple[str, Any]]] = {
    "table": _table_data,
    "csv": _table_data,
    "json": _json_data,
    "text": _text_data,
    "html": _html_data,
    "markdown": _html_data,
    "image": _image_data,
    "video": _media_data,
    "audio": _media_data,
}
