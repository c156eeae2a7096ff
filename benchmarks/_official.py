"""The official packages as opponents: where their interpreter is, and the command lines of benchmarks over a broker."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks._rivals import RivalError, find_python

__all__ = ["OURS", "executor_of", "find_official", "wire_arguments"]

OURS = Path(sys.executable).parent / "python-executor"
PACKAGES = ("oocana", "oocana-python-executor", "matplotlib", "plotly")
MODULES = ("oocana", "python_executor", "matplotlib", "plotly")


def wire_arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with `--smoke`, `--rounds` and `--official`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--smoke", action="store_true", help="a few seconds, without the official packages")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count (default: 3)")
    parser.add_argument("--official", metavar="PYTHON", type=Path, help="interpreter that has the official packages")
    return parser


def find_official(given: argparse.Namespace) -> Path | None:
    """Return the interpreter with the official packages, None for a smoke run or when they cannot be had."""
    if given.smoke:
        return None
    if given.official is not None:
        return Path(given.official)
    try:
        return find_python("oocana", MODULES, PACKAGES)
    except RivalError as error:
        print(f"without the official packages: {error}", file=sys.stderr, flush=True)
        return None


def executor_of(python: Path) -> Path:
    """Return the `python-executor` beside an interpreter."""
    return python.parent / "python-executor"
