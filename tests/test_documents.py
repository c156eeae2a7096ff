"""What the documents name exists: paths everywhere, classes in the glossary."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = ROOT / "docs" / "glossary.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PATH = re.compile(r"(?<![\w/.~-])(?:oocana_async|tests|benchmarks|examples|docs)/[\w/.-]*")
CODE = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "oocana_async").rglob("*.py"))
CLASSES = set(re.findall(r"^ *class (\w+)", CODE, re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_that_a_document_names_is_there(document: Path) -> None:
    named = {path.rstrip(".") for path in PATH.findall(document.read_text(encoding="utf-8"))}
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_every_class_that_the_glossary_names_is_there() -> None:
    named = re.findall(r"`([A-Z][a-z]+(?:[A-Z]\w*)?)`", GLOSSARY.read_text(encoding="utf-8"))
    assert len(named) > 20
    assert sorted(set(named) - CLASSES) == []


def test_class_stands_in_the_module_that_the_glossary_gives_it() -> None:
    text = " ".join(GLOSSARY.read_text(encoding="utf-8").split())
    pairs = re.findall(r"`([A-Z]\w+)` in `([\w/]+\.py)`", text)
    assert len(pairs) > 20
    assert [name for name, path in pairs if f"class {name}" not in (ROOT / path).read_text(encoding="utf-8")] == []


def test_glossary_is_in_the_order_of_the_alphabet() -> None:
    words = re.findall(r"^- \*\*(.+?)\*\*", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    assert words == sorted(words, key=str.casefold)
