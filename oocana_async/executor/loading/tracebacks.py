"""Format what user code raised the way Python does, without the frames of this package around it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

_HEAD = "Traceback (most recent call last):"
_PACKAGE = str(Path(__file__).parents[2] / "_").removesuffix("_")
_ALWAYS_HIDDEN = tuple(str(Path(__file__).with_name(name)) for name in ("imports.py", "modules.py", "sources.py"))
_IMPORTLIB = str(Path("importlib", "__init__.py"))
_IMPORT_MACHINERY = ("<frozen importlib", "<frozen runpy")


def format_exception(error: BaseException, *, keep_own: bool = True) -> str:
    """Return the traceback as text, ending in the normal last line, without a line break at its end.

    Frames of this package and of the import system are left out where the traceback begins and where it ends, those of
    the import rules everywhere. Chained exceptions and groups are kept, each treated the same way.

    Args:
        error: what was raised.
        keep_own: show frames of this package if nothing else remains.
    """
    report = traceback.TracebackException.from_exception(error, compact=True)
    for one in _with_related(report):
        kept = _kept(list(one.stack))
        if kept or not keep_own:
            one.stack[:] = kept
    text = _text(report).rstrip("\n")
    return text if _HEAD in text else f"{_HEAD}\n{text}"


def exit_error(error: SystemExit) -> str | None:
    """Return the error of a block that left with `sys.exit`, `exit` or `quit`, None for success (protocol.md 7.4).

    Only an exit without an argument is a success: in the reference, `sys.exit(0)` is an error too.
    """
    return None if error.code is None else f"block call exit with message: {error.code}"


def _text(report: traceback.TracebackException) -> str:
    try:
        return "".join(report.format())
    except Exception:  # noqa: BLE001 - the parser behind the carets fails at times when several threads use it (3.11)
        for one in _with_related(report):
            one.stack[:] = [
                traceback.FrameSummary(frame.filename, frame.lineno, frame.name, line=frame.line) for frame in one.stack
            ]
        return "".join(report.format())


def _with_related(report: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    todo, seen = [report], set[int]()
    while todo:
        one = todo.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [other for other in (one.__cause__, one.__context__, *(one.exceptions or ())) if other is not None]


def _kept(stack: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    frames = [frame for frame in stack if not _is_import_frame(frame.filename)]
    while frames and frames[0].filename.startswith(_PACKAGE):
        del frames[0]
    while frames and frames[-1].filename.startswith(_PACKAGE):
        del frames[-1]
    return frames


def _is_import_frame(filename: str) -> bool:
    return filename.startswith(_IMPORT_MACHINERY) or filename in _ALWAYS_HIDDEN or filename.endswith(_IMPORTLIB)
