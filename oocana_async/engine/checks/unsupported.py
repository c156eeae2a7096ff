"""Which blocks this process cannot run, why, and what to do instead (flow-format.md 1.1, 4); the only place for it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from oocana_async.engine.checks.subject import at_place, block_of, reached_graphs
from oocana_async.engine.graph.graph import Graph, Node
from oocana_async.engine.manifests.blocks import (
    ConnectorExecutor,
    NodeExecutor,
    Place,
    RustExecutor,
    ServiceBlock,
    TaskBlock,
)
from oocana_async.engine.manifests.findings import Finding
from oocana_async.errors import LoadError, ManifestError

__all__ = ["BASE_URL_VARIABLE", "Obstacle", "check_supported", "hidden_source", "obstacle", "unsupported"]

BASE_URL_VARIABLE: Final = "OOCANA_CONNECTOR_BASE_URL"
"""Names the connector's address; there is no option for it."""

_ELSEWHERE: Final = "run the flow with `oocana run`, or write the block in Python or shell"


class Obstacle(NamedTuple):
    """Why a block cannot run in this process, and what to do."""

    reason: str
    hint: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.hint}"


def obstacle(block: TaskBlock | ServiceBlock, environment: Mapping[str, str]) -> Obstacle | None:
    """Return what keeps a block's executor from running in this process, None when nothing does."""
    executor = block.executor
    if isinstance(executor, NodeExecutor | RustExecutor):
        return Obstacle(f"the embedded engine has no {executor.name} executor", _ELSEWHERE)
    if isinstance(executor, ConnectorExecutor) and not environment.get(BASE_URL_VARIABLE):
        reason = f"the connector action {executor.action} needs {BASE_URL_VARIABLE}"
        return Obstacle(reason, "set it to the connector's address")
    if isinstance(block, ServiceBlock) and executor.name != "python":
        return Obstacle(f"the embedded engine runs no {executor.name} services", _ELSEWHERE)
    return None


def hidden_source(task: TaskBlock) -> Obstacle | None:
    """Return why a task whose package hides its source fails when its turn comes, None for other tasks.

    It is no reason to refuse the whole target, as a missing executor is: the reference starts such a flow, too, and
    sends only this block to a remote service (flow-format.md 1.1).
    """
    if not task.hide_source:
        return None
    reason = f"{_file(task)} belongs to a package with hidden source"
    return Obstacle(reason, "it runs on a remote service only, not in this process")


def unsupported(
    block: TaskBlock | ServiceBlock, place: Place | None, environment: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield what `check` says about a block that cannot run here."""
    hidden = hidden_source(block) if isinstance(block, TaskBlock) else None
    if hidden is not None:
        yield at_place(place, _file(block), "error", "hidden-source", *hidden)
    found = obstacle(block, environment)
    if found is not None:
        yield at_place(place, _file(block), "error", "executor", *found)


def check_supported(root: Graph | TaskBlock, environment: Mapping[str, str] = os.environ) -> None:
    """Look, before a run, at every block that a target reaches.

    Raises:
        LoadError: Executors are missing here; it names every block that needs one.
    """
    if isinstance(root, TaskBlock):
        faults = list(_fault(root, root.source, "", environment))
    else:
        nodes = (node for graph in reached_graphs(root) for node in graph.nodes.values())
        faults = [fault for node in nodes for fault in _fault_of_node(node, environment)]
    if faults:
        raise LoadError(faults)


def _fault_of_node(node: Node, environment: Mapping[str, str]) -> Iterator[ManifestError]:
    block = block_of(node)
    if isinstance(block, TaskBlock | ServiceBlock):
        yield from _fault(block, node.source, f'node "{node.node_id}": ', environment)


def _fault(
    block: TaskBlock | ServiceBlock, place: Place | None, subject: str, environment: Mapping[str, str]
) -> Iterator[ManifestError]:
    found = obstacle(block, environment)
    if found is not None:
        where = place if place is not None else Place(_file(block))
        yield ManifestError(f"{subject}{found}", path=where.path, line=where.line, column=where.column)


def _file(block: TaskBlock | ServiceBlock) -> Path:
    return block.path or block.directory
