"""Turns what a scriptlet shows into preview payloads: tables, figures, images and the display protocol."""

from __future__ import annotations

from oocana_async.preview.payloads import (
    CsvPreviewPayload,
    DataFrame,
    DefaultPreviewPayload,
    ImagePreviewPayload,
    JSONPreviewPayload,
    MediaPreviewPayload,
    PandasPreviewPayload,
    PartialDataFrame,
    PreviewPayload,
    PreviewPayloadInternal,
    ShapeDataFrame,
    TablePreviewData,
    TablePreviewPayload,
    TextPreviewPayload,
)
from oocana_async.preview.render import render

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
    "render",
]
