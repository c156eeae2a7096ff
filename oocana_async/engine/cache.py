"""The inputs of an earlier run, kept for `--use-cache` (flow-format.md 5.12, protocol.md 5.7)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from oocana_async.engine.graph.graph import Graph
from oocana_async.wire.messages.shared import InputHandle

__all__ = ["InputCache"]

logger = logging.getLogger(__name__)

_Nodes = dict[str, dict[str, list[Raw]]]
_MARK = b'"__OOMOL_TYPE__"'
_INDEX = "cache_meta.json"


class _Wrapper(msgspec.Struct, frozen=True):
    serialize_path: str | None = None


class InputCache:
    """Last input values of the nodes of root flows, in files below one directory.

    Args:
        home: directory of the index; the values are in `cache/<uuid>.json` below it.
    """

    def __init__(self, home: Path | None = None) -> None:
        self._home = home if home is not None else Path.home() / ".oocana"

    def load(self, graph: Graph) -> dict[str, dict[str, Raw]]:
        """Return node id -> handle -> value of an earlier run; what cannot be used any more is left out."""
        found: dict[str, dict[str, Raw]] = {}
        for node_id, handles in self._read(graph.path).items():
            node = graph.nodes.get(node_id)
            for handle, values in handles.items():
                if node is not None and handle in node.queued and values and _is_usable(values[-1]):
                    found.setdefault(node_id, {})[handle] = values[-1]
        return found

    def save(self, graph: Graph, latest: Mapping[str, Mapping[str, Raw]]) -> None:
        """Keep the values that can be used in another run; failing to is only logged."""
        kept = {node_id: _keepable(graph, node_id, values) for node_id, values in latest.items()}
        try:
            name = self._file(graph.path) or self._home / "cache" / f"{uuid.uuid4()}.json"
            name.parent.mkdir(parents=True, exist_ok=True)
            name.write_bytes(msgspec.json.encode({node_id: values for node_id, values in kept.items() if values}))
            index = {**self._index(), str(graph.path): str(name)}
            (self._home / _INDEX).write_bytes(msgspec.json.encode(index))
        except OSError as error:
            logger.warning("the inputs of this run are not kept for --use-cache: %s", error)

    def _index(self) -> dict[str, str]:
        try:
            return msgspec.json.decode((self._home / _INDEX).read_bytes(), type=dict[str, str])
        except (OSError, msgspec.MsgspecError):
            return {}

    def _file(self, path: Path) -> Path | None:
        name = self._index().get(str(path))
        return Path(name) if name is not None else None

    def _read(self, path: Path) -> _Nodes:
        name = self._file(path)
        try:
            return msgspec.json.decode(name.read_bytes(), type=_Nodes) if name is not None else {}
        except (OSError, msgspec.MsgspecError):
            return {}


def _keepable(graph: Graph, node_id: str, values: Mapping[str, Raw]) -> dict[str, list[Raw]]:
    definitions = graph.nodes[node_id].inputs_def or {}
    return {handle: [value] for handle, value in values.items() if _is_keepable(definitions.get(handle), value)}


def _is_keepable(definition: InputHandle | None, value: Raw) -> bool:
    if _MARK in bytes(value):
        return _path_of(value) is not None
    schema: Any = definition.json_schema if definition is not None else None
    media = schema.get("contentMediaType") if isinstance(schema, dict) else None
    if media in ("oomol/secret", "oomol/bin"):
        return False
    return media != "oomol/var" or bytes(value)[:1] not in (b"{", b"[", b"n")


def _path_of(value: Raw) -> str | None:
    try:
        return msgspec.json.decode(value, type=_Wrapper).serialize_path
    except msgspec.MsgspecError:
        return None


def _is_usable(value: Raw) -> bool:
    """A value that was written to a file needs that file."""
    if _MARK not in bytes(value):
        return True
    path = _path_of(value)
    return path is not None and Path(path).is_file()
