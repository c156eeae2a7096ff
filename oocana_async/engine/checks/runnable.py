"""Which nodes can never run, and why (flow-format.md 2.3, 5.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from msgspec import UNSET

from oocana_async.engine.checks.subject import Subject
from oocana_async.engine.graph.graph import Graph, Node, NodeTarget, SubflowBlock
from oocana_async.engine.manifests.findings import Finding, listed


def check_running(subject: Subject) -> Iterator[Finding]:
    """Yield the nodes that can never run, and the slots that nobody fills."""
    graph = subject.graph
    sources = _sources(graph)
    runs = runnable(graph, sources)
    for node in graph.nodes.values():
        if node.node_id not in runs:
            yield _blocked(subject, node, sources, runs)
        elif node.concurrency == 0 and node.queued:
            message = f'with "concurrency: 0" the node "{node.node_id}" runs at flow start only, what arrives is lost'
            yield subject.about(node, "warning", "concurrency-zero", message)
        if isinstance(node.block, SubflowBlock) and (open_slots := node.block.graph.unfilled_slots):
            message = f'the node "{node.node_id}" leaves the slot {listed(sorted(open_slots))} of its subflow unfilled'
            yield subject.about(node, "warning", "unfilled-slot", message, 'add entries to "slots"')


def check_unfed(subject: Subject) -> Iterator[Finding]:
    """Yield, as warnings, the nodes that a run leaves out because a declared input can never have a value."""
    for node in subject.graph.nodes.values():
        if node.unfed:
            yield replace(_unfed(subject, node), severity="warning")


def runnable(graph: Graph, sources: dict[tuple[str, str], list[str]]) -> set[str]:
    """Return the nodes that can run if every input of the flow gets a value."""
    from_flow = {
        (target.node_id, target.input_handle)
        for targets in graph.input_targets.values()
        for target in targets
        if isinstance(target, NodeTarget)
    }
    runs: set[str] = set()
    emitting: set[str] = set()

    def ready(node: Node) -> bool:
        return all(
            handle in node.static
            or (node.node_id, handle) in from_flow
            or not emitting.isdisjoint(sources.get((node.node_id, handle), ()))
            for handle in node.inputs_def or ()
        )

    consumers = _consumers(graph)
    waiting = [node_id for node_id, node in graph.nodes.items() if ready(node)]
    while waiting:
        node_id = waiting.pop()
        if node_id in runs:
            continue
        runs.add(node_id)
        if node_id not in graph.unfilled_slots:
            emitting.add(node_id)
            waiting += [consumer for consumer in consumers.get(node_id, ()) if ready(graph.nodes[consumer])]
    return runs


def _consumers(graph: Graph) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for (source, _), targets in graph.targets.items():
        found.setdefault(source, set()).update(t.node_id for t in targets if isinstance(t, NodeTarget))
    return found


def _sources(graph: Graph) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for (source, _), targets in graph.targets.items():
        for target in targets:
            if isinstance(target, NodeTarget):
                found.setdefault((target.node_id, target.input_handle), []).append(source)
    return found


def _blocked(subject: Subject, node: Node, sources: dict[tuple[str, str], list[str]], runs: set[str]) -> Finding:
    if node.unfed:
        return _unfed(subject, node)
    emitting = runs - subject.graph.unfilled_slots
    stuck = {
        source: handle
        for handle in node.inputs_def or ()
        if emitting.isdisjoint(feeding := sources.get((node.node_id, handle), ()))
        for source in feeding
    }
    if node.node_id in stuck:
        message = f'the node "{node.node_id}" never runs: only itself feeds its input "{stuck[node.node_id]}"'
        return subject.about(node, "error", "never-runs", message, "give the loop a first value from elsewhere")
    reasons = "; ".join(f'"{handle}" waits for {_silent(subject.graph, source)}' for source, handle in stuck.items())
    return subject.about(node, "warning", "never-runs", f'the node "{node.node_id}" never runs: {reasons}')


def _silent(graph: Graph, node_id: str) -> str:
    if node_id in graph.unfilled_slots:
        return f'the slot "{node_id}", which nobody fills'
    return f'the node "{node_id}", which never runs'


def _unfed(subject: Subject, node: Node) -> Finding:
    handle = node.unfed[0]
    rest = f" (and {listed(node.unfed[1:])})" if len(node.unfed) > 1 else ""
    message = f'the node "{node.node_id}" never runs: its input "{handle}"{rest} has neither a value nor a connection'
    definition = (node.inputs_def or {})[handle]
    hint = f'add "handle: {handle}" with a "value" to its inputs_from'
    if definition.value is not UNSET:
        hint = f"defaults are not filled in inside a flow: {hint}"
    if subject.is_root:
        return subject.about(node, "warning", "never-runs", message, f"{hint}, or give it with --nodes-inputs")
    return subject.about(node, "error", "never-runs", message, hint)
