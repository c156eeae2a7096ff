"""The cases in this repository are the recorded ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.harness import COPIES, HERE, ORIGINALS, load_cases


def files_below(directory: Path) -> dict[str, bytes]:
    paths = [path for path in directory.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.skipif(not ORIGINALS.is_dir(), reason="no shared/conformance beside this clone")
def test_copies_are_identical_to_the_recordings() -> None:
    tools = ("compare.py", "normalise.py")
    ours = files_below(COPIES) | {name: (HERE / name).read_bytes() for name in tools}
    theirs = {name: text for name, text in files_below(ORIGINALS).items() if name != "README.md"}
    assert ours.keys() == theirs.keys()
    assert [name for name, text in ours.items() if theirs[name] != text] == []


def test_copies_cover_every_chapter_of_the_flow_format() -> None:
    cases = load_cases(COPIES)
    assert len(cases) == 153
    assert sum(bool(case.settings.get("quirk")) for case in cases) == 9
