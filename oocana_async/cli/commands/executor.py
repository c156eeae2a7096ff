"""`oocana-async executor`: runs blocks for the OOCANA engine, as the program `python-executor` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["HELP", "run"]

HELP: Final = "run blocks for the OOCANA engine, like python-executor; `executor --help` lists its options"


def run(argv: Sequence[str]) -> int:
    """Run an executor until its session is over.

    Its command line is the engine's to define, unknown options and all, and it leaves by its own rules when a signal
    comes: so it is a program of its own under this command's name.

    Returns:
        Its exit code.
    """
    from oocana_async.executor.process.entry import main

    return main(list(argv))
