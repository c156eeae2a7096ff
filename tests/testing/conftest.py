"""Fixtures: scriptlets in files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

WriteScriptlet = Callable[..., Path]


@pytest.fixture
def scriptlet(tmp_path: Path) -> WriteScriptlet:
    """Write a scriptlet and return its path."""

    def write(text: str, name: str = "scriptlet.py") -> Path:
        path = tmp_path / "scriptlets" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text).lstrip())
        return path

    return write
