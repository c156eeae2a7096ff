"""Connections to handles that do not exist, and outputs that nobody takes (flow-format.md 2.3, 2.4)."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import UNSET

from oocana_async.engine.checks.subject import Subject, connections_of, task_of
from oocana_async.engine.graph.graph import FlowTarget, Graph, Node, SubflowBlock
from oocana_async.engine.manifests.blocks import NodeExecutor, PythonExecutor, ShellExecutor
from oocana_async.engine.manifests.findings import Finding, Severity
from oocana_async.engine.manifests.manifest import Spot
from oocana_async.suggestions import suggest


def check_wiring(subject: Subject) -> Iterator[Finding]:
    """Yield what is connected to nothing, and what nothing is connected to."""
    yield from _inputs(subject)
    yield from _sources(subject)
    yield from _flow_outputs(subject)
    yield from _unused(subject)
    yield from _previews(subject)


def _inputs(subject: Subject) -> Iterator[Finding]:
    for node_id, node in subject.graph.nodes.items():
        declared = node.inputs_def or {}
        for entry in subject.written[node_id].inputs_from:
            if entry.handle in declared:
                continue
            connected = entry.handle in node.queued
            if not connected and entry.value is UNSET:
                continue
            effect = "what arrives is passed on but never waited for" if connected else "its value is ignored"
            message = f'the block of node "{node_id}" declares no input "{entry.handle}", {effect}'
            task = task_of(node)
            hint = suggest(entry.handle, declared)
            if not hint and task is not None and task.additional_inputs:
                hint = 'declare it in the "inputs_def" of the node'
            yield subject.finding("warning", "undeclared-input", entry.at, message, hint)


def _sources(subject: Subject) -> Iterator[Finding]:
    graph = subject.graph
    for node in graph.nodes.values():
        for _, source, handle, at in connections_of(subject.written[node.node_id].inputs_from):
            yield from _source(subject, source, handle, at)
    for _, source, handle, at in connections_of(subject.manifest.outputs_from):
        yield from _source(subject, source, handle, at)


def _source(subject: Subject, source: str, handle: str, at: Spot) -> Iterator[Finding]:
    node = subject.graph.nodes.get(source)
    if node is None:
        return
    possible = emitted(node)
    if handle in possible:
        return
    severity: Severity = "error" if _drops_undeclared(node) else "warning"
    message = f'the node "{source}" has no output "{handle}", so nothing ever comes'
    yield subject.finding(severity, "unknown-output", at, message, suggest(handle, sorted(possible)))


def emitted(node: Node) -> Collection[str]:
    """Return the output handles on which a node may send values that are passed on."""
    found = set(node.outputs_def or ())
    task = task_of(node)
    if task is not None and isinstance(task.executor, ShellExecutor):
        found |= {"stdout", "stderr"}
    if isinstance(node.block, SubflowBlock):
        found |= _flow_output_handles(node.block.graph)
    return found


def _flow_output_handles(graph: Graph) -> set[str]:
    reached = [target for targets in graph.targets.values() for target in targets]
    reached += [target for targets in graph.input_targets.values() for target in targets]
    return {target.output_handle for target in reached if isinstance(target, FlowTarget)}


def _drops_undeclared(node: Node) -> bool:
    """The SDKs drop outputs that are not declared; what else runs may send anything."""
    task = task_of(node)
    return task is None or isinstance(task.executor, PythonExecutor | NodeExecutor)


def _flow_outputs(subject: Subject) -> Iterator[Finding]:
    declared = subject.graph.outputs_def
    fed = _flow_output_handles(subject.graph)
    for entry in subject.manifest.outputs_from:
        if entry.handle not in (declared or {}):
            message = f'the flow declares no output "{entry.handle}"'
            hint = suggest(entry.handle, declared or {}) or 'add it to "outputs_def"'
            yield subject.finding("warning", "undeclared-output", entry.at, message, hint)
    for handle in declared or ():
        if handle not in fed:
            message = f'nothing feeds the output "{handle}" of the flow'
            yield subject.finding("warning", "unfed-output", (1, 1), message, 'add it to "outputs_from"')


def _unused(subject: Subject) -> Iterator[Finding]:
    graph = subject.graph
    for node_id, node in graph.nodes.items():
        unused = [handle for handle in node.outputs_def or () if (node_id, handle) not in graph.targets]
        for handle in unused:
            message = f'nothing takes the output "{handle}" of node "{node_id}"'
            yield subject.about(node, "note", "unused-output", message)
    for handle in graph.inputs_def or ():
        if handle not in graph.input_targets:
            yield subject.finding("note", "unused-input", (1, 1), f'nothing takes the input "{handle}" of the flow')


def _previews(subject: Subject) -> Iterator[Finding]:
    for node_id in subject.manifest.forward_previews:
        if node_id not in subject.graph.nodes:
            message = f'"forward_previews" names "{node_id}", which is no node that can run'
            hint = suggest(node_id, subject.graph.nodes)
            yield subject.finding("warning", "unknown-node", (1, 1), message, hint)
