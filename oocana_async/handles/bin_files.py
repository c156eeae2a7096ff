"""Writes and reads the files through which the bytes of `oomol/bin` handles travel (protocol.md 5.3)."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, TypeAlias, TypeGuard
from uuid import uuid4

from oocana_async.errors import HandleError
from oocana_async.handles.definitions import BinValueDict

__all__ = ["BinFiles", "BytesLike", "is_bytes_like", "read_bin", "safe_name", "write_atomically"]

BytesLike: TypeAlias = bytes | bytearray | memoryview

_MAX_NAME_BYTES = 200
_UNSAFE = re.compile(r"[^\w .()\[\]@=,+-]")


def is_bytes_like(value: Any) -> TypeGuard[BytesLike]:
    """Say whether a value is bytes, a bytearray or a memoryview."""
    return isinstance(value, bytes | bytearray | memoryview)


def safe_name(name: str) -> str:
    """Make a file name of any text; it never leads out of its directory.

    Ordinary names stay as they are. In others what is unsafe becomes `_`, and a hash keeps different names apart.
    """
    safe = _UNSAFE.sub("_", name)
    while len(safe.encode(errors="replace")) > _MAX_NAME_BYTES:
        safe = safe[: len(safe) // 2]
    if safe == name and name.strip(". ") and name == name.strip():
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{safe.strip('. ')}-{digest}"


def write_atomically(target: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside the target and move it there, so that nobody ever sees half of it.

    Args:
        target: where the file shall be; its directory is made if it is missing.
        write: writes the file whose path it is given.

    Raises:
        OSError: The file cannot be written; nothing is left behind.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid4().hex}.tmp")
    try:
        write(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


class BinFiles:
    """Writes the files of one session; safe to use from any thread.

    The first output of a handle in a job gets `{session_dir}/binary/{session_id}/{job_id}/{handle}`, further ones
    `{handle}.2` and so on, so that a slow consumer finds the bytes that were meant for it.

    Args:
        session_dir: the session's directory.
        session_id: the session.
        linkable: further directories of the session; a file in one of them that nobody may write to is hard-linked.
            All other files are copied: whoever writes to a linked file changes what has been sent.
    """

    def __init__(self, session_dir: str | Path, session_id: str, *, linkable: Sequence[str | Path] = ()) -> None:
        self._root = Path(session_dir) / "binary" / safe_name(session_id)
        self._linkable = tuple(Path(path).resolve() for path in (session_dir, *linkable))
        self._lock = threading.Lock()
        self._counts: dict[str, dict[str, int]] = {}

    def write(self, job_id: str, handle: str, value: BytesLike | PurePath) -> BinValueDict:
        """Write one output and return its wrapper.

        Args:
            job_id: the job that sends.
            handle: the output handle.
            value: the bytes, or the path of a file that holds them; that file stays where it is.

        Raises:
            HandleError: The path names no file.
            OSError: The file cannot be written.
        """
        source = _existing_file(value, handle) if isinstance(value, PurePath) else None
        target = self._reserve(job_id, handle)
        if source is None:
            content = _contiguous(value)
            write_atomically(target, lambda path: path.write_bytes(content))
        elif self._may_link(source):
            write_atomically(target, lambda path: _link_or_copy(source, path))
        else:
            write_atomically(target, lambda path: _copy(source, path))
        return {"__OOMOL_TYPE__": "oomol/bin", "value": str(target)}

    def forget_job(self, job_id: str) -> None:
        """Forget how many outputs a finished job has sent; its files stay for its consumers."""
        with self._lock:
            self._counts.pop(job_id, None)

    def _reserve(self, job_id: str, handle: str) -> Path:
        name = safe_name(handle)
        with self._lock:
            counts = self._counts.setdefault(job_id, {})
            count = counts.get(name.casefold(), 0) + 1
            while not _is_free(numbered := name if count == 1 else f"{name}.{count}", counts):
                count += 1
            counts[name.casefold()] = count
        return self._root / safe_name(job_id) / numbered

    def _may_link(self, source: Path) -> bool:
        if source.stat().st_mode & 0o222:
            return False
        return any(source.is_relative_to(directory) for directory in self._linkable)


def _is_free(file_name: str, counts: dict[str, int]) -> bool:
    """Say whether no other handle of the job has this file: handle `a.2` must not meet the second file of `a`."""
    key = file_name.casefold()
    if counts.get(key, 0) > 0:
        return False
    base, _, number = key.rpartition(".")
    return not (number.isdecimal() and 1 < int(number) <= counts.get(base, 0))


def _contiguous(value: Any) -> BytesLike:
    """Files take any buffer without a copy, unless it has gaps."""
    view = memoryview(value)
    return view if view.c_contiguous else view.tobytes()


def _existing_file(path: PurePath, handle: str) -> Path:
    source = Path(path).resolve()
    if not source.is_file():
        raise HandleError(
            f"output handle [{handle}]: {path} is not a file; give bytes or the path of one", handle=handle
        )
    return source


def _copy(source: Path, target: Path) -> None:
    import shutil  # slow to import, and rarely needed

    shutil.copyfile(source, target)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        _copy(source, target)


def read_bin(wrapper: Mapping[str, Any], *, handle: str) -> bytes:
    """Read the bytes of a wrapper.

    Args:
        wrapper: `{"__OOMOL_TYPE__": "oomol/bin", "value": path}`.
        handle: the input handle, for the error.

    Raises:
        HandleError: The wrapper names no file, or the file cannot be read.
    """
    path = wrapper.get("value")
    if not isinstance(path, str) or not path:
        raise HandleError(f"input handle [{handle}]: the oomol/bin value names no file", handle=handle)
    if not Path(path).is_file():
        reason = (
            f"input handle [{handle}]: the oomol/bin file {path} does not exist; was the session directory cleaned?"
        )
        raise HandleError(reason, handle=handle)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        reason = f"input handle [{handle}]: the oomol/bin file {path} cannot be read: {error.strerror}"
        raise HandleError(reason, handle=handle) from error
