"""Recognises images, sound and video by their bytes or file names, and writes them as data URLs."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from pathlib import PurePath
from typing import Any

__all__ = ["data_url", "figure_url", "image_url", "kind_of_file", "mime_type_of"]

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
)

_KINDS = {
    "image": (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".svg", ".tif", ".tiff", ".ico", ".avif"),
    "video": (".mp4", ".webm", ".mov", ".m4v", ".mkv", ".avi"),
    "audio": (".mp3", ".wav", ".ogg", ".flac", ".m4a", ".aac"),
    "csv": (".csv",),
}
_KIND_OF_SUFFIX = {suffix: kind for kind, suffixes in _KINDS.items() for suffix in suffixes}

_MODES_OF_PNG = frozenset(("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"))


def kind_of_file(path: PurePath) -> str | None:
    """Give the preview type that shows a file, by the end of its name; None if there is none."""
    return _KIND_OF_SUFFIX.get(path.suffix.lower())


def mime_type_of(content: bytes) -> str | None:
    """Recognise an image, sound or video by its first bytes; None for anything else."""
    for offset, magic, mime_type in _MAGIC:
        if content.startswith(magic, offset):
            return mime_type
    start = content[:256].lstrip()
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in content[:2048]):
        return "image/svg+xml"
    return None


def data_url(content: bytes, mime_type: str) -> str:
    """Write bytes as a `data:` URL."""
    return f"data:{mime_type};base64,{b64encode(content).decode('ascii')}"


def figure_url(figure: Any) -> str:
    """Draw a figure (anything with `savefig`) as a PNG data URL, here and now."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return data_url(buffer.getvalue(), "image/png")


def image_url(image: Any) -> str:
    """Write a PIL image as a PNG data URL; modes that PNG lacks, such as CMYK, become RGB."""
    if image.mode not in _MODES_OF_PNG:
        image = image.convert("RGB")
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return data_url(buffer.getvalue(), "image/png")
