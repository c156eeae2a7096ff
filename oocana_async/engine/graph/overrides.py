"""Setting static values of a loaded flow from outside, as `--nodes-inputs` does (flow-format.md 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from oocana_async.engine.graph.graph import Graph, Node
from oocana_async.engine.manifests.findings import Finding
from oocana_async.suggestions import suggest

NodesInputs: TypeAlias = Mapping[str, Mapping[str, Any]]


def override_inputs(graph: Graph, nodes_inputs: NodesInputs) -> tuple[Graph, list[Finding]]:
    """Return the graph with other static values, and warnings about what had no effect.

    A value is taken for a handle that the node declares and that has no real connection, also when the flow gives it
    none; null counts as a value.
    """
    warnings: list[Finding] = []
    if not nodes_inputs:
        return graph, warnings
    nodes = dict(graph.nodes)
    for node_id, values in nodes_inputs.items():
        node = nodes.get(node_id)
        if node is None:
            message = f'the flow has no node "{node_id}", its inputs are ignored'
            hint = suggest(node_id, graph.nodes)
            warnings.append(Finding("warning", "unknown-node", graph.path, None, None, message, hint))
            continue
        nodes[node_id] = replace(node, static={**node.static, **_usable(graph, node, values, warnings)})
    return replace(graph, nodes=nodes), warnings


def _usable(graph: Graph, node: Node, values: Mapping[str, Any], warnings: list[Finding]) -> dict[str, Any]:
    declared = node.inputs_def or {}
    usable = {}
    for handle, value in values.items():
        if handle in declared and handle not in node.queued:
            usable[handle] = value
            continue
        hint = ""
        if handle in declared:
            message = f'the input "{handle}" of node "{node.node_id}" has a connection, its given value is ignored'
        else:
            message = f'the node "{node.node_id}" has no input "{handle}", its given value is ignored'
            hint = suggest(handle, declared)
        line, column = (node.source.line, node.source.column) if node.source is not None else (None, None)
        warnings.append(Finding("warning", "unused-value", graph.path, line, column, message, hint))
    return usable
