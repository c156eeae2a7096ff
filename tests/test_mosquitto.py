"""The broker of the tests: it does not outlive them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.broker
def test_broker_ends_with_the_process_that_started_it_however_that_ends(mosquitto: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mosquitto.log")  # reading it ends when nobody has it open any more
    code = (
        "import os, pathlib, signal, sys; from tests.conftest import MosquittoBroker\n"
        "MosquittoBroker(sys.argv[1], pathlib.Path(sys.argv[2]), ()).start(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    tests = subprocess.Popen([sys.executable, "-c", code, mosquitto, str(tmp_path)], cwd=ROOT)
    assert "running" in (tmp_path / "mosquitto.log").read_text()
    assert tests.wait() < 0
