"""What an input handle hands to the block: values, objects, bytes, secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from oocana_async.errors import HandleError
from oocana_async.handles import (
    BinFiles,
    CredentialInput,
    FrameCache,
    SecretsFile,
    StoreKey,
    VarStore,
    cache_directory,
    resolve_inputs,
)
from oocana_async.handles.var_store import wrap_var

VAR = {"handle": "a", "json_schema": {"contentMediaType": "oomol/var"}}
CACHED = {**VAR, "_deserialize_from_cache": True}


class Desk:
    """Resolves inputs against one store and remembers warnings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = VarStore()
        self.warnings: list[str] = []

    def resolve(self, inputs: Any, inputs_def: Any) -> Any:
        return resolve_inputs(
            inputs,
            inputs_def=inputs_def,
            store=self.store,
            secrets=SecretsFile(self.path / "none.json"),
            warn=self.warnings.append,
            cache_dir=cache_directory(self.path),
        )

    def put(self, value: Any, executor: str = "python") -> Any:
        return wrap_var(self.store.put(StoreKey(executor, "df", "J1", "S1"), value))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_no_inputs_are_an_empty_dict(desk: Desk) -> None:
    assert desk.resolve(None, {"a": VAR}) == {}


def test_plain_values_pass_and_the_message_is_not_changed(desk: Desk) -> None:
    inputs = {"a": {"b": [1]}, "undeclared": 2}
    values = desk.resolve(inputs, {"a": {"handle": "a"}})
    assert values == inputs
    values["a"]["b"].append(2)
    assert inputs["a"] == {"b": [1]}


def test_reference_becomes_the_object_itself(desk: Desk) -> None:
    value = object()
    wrapper = desk.put(value)
    assert desk.resolve({"a": wrapper}, {"a": VAR})["a"] is value
    assert desk.resolve({"a": wrapper}, {"a": {"handle": "a"}})["a"] is value


def test_without_a_definition_wrappers_stay(desk: Desk) -> None:
    wrapper = desk.put([1])
    assert desk.resolve({"a": wrapper}, None) == {"a": wrapper}
    assert desk.resolve({"a": wrapper}, {"b": VAR}) == {"a": wrapper}


def test_reference_of_another_language_is_handed_through(desk: Desk) -> None:
    wrapper = {
        "__OOMOL_TYPE__": "oomol/var",
        "value": {"executor": "nodejs", "handle": "x", "job_id": "J", "session_id": "S"},
    }
    assert desk.resolve({"a": wrapper}, {"a": VAR}) == {"a": wrapper}
    assert desk.warnings == []


def test_reference_that_is_not_here_fails_and_names_the_producer(desk: Desk) -> None:
    wrapper = wrap_var({"executor": "python", "handle": "df", "job_id": "J9", "session_id": "S1"})
    with pytest.raises(HandleError, match=r"\[a\].*oomol/var.*\[df\] of job J9"):
        desk.resolve({"a": wrapper}, {"a": VAR})


@pytest.mark.parametrize("reference", [None, {}, "x", {"executor": "python", "handle": 1}])
def test_wrapper_without_a_reference_stays_with_a_warning(desk: Desk, reference: Any) -> None:
    wrapper = {"__OOMOL_TYPE__": "oomol/var", "value": reference}
    assert desk.resolve({"a": wrapper}, {"a": VAR}) == {"a": wrapper}
    assert desk.warnings == ["input handle [a]: the oomol/var value is no reference; it is handed over as it is"]


def test_file_becomes_bytes(desk: Desk, tmp_path: Path) -> None:
    wrapper = BinFiles(tmp_path, "S1").write("J1", "photo", b"abc")
    assert desk.resolve({"a": wrapper}, {"a": {"handle": "a"}}) == {"a": b"abc"}


def test_missing_file_fails(desk: Desk) -> None:
    with pytest.raises(HandleError, match=r"\[a\].*/no/such does not exist"):
        desk.resolve({"a": {"__OOMOL_TYPE__": "oomol/bin", "value": "/no/such"}}, {"a": {"handle": "a"}})


def test_credential_needs_its_handle_type(desk: Desk) -> None:
    text = "${{OO_CREDENTIAL:AWS,key,42}}"
    inputs_def = {"a": {"json_schema": {"contentMediaType": "oomol/credential"}}, "b": {"handle": "b"}}
    assert desk.resolve({"a": text, "b": text}, inputs_def) == {"a": CredentialInput("AWS", "42", "key"), "b": text}


def test_cached_frame_is_read_once_and_shared(desk: Desk, tmp_path: Path) -> None:
    path = FrameCache(str(tmp_path), "flow", "node").write("df", pd.DataFrame({"a": [1]}))
    reference = {"executor": "python", "handle": "df", "job_id": "J0", "session_id": "S0"}
    wrapper = wrap_var(reference, serialize_path=path)
    first = desk.resolve({"a": wrapper}, {"a": CACHED})["a"]
    assert list(first["a"]) == [1]
    assert desk.resolve({"a": wrapper}, {"a": CACHED})["a"] is first


def test_cached_frame_without_the_mark_is_not_read(desk: Desk, tmp_path: Path) -> None:
    path = FrameCache(str(tmp_path), "flow", "node").write("df", pd.DataFrame({"a": [1]}))
    reference = {"executor": "python", "handle": "df", "job_id": "J0", "session_id": "S0"}
    with pytest.raises(HandleError, match="is not in this process"):
        desk.resolve({"a": wrap_var(reference, serialize_path=path)}, {"a": VAR})


def test_pickle_from_elsewhere_is_refused(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"")
    reference = {"executor": "python", "handle": "df", "job_id": "J0", "session_id": "S0"}
    with pytest.raises(HandleError, match="will not unpickle"):
        desk.resolve({"a": wrap_var(reference, serialize_path=str(tmp_path / "x.pkl"))}, {"a": CACHED})


def test_definitions_that_are_no_objects_are_passed_over(desk: Desk) -> None:
    assert desk.resolve({"a": 1}, {"a": None}) == {"a": 1}
