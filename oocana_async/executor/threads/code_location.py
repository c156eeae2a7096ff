"""Tell where a thread is, in the words of the person whose code it runs."""

from __future__ import annotations

import sys
import sysconfig
import threading
from pathlib import Path
from types import FrameType
from typing import NamedTuple

_PACKAGE = str(Path(__file__).parents[2])


class CodeLocation(NamedTuple):
    """A line of code.

    Attributes:
        file: path of the file.
        line: 1-based line.
        function: name of the function.
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


def location_of_thread(thread: threading.Thread) -> CodeLocation | None:
    """Return where a thread is: the innermost line outside of libraries, else the innermost; None if it has ended."""
    innermost = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the public way to other threads' frames
    frame: FrameType | None = innermost
    libraries = _libraries()
    while frame is not None and frame.f_code.co_filename.startswith(libraries):
        frame = frame.f_back
    found = frame or innermost
    return None if found is None else CodeLocation(found.f_code.co_filename, found.f_lineno, found.f_code.co_name)


def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return ("<frozen", _PACKAGE, *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")))
