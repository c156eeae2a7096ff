"""Secrets: placeholders, schemas and patches are resolved, and what was resolved is hidden from then on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from oocana_async.errors import HandleError
from oocana_async.handles import Redactor, SecretsFile, VarStore, resolve_inputs

CONTENT = {
    "site": {
        "id": "1",
        "secretName": "site",
        "secretType": "Custom",
        "createdAt": 0,
        "secrets": [{"secretKey": "KEY", "value": "hunter2"}, {"secretKey": "ODD", "value": "a,b,c"}],
    },
    "broken": {"secrets": "x"},
}
PLACEHOLDER = "${{OO_SECRET:Custom,site,KEY}}"
SECRET = {"contentMediaType": "oomol/secret"}
LEAF = {"type": "string", "contentMediaType": "oomol/secret"}


class Desk:
    """Resolves inputs with one secrets file and remembers warnings."""

    def __init__(self, path: Path) -> None:
        self.file = SecretsFile(path)
        self.redactor = Redactor()
        self.warnings: list[str] = []

    def resolve(self, inputs: Any, inputs_def: Any = None, patches: Any = None) -> Any:
        return resolve_inputs(
            inputs,
            inputs_def={} if inputs_def is None else inputs_def,
            patches=patches,
            store=VarStore(),
            secrets=self.file,
            warn=self.warnings.append,
            redactor=self.redactor,
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps(CONTENT))
    return path


@pytest.fixture
def desk(path: Path) -> Desk:
    return Desk(path)


def definition(schema: Any) -> Any:
    return {"token": {"handle": "token", "json_schema": schema}}


def test_placeholder_is_replaced_anywhere_without_a_schema(desk: Desk) -> None:
    inputs = {"a": PLACEHOLDER, "b": {"c": [PLACEHOLDER, 1]}}
    assert desk.resolve(inputs) == {"a": "hunter2", "b": {"c": ["hunter2", 1]}}
    assert inputs["b"] == {"c": [PLACEHOLDER, 1]}
    assert desk.warnings == []


@pytest.mark.parametrize(
    "text", [f"Bearer {PLACEHOLDER}", f"{PLACEHOLDER} ", "${{OO_SECRET:site,KEY}}", f"{PLACEHOLDER}\n"]
)
def test_text_around_a_placeholder_prevents_it(desk: Desk, text: str) -> None:
    assert desk.resolve({"a": text}) == {"a": text}


def test_without_definitions_placeholders_stay(desk: Desk) -> None:
    values = resolve_inputs(
        {"a": PLACEHOLDER}, inputs_def=None, store=VarStore(), secrets=desk.file, warn=desk.warnings.append
    )
    assert values == {"a": PLACEHOLDER}


def test_placeholder_without_a_secret_becomes_its_reference_with_a_warning(desk: Desk) -> None:
    assert desk.resolve({"a": {"b": "${{OO_SECRET:Custom,site,NO}}"}}) == {"a": {"b": "Custom,site,NO"}}
    assert desk.warnings == ["input handle [a]['b']: secret Custom,site,NO not found; the reference itself is used"]


@pytest.mark.parametrize("reference", ["Custom,none,KEY", "Custom,broken,KEY", "Custom,site,NO"])
def test_reference_without_a_secret_stays(desk: Desk, reference: str) -> None:
    assert desk.resolve({"token": reference}, definition(SECRET)) == {"token": reference}
    [warning] = desk.warnings
    assert "input handle [token]" in warning
    assert reference not in warning


def test_other_type_only_warns(desk: Desk) -> None:
    assert desk.resolve({"a": "${{OO_SECRET:AWS,site,KEY}}"}) == {"a": "hunter2"}
    assert desk.warnings == ["input handle [a]: secret AWS,site,KEY is of type Custom, not AWS"]


@pytest.mark.parametrize("schema", [SECRET, LEAF, {"type": "object", "contentMediaType": "oomol/secret"}])
def test_secret_handle_takes_a_bare_reference(desk: Desk, schema: Any) -> None:
    assert desk.resolve({"token": "Custom,site,KEY"}, definition(schema)) == {"token": "hunter2"}


@pytest.mark.parametrize("reference", [PLACEHOLDER, "${{OO_SECRET:Custom,site,ODD}}"])
def test_secret_put_in_by_a_placeholder_is_not_taken_for_a_reference(desk: Desk, reference: str) -> None:
    patches = {"token": [{"path": None, "schema": SECRET}]}
    value = desk.resolve({"token": reference}, definition(SECRET), patches)["token"]
    assert value in ("hunter2", "a,b,c")
    assert desk.warnings == []


@pytest.mark.parametrize("value", [None, ""])
def test_nothing_given_passes_even_without_a_file(tmp_path: Path, value: Any) -> None:
    desk = Desk(tmp_path / "missing.json")
    inputs_def = definition({"type": "object", "properties": {"pw": LEAF}})
    assert desk.resolve({"token": {"pw": value}}, inputs_def) == {"token": {"pw": value}}
    assert desk.resolve({"token": value}, definition(SECRET)) == {"token": value}
    assert desk.warnings == []


def test_text_that_is_no_reference_stays_and_is_not_quoted(desk: Desk) -> None:
    assert desk.resolve({"token": "s3cr3t"}, definition(SECRET)) == {"token": "s3cr3t"}
    assert desk.resolve({"token": 4711}, definition(SECRET)) == {"token": 4711}
    assert 'expected the text "type,name,key"' in desk.warnings[0]
    assert "a secret must be text, but got int" in desk.warnings[1]
    assert "s3cr3t" not in "".join(desk.warnings)


def test_secrets_inside_objects_and_arrays_are_found_by_schema(desk: Desk) -> None:
    schema = {
        "type": "object",
        "properties": {"list": {"type": "array", "items": LEAF}, "in": {"type": "object", "properties": {"pw": LEAF}}},
    }
    value = {"list": ["Custom,site,KEY", None], "in": {"pw": "Custom,site,KEY", "user": "Custom,site,KEY"}, "x": 1}
    assert desk.resolve({"token": value}, definition(schema)) == {
        "token": {"list": ["hunter2", None], "in": {"pw": "hunter2", "user": "Custom,site,KEY"}, "x": 1}
    }


@pytest.mark.parametrize(
    ("where", "value", "expected"),
    [
        (None, "R", "S"),
        ("", "R", "S"),
        ("pw", {"pw": "R", "x": "R"}, {"pw": "S", "x": "R"}),
        (1, ["R", "R"], ["R", "S"]),
        (["a", 0, "pw"], {"a": [{"pw": "R"}]}, {"a": [{"pw": "S"}]}),
        (["a", "no"], {"a": {"pw": "R"}}, {"a": {"pw": "R"}}),
        ([["a"]], {"a": "R"}, {"a": "R"}),
        (5, ["R"], ["R"]),
        ("pw", "R", "R"),
    ],
)
def test_patch_looks_up_the_place_it_names(desk: Desk, where: Any, value: Any, expected: Any) -> None:
    inputs = {"token": json.loads(json.dumps(value).replace('"R"', '"Custom,site,KEY"'))}
    patches = {"token": [{"path": where, "schema": SECRET}]}
    wanted = json.loads(json.dumps(expected).replace('"R"', '"Custom,site,KEY"').replace('"S"', '"hunter2"'))
    assert desk.resolve(inputs, definition(None), patches) == {"token": wanted}


@pytest.mark.parametrize("patches", [{"token": "x"}, {"token": ["x"]}, {"token": [{"path": None}]}, "x"])
def test_strange_patches_are_passed_over(desk: Desk, patches: Any) -> None:
    assert desk.resolve({"token": "Custom,site,KEY"}, definition(None), patches) == {"token": "Custom,site,KEY"}


@pytest.mark.parametrize("content", [None, "{", "[1]", "\ud800"])
def test_missing_or_broken_file_fails_secret_handles_only(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "secrets.json"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogatepass"))
    desk = Desk(path)
    assert desk.resolve({"a": PLACEHOLDER}) == {"a": PLACEHOLDER}
    assert "secret file not found or invalid json file" in desk.warnings[0]
    with pytest.raises(HandleError, match=r"secret file not found or invalid json file.*\[token\]"):
        desk.resolve({"token": "Custom,site,KEY"}, definition(SECRET))


def test_file_is_read_again_only_when_it_has_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    read_bytes = Path.read_bytes

    def read(self: Path) -> bytes:
        reads.append(self)
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", read)
    file = SecretsFile(path)
    assert reads == []
    file.read()
    file.read()
    assert len(reads) == 1
    path.write_text("{}")
    os.utime(path, ns=(1, 1))
    assert file.read() == {}
    assert len(reads) == 2
    path.unlink()
    assert file.read() is None


def test_file_lies_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert SecretsFile().path == tmp_path / "app-config" / "oomol-secrets" / "secrets.json"


def test_resolved_secrets_are_redacted_from_then_on(desk: Desk) -> None:
    assert desk.redactor.redact("hunter2") == "hunter2"
    desk.resolve({"a": PLACEHOLDER})
    assert desk.redactor.redact("hunter2") == "***"
