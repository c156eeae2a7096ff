"""Finds, before a run, the nodes whose executor does not exist in this process, and says what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator

from oocana_async.engine.graph.graph import Graph, Node, SlotBlock, SubflowBlock
from oocana_async.engine.manifests.blocks import (
    ConnectorExecutor,
    NodeExecutor,
    Place,
    RustExecutor,
    ServiceBlock,
    TaskBlock,
)
from oocana_async.errors import LoadError, ManifestError

__all__ = ["check_executors", "refusal"]

BASE_URL_VARIABLE = "OOCANA_CONNECTOR_BASE_URL"

_ELSEWHERE = "run the flow with `oocana run`, or write the block in Python or shell"


def refusal(block: TaskBlock | ServiceBlock) -> str | None:
    """Return why a block cannot be run in this process, with what to do; None when it can."""
    executor = block.executor
    if isinstance(executor, NodeExecutor | RustExecutor):
        return f"the embedded engine has no {executor.name} executor; {_ELSEWHERE}"
    if isinstance(executor, ConnectorExecutor) and not os.environ.get(BASE_URL_VARIABLE):
        return f"the connector action {executor.action} needs {BASE_URL_VARIABLE}; set it to the connector's address"
    if isinstance(block, ServiceBlock) and executor.name != "python":
        return f"the embedded engine runs no {executor.name} services; {_ELSEWHERE}"
    return None


def check_executors(root: Graph | TaskBlock) -> None:
    """Look at every block that a target reaches.

    Raises:
        LoadError: Blocks cannot be run here; it names all of them.
    """
    if isinstance(root, TaskBlock):
        faults = list(_fault(root, root.source, ""))
    else:
        faults = [fault for graph in _graphs(root) for node in graph.nodes.values() for fault in _of_node(node)]
    if faults:
        raise LoadError(faults)


def _graphs(root: Graph) -> Iterator[Graph]:
    seen: set[int] = set()
    todo = [root]
    while todo:
        graph = todo.pop()
        if id(graph) not in seen:
            seen.add(id(graph))
            yield graph
            todo += [inner for node in graph.nodes.values() if (inner := _inner(node)) is not None]


def _inner(node: Node) -> Graph | None:
    block = node.block.provider if isinstance(node.block, SlotBlock) else node.block
    return block.graph if isinstance(block, SubflowBlock) else None


def _of_node(node: Node) -> Iterator[ManifestError]:
    block = node.block.provider if isinstance(node.block, SlotBlock) else node.block
    if isinstance(block, TaskBlock | ServiceBlock):
        yield from _fault(block, node.source, f'node "{node.node_id}": ')


def _fault(block: TaskBlock | ServiceBlock, place: Place | None, subject: str) -> Iterator[ManifestError]:
    why = refusal(block)
    if why is not None:
        where = place if place is not None else Place(block.path or block.directory)
        yield ManifestError(f"{subject}{why}", path=where.path, line=where.line, column=where.column)
