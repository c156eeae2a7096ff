"""A home directory of its own for every run, and short ways to run things."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep caches and session directories of the runs away from the real home and temporary directory."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    monkeypatch.delenv("OOCANA_ENV_FILE", raising=False)
    monkeypatch.delenv("OOCANA_TEMP_ROOT", raising=False)
    return home
