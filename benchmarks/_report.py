"""What the benchmarks share: rounds that interleave their runs, medians with their spread, ratios, checks, the machine.

Absolute figures describe the machine; ratios within a round do not, because what else it does hits all runs alike.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["Checks", "Figures", "arguments", "machine", "measure", "resident_bytes"]

MEBIBYTE = 1024 * 1024


def arguments(description: str | None) -> argparse.Namespace:
    """Read the command line: `--smoke` and `--rounds`."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="a few seconds: check delivery, measure little")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of measurement")
    return parser.parse_args()


def machine() -> str:
    """Describe the machine in one line, with what it is busy with."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(": ")[2] for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}{load}"


def resident_bytes() -> int:
    """Return the resident set of this process, where the system tells."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Figures:
    """One figure per round for each name."""

    def __init__(self) -> None:
        self.rounds: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> None:
        """Note the figure of one round."""
        self.rounds.setdefault(name, []).append(value)

    def median(self, name: str) -> float:
        """Return the median of a name."""
        return statistics.median(self.rounds[name])

    def show(self, name: str, form: str, unit: str) -> str:
        """Return median and spread of a name."""
        return _with_spread(self.rounds[name], form, unit)

    def ratio(self, name: str, other: str) -> str:
        """Return the ratio of two names, taken within each round."""
        pairs = zip(self.rounds[name], self.rounds[other], strict=True)
        return _with_spread([one / two for one, two in pairs], ".2f", " x")

    def median_ratio(self, name: str, other: str) -> float:
        """Return the median of the ratios of two names."""
        return statistics.median(one / two for one, two in zip(self.rounds[name], self.rounds[other], strict=True))


def _with_spread(values: Sequence[float], form: str, unit: str) -> str:
    middle = f"{statistics.median(values):{form}}{unit}"
    return middle if len(values) == 1 else f"{middle}   ({min(values):{form}} to {max(values):{form}})"


def measure(runs: Mapping[str, Callable[[], float]], rounds: int) -> Figures:
    """Do every run once per round, after one round that does not count.

    Args:
        runs: name to a function that does the run and returns its figure.
        rounds: rounds that count.
    """
    figures = Figures()
    for number in range(-1, rounds):
        for name, run in runs.items():
            value = run()
            if number >= 0:
                figures.add(name, value)
    return figures


class Checks:
    """Collects what went wrong, for the exit code."""

    def __init__(self) -> None:
        self._failed: list[str] = []

    def require(self, holds: bool, otherwise: str) -> None:
        """Note a fault unless something holds."""
        if not holds:
            self._failed.append(otherwise)
            print(f"FAILED: {otherwise}", file=sys.stderr, flush=True)

    @property
    def exit_code(self) -> int:
        """1 after a fault, else 0."""
        return 1 if self._failed else 0
