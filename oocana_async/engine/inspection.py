"""What `oocana-async query` answers about a target without running it, in the shapes of the reference's CLI."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from oocana_async.engine.graph.graph import Graph, Node, SubflowBlock
from oocana_async.engine.graph.upstream import Cached, Selection, select_upstream
from oocana_async.engine.manifests.blocks import ServiceBlock, TaskBlock
from oocana_async.engine.manifests.packages import read_package
from oocana_async.engine.target import LoadedTarget, load_target
from oocana_async.errors import LoadError, ManifestError

PathText: TypeAlias = str | os.PathLike[str]
HandleData: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """One service that a flow uses.

    Attributes:
        directory: of the service file.
        service_hash: first 16 hex digits of sha256 of the directory.
        is_global: whether it outlives the session.
        entry: as written.
        package: package path.
    """

    directory: str
    service_hash: str
    is_global: bool
    entry: str | None
    package: str

    def __str__(self) -> str:
        pairs: dict[str, Any] = {
            "dir": self.directory,
            "service_hash": self.service_hash,
            "is_global": self.is_global,
            "entry": self.entry,
            "package": self.package,
        }
        inner = ", ".join(
            f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in pairs.items() if v is not None
        )
        return f"service: {{ {inner} }}"


def query_upstream(
    target: PathText,
    nodes: Iterable[str],
    *,
    search_paths: Sequence[PathText] = (),
    base_dir: PathText | None = None,
    cached: Cached | None = None,
) -> Selection:
    """Return what would run if only `nodes` were asked for (flow-format.md 5.12).

    Raises:
        LoadError: The target cannot be loaded or is not a flow.
    """
    return select_upstream(_flow(load_target(target, search_paths=search_paths, base_dir=base_dir)), nodes, cached)


def upstream_lines(selection: Selection) -> list[str]:
    """Return the three lines that `query upstream` prints."""
    shown = (("run", selection.start), ("waiting", selection.mid), ("whole", selection.upstream))
    return [f"{word}:{','.join(nodes)}" for word, nodes in shown]


def query_inputs(
    target: PathText, *, search_paths: Sequence[PathText] = (), base_dir: PathText | None = None
) -> dict[str, HandleData] | None:
    """Return the input definitions of a flow, subflow or task; None when it declares none.

    Raises:
        LoadError: The target cannot be loaded.
    """
    inputs_def = load_target(target, search_paths=search_paths, base_dir=base_dir).root.inputs_def
    return None if inputs_def is None else {handle: _data(definition) for handle, definition in inputs_def.items()}


def query_nodes_inputs(
    target: PathText, *, search_paths: Sequence[PathText] = (), base_dir: PathText | None = None
) -> dict[str, list[HandleData]]:
    """Return node id -> the declared inputs without a real connection, `value` being the one that the flow gives.

    Raises:
        LoadError: The target cannot be loaded or is not a flow.
    """
    graph = _flow(load_target(target, search_paths=search_paths, base_dir=base_dir))
    found = {node_id: _open_inputs(node) for node_id, node in graph.nodes.items()}
    return {node_id: inputs for node_id, inputs in found.items() if inputs}


def _open_inputs(node: Node) -> list[HandleData]:
    open_handles = (d for handle, d in (node.inputs_def or {}).items() if handle not in node.queued)
    return [
        _data(msgspec.structs.replace(definition, value=node.static.get(definition.handle, msgspec.UNSET)))
        for definition in open_handles
    ]


def query_packages(
    target: PathText, *, search_paths: Sequence[PathText] = (), base_dir: PathText | None = None
) -> dict[Path, bool]:
    """Return package path -> whether it is ready to run, for the blocks that a flow's nodes name.

    There are no layers here, so only packages that need none are ready: connectors and those that hide their source.

    Raises:
        LoadError: The target cannot be loaded or is not a flow.
    """
    graph = _flow(load_target(target, search_paths=search_paths, base_dir=base_dir))
    paths = (_package_path(node) for node in graph.nodes.values())
    return {path: _needs_no_layer(path, graph) for path in dict.fromkeys(paths) if path is not None}


def package_lines(packages: dict[Path, bool]) -> list[str]:
    """Return the lines that `query package` prints."""
    return [f'package-status: {json.dumps(str(p), ensure_ascii=False)}:"{str(r).lower()}"' for p, r in packages.items()]


def _package_path(node: Node) -> Path | None:
    block = node.block
    if isinstance(block, TaskBlock):
        return block.package_path if block.path is not None else None
    if isinstance(block, SubflowBlock):
        return block.graph.package_path
    return block.package_path if isinstance(block, ServiceBlock) else None


def _needs_no_layer(path: Path, graph: Graph) -> bool:
    package = read_package(path)
    name = package.name if package is not None else None
    if name is not None and (name == "@connector" or name.startswith("@connector/")):
        return True
    tasks = (node.block for node in graph.nodes.values() if isinstance(node.block, TaskBlock))
    return any(task.hide_source for task in tasks if task.package_path == path)


def query_services(
    target: PathText, *, search_paths: Sequence[PathText] = (), base_dir: PathText | None = None
) -> list[ServiceInfo]:
    """Return the services that a flow's own nodes use, each once; a task uses none.

    Raises:
        LoadError: The target cannot be loaded.
    """
    root = load_target(target, search_paths=search_paths, base_dir=base_dir).root
    blocks = (node.block for node in root.nodes.values()) if isinstance(root, Graph) else ()
    return list(dict.fromkeys(_service_info(block) for block in blocks if isinstance(block, ServiceBlock)))


def _service_info(block: ServiceBlock) -> ServiceInfo:
    return ServiceInfo(
        str(block.directory),
        block.service_hash,
        block.executor.stop_at in ("never", "app_end"),
        block.executor.entry,
        str(block.package_path),
    )


def _flow(loaded: LoadedTarget) -> Graph:
    if isinstance(loaded.root, Graph):
        return loaded.root
    raise LoadError([ManifestError("this is a task, expected a flow or a subflow", path=loaded.path)])


def _data(definition: msgspec.Struct) -> HandleData:
    found: HandleData = msgspec.to_builtins(definition)
    return found
