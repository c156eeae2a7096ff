"""A block that sends a great many outputs does not grow the process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "outputs.py"
MEBIBYTE = 1024 * 1024
COUNT = 150_000


@pytest.mark.skipif(sys.platform != "linux", reason="the resident set is read from /proc")
@pytest.mark.parametrize(("mode", "bound"), [("awaited", 32), ("from a thread", 32), ("un-awaited", 32 + 64)])
def test_resident_set_stays_flat_while_a_block_sends(mode: str, bound: int) -> None:
    line = [sys.executable, str(BENCHMARK), "--grow", mode, str(COUNT)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True, cwd=BENCHMARK.parents[1])
    assert json.loads(done.stdout) < bound * MEBIBYTE
