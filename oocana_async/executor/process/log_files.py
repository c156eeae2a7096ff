"""Log files of an executor process, where the official executor has them (protocol.md 2.3); no message bodies."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

__all__ = ["set_up_logging"]

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up_logging(directory: Path, identifier: str | None, *, console: bool) -> str:
    """Send the own logger and the root logger to their files.

    Args:
        directory: `~/.oocana/sessions/{session_id}`; made when missing.
        identifier: part of the file names.
        console: write everything to stdout instead.

    Returns:
        Where the own log goes, for people. A directory that cannot be written to falls back to stderr.
    """
    suffix = "" if identifier is None else f"-{identifier}"
    own, root = logging.getLogger("oocana_async"), logging.getLogger()
    own.setLevel(logging.INFO)
    root.setLevel(logging.INFO)
    if console:
        root.addHandler(_handler(logging.StreamHandler(sys.stdout)))
        return "stdout"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"python-executor{suffix}.log"
        own.addHandler(_handler(logging.FileHandler(path, encoding="utf-8")))
        root.addHandler(_handler(logging.FileHandler(directory / f"python{suffix}.log", encoding="utf-8", delay=True)))
    except OSError as error:
        root.addHandler(_handler(logging.StreamHandler()))
        root.warning("cannot write logs to %s: %s", directory, error)
        return "stderr"
    own.propagate = False
    return str(path)


def _handler(handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(logging.Formatter(_FORMAT))
    return handler
