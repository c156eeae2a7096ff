"""Types of preview payloads, under the names of the official SDK (protocol.md 8.1, 8.5)."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias, TypedDict, runtime_checkable

__all__ = [
    "CsvPreviewPayload",
    "DataFrame",
    "DefaultPreviewPayload",
    "ImagePreviewPayload",
    "JSONPreviewPayload",
    "MediaPreviewPayload",
    "PandasPreviewPayload",
    "PartialDataFrame",
    "PreviewPayload",
    "PreviewPayloadInternal",
    "ShapeDataFrame",
    "TablePreviewData",
    "TablePreviewPayload",
    "TextPreviewPayload",
]


@runtime_checkable
class DataFrame(Protocol):
    """A frame that can give its rows as `{"columns": [...], "data": [[...], ...]}`."""

    def to_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the rows; called with `orient="split"`."""
        ...


@runtime_checkable
class ShapeDataFrame(DataFrame, Protocol):
    """A frame that knows its number of rows and columns."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        ...


@runtime_checkable
class PartialDataFrame(Protocol):
    """A frame that can be cut to its first and last rows."""

    def head(self, *args: Any, **kwargs: Any) -> Any:
        """Return the first rows as a frame."""
        ...

    def tail(self, *args: Any, **kwargs: Any) -> Any:
        """Return the last rows as a frame."""
        ...


class _TableRows(TypedDict):
    columns: list[str | int | float]
    rows: list[list[str | int | float | bool | None]]


class TablePreviewData(_TableRows, total=False):
    """A table as a front end takes it; `row_count` is the number of rows before any were left out."""

    row_count: int | None


class _WithId(TypedDict, total=False):
    id: str


class TablePreviewPayload(_WithId):
    """A table: inline data, a frame, a list of rows, or the path of a CSV file."""

    type: Literal["table"]
    data: TablePreviewData | Any


class TextPreviewPayload(_WithId):
    """Text; anything that is no text is shown as text."""

    type: Literal["text"]
    data: Any


class JSONPreviewPayload(_WithId):
    """Any JSON value."""

    type: Literal["json"]
    data: Any


class ImagePreviewPayload(_WithId):
    """One or several images: addresses, data URLs, paths, bytes, figures."""

    type: Literal["image"]
    data: Any


class MediaPreviewPayload(_WithId):
    """A medium given by address, path, data URL or, for `markdown` and `html`, by its text."""

    type: Literal["image", "video", "audio", "markdown", "iframe", "html"]
    data: Any


class PandasPreviewPayload(_WithId):
    """A table given as a data frame."""

    type: Literal["table"]
    data: DataFrame


class CsvPreviewPayload(_WithId):
    """A table given as the path of a CSV file."""

    type: Literal["csv"]
    data: Any


class DefaultPreviewPayload(_WithId):
    """Any other type, handed to the front end as it is."""

    type: str
    data: Any


PreviewPayload: TypeAlias = (
    TablePreviewPayload
    | TextPreviewPayload
    | JSONPreviewPayload
    | ImagePreviewPayload
    | MediaPreviewPayload
    | CsvPreviewPayload
    | PandasPreviewPayload
    | DefaultPreviewPayload
    | DataFrame
    | Any
)
"""What `context.preview` takes: a payload, a frame, a figure, an image, or anything that can display itself."""

PreviewPayloadInternal: TypeAlias = (
    TablePreviewPayload
    | TextPreviewPayload
    | JSONPreviewPayload
    | ImagePreviewPayload
    | MediaPreviewPayload
    | CsvPreviewPayload
    | DefaultPreviewPayload
)
"""What travels: payloads only."""
