"""Input values that are kept for another run of the same flow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oocana_async.engine.cache import InputCache
from oocana_async.wire.messages.shared import InputHandle
from tests.engine.graphs import graph, node, plain, raw

FLOW = graph(node("a"), node("b", {"x": [("a", "out")]}))


def wrapped(path: Any) -> dict[str, Any]:
    return {"__OOMOL_TYPE__": "oomol/var", "value": {}, "serialize_path": path}


def saved(tmp_path: Path, value: Any, schema: Any = None) -> Any:
    """Save one value for `b.x` and return what a later run gets."""
    loaded, sources = node("b", {"x": [("a", "out")]})
    handle = {"x": InputHandle("x", json_schema=schema)}
    flow = graph(node("a"), (type(loaded)("b", loaded.block, inputs_def=handle, queued=loaded.queued), sources))
    InputCache(tmp_path).save(flow, {"b": {"x": raw(value)}})
    found = InputCache(tmp_path).load(flow)
    return plain(found["b"]["x"]) if found else None


@pytest.mark.parametrize("value", [None, 0, "text", [1, {"a": None}]])
def test_plain_values_come_back(tmp_path: Path, value: Any) -> None:
    InputCache(tmp_path).save(FLOW, {"b": {"x": raw(value)}})
    assert plain(InputCache(tmp_path).load(FLOW)["b"]["x"]) == value


def test_values_of_another_flow_stay_there(tmp_path: Path) -> None:
    InputCache(tmp_path).save(FLOW, {"b": {"x": raw(1)}})
    other = replace(FLOW, path=Path("/ws/flows/other/flow.oo.yaml"))
    assert InputCache(tmp_path).load(other) == {}


def test_flows_share_the_index(tmp_path: Path) -> None:
    other = replace(FLOW, path=Path("/ws/flows/other/flow.oo.yaml"))
    InputCache(tmp_path).save(FLOW, {"b": {"x": raw(1)}})
    InputCache(tmp_path).save(other, {"b": {"x": raw(2)}})
    found = [InputCache(tmp_path).load(flow)["b"]["x"] for flow in (FLOW, other)]
    assert [plain(value) for value in found] == [1, 2]


@pytest.mark.parametrize("media", ["oomol/secret", "oomol/bin"])
def test_secrets_and_binaries_are_not_kept(tmp_path: Path, media: str) -> None:
    assert saved(tmp_path, "value", {"contentMediaType": media}) is None


@pytest.mark.parametrize(("value", "kept"), [(1, 1), ("s", "s"), (True, True), ({"a": 1}, None), ([1], None)])
def test_of_variables_only_basic_values_are_kept(tmp_path: Path, value: Any, kept: Any) -> None:
    assert saved(tmp_path, value, {"contentMediaType": "oomol/var"}) == kept


def test_references_are_kept_while_their_file_is_there(tmp_path: Path) -> None:
    file = tmp_path / "frame.pkl"
    file.touch()
    assert saved(tmp_path, wrapped(str(file))) == wrapped(str(file))
    file.unlink()
    assert InputCache(tmp_path).load(FLOW) == {}


def test_references_without_a_file_are_not_kept(tmp_path: Path) -> None:
    assert saved(tmp_path, wrapped(None)) is None


def test_values_for_handles_that_are_gone_are_left_out(tmp_path: Path) -> None:
    InputCache(tmp_path).save(FLOW, {"b": {"x": raw(1)}})
    assert InputCache(tmp_path).load(graph(node("a"), node("b", {"y": [("a", "out")]}))) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"b": 1}'])
def test_broken_files_count_as_no_cache(tmp_path: Path, text: str) -> None:
    InputCache(tmp_path).save(FLOW, {"b": {"x": raw(1)}})
    for file in tmp_path.rglob("*.json"):
        file.write_text(text, encoding="utf-8")
    assert InputCache(tmp_path).load(FLOW) == {}


def test_cache_that_cannot_be_written_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    InputCache(blocked).save(FLOW, {"b": {"x": raw(1)}})
    assert "not kept for --use-cache" in caplog.text


def test_second_save_replaces_the_first(tmp_path: Path) -> None:
    for value in (1, 2):
        InputCache(tmp_path).save(FLOW, {"b": {"x": raw(value)}})
    assert plain(InputCache(tmp_path).load(FLOW)["b"]["x"]) == 2
    assert len(list((tmp_path / "cache").iterdir())) == 1
