"""Keeps data frames of `oomol/var` handles in files for the next run (protocol.md 5.6)."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, get_args

import msgspec

from oocana_async.errors import HandleError
from oocana_async.handles.bin_files import safe_name, write_atomically

__all__ = [
    "COMPRESSION_OPTIONS_FILE",
    "CompressionMethod",
    "CompressionOptions",
    "FrameCache",
    "SUPPORTED_COMPRESSION_METHODS",
    "cache_directory",
    "compression_options",
    "compression_suffix",
    "is_cacheable_frame",
    "read_frame",
    "setup_dataframe_serialization",
]

CompressionMethod: TypeAlias = Literal["zip", "gzip", "bz2", "zstd", "xz", "tar"]


class CompressionOptions(TypedDict):
    """How cached frames are compressed; None is not at all."""

    method: CompressionMethod | None


class _HasDataDir(Protocol):
    @property
    def pkg_data_dir(self) -> str: ...


COMPRESSION_OPTIONS_FILE = "__compression_options.json"
"""Where a package keeps how its frames are compressed, in its `pkg_data_dir`."""
SUPPORTED_COMPRESSION_METHODS: list[str] = list(get_args(CompressionMethod))
_SUFFIXES: dict[str | None, str] = {
    None: ".pkl",
    "zip": ".zip",
    "gzip": ".gz",
    "bz2": ".bz2",
    "zstd": ".zst",
    "xz": ".xz",
    "tar": ".tar",
}
_METHODS = {suffix: method for method, suffix in _SUFFIXES.items()}


def setup_dataframe_serialization(context: _HasDataDir, compression: CompressionOptions | None = None) -> None:
    """Choose how data frames of this package are compressed when they are kept for the next run.

    Args:
        context: the block's context; the choice is stored in its `pkg_data_dir`.
        compression: `{"method": M}`, M one of zip, gzip, bz2, zstd (needs `zstandard`), xz, tar; None
            deletes the choice.

    Raises:
        ValueError: The method is unknown.
    """
    path = Path(context.pkg_data_dir) / COMPRESSION_OPTIONS_FILE
    if compression is None:
        path.unlink(missing_ok=True)
        return
    method = compression.get("method")
    if method not in _SUFFIXES:
        raise ValueError(f"Unsupported compression method: {method}")
    content = json.dumps({"method": method})
    write_atomically(path, lambda temporary: temporary.write_text(content, encoding="utf-8"))


def compression_options(context: _HasDataDir) -> CompressionOptions | None:
    """Give what `setup_dataframe_serialization` has chosen, None if that is nothing."""
    try:
        options = json.loads((Path(context.pkg_data_dir) / COMPRESSION_OPTIONS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    method = options.get("method") if isinstance(options, dict) else None
    return {"method": method} if method in SUPPORTED_COMPRESSION_METHODS else None


def compression_suffix(context: _HasDataDir) -> str:
    """Give how the files of cached frames end under the compression that is chosen now."""
    options = compression_options(context)
    return _SUFFIXES[None if options is None else options["method"]]


@functools.lru_cache(maxsize=64)
def cache_directory(pkg_data_dir: str | Path) -> Path:
    """Give the only directory from which cached frames are ever read."""
    return Path(pkg_data_dir) / ".cache"


def is_cacheable_frame(value: Any) -> bool:
    """Say whether a value is a data frame that can pickle itself."""
    return type(value).__name__ == "DataFrame" and callable(getattr(value, "to_pickle", None))


class FrameCache(msgspec.Struct, frozen=True):
    """Where the frames of one node are kept.

    Attributes:
        pkg_data_dir: data directory of the scope.
        flow: path of the flow, as its stack frame names it.
        node_id: the node.
    """

    pkg_data_dir: str
    flow: str
    node_id: str

    def path_of(self, handle: str) -> Path:
        """Give the file for a handle under the compression that is chosen now."""
        digest = hashlib.sha256(f"{self.flow}-{self.node_id}".encode()).hexdigest()
        return cache_directory(self.pkg_data_dir) / digest / f"{safe_name(handle)}{compression_suffix(self)}"

    def write(self, handle: str, frame: Any) -> str:
        """Pickle a frame and return its path; when this returns the file is complete.

        Args:
            handle: the output handle.
            frame: a pandas data frame.

        Raises:
            Exception: Whatever pickling or writing raises; no file is left behind then.
        """
        path = self.path_of(handle)
        compression = _compression_of(path)
        write_atomically(path, lambda temporary: frame.to_pickle(temporary, compression=compression))
        return str(path)


def _compression_of(path: Path) -> dict[str, str] | None:
    method = _METHODS.get(path.suffix)
    return None if method is None else {"method": method}


def read_frame(path: str, cache_dir: str | Path | None, *, handle: str) -> Any:
    """Read a cached frame, from the own cache directory only: reading a pickle runs code.

    Args:
        path: what the message names as `serialize_path`.
        cache_dir: `{pkg_data_dir}/.cache`; links are followed before the two are compared.
        handle: the input handle, for the error.

    Raises:
        HandleError: The path is no file in that directory, or the file is broken.
    """
    resolved = Path(path).resolve()
    if cache_dir is None or not resolved.is_relative_to(Path(cache_dir).resolve()):
        reason = f"input handle [{handle}]: will not unpickle {path}, it is outside of the cache directory {cache_dir}"
        raise HandleError(reason, handle=handle)
    if not resolved.is_file():
        raise HandleError(f"input handle [{handle}]: the cached data frame {path} does not exist", handle=handle)
    import pandas as pd

    try:
        return pd.read_pickle(resolved, compression=_compression_of(resolved))  # noqa: S301 - in the own cache
    except Exception as error:
        reason = f"input handle [{handle}]: the cached data frame {path} cannot be read: {error}"
        raise HandleError(reason, handle=handle) from error
