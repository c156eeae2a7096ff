"""Whether the options of a run suit its target: what would have no effect is refused or warned about."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from oocana_async.cli.failures import UsageError
from oocana_async.cli.parser import did_you_mean
from oocana_async.engine.graph.graph import Graph
from oocana_async.engine.target import LoadedTarget

__all__ = ["check_suits"]

_FLOW_ONLY = ("nodes", "nodes_inputs", "use_cache")


def check_suits(options: argparse.Namespace, target: LoadedTarget) -> list[str]:
    """Return warnings about names that the target does not have.

    Raises:
        UsageError: An option for flows is given and the target is none.
    """
    root = target.root
    if not isinstance(root, Graph):
        for name in _FLOW_ONLY:
            if getattr(options, name):
                raise UsageError(f"--{name.replace('_', '-')}: expected a flow, but {options.target} is a task")
        return list(_unknown_inputs(options, root.inputs_def or {}))
    return [*_unknown_inputs(options, root.inputs_def or {}), *_unknown_nodes(options, root)]


def _unknown_inputs(options: argparse.Namespace, declared: Iterable[str]) -> Iterator[str]:
    names = list(declared)
    for handle in options.inputs or ():
        if handle not in names:
            hint = did_you_mean(handle, names)
            yield f'warning: --inputs: {options.target} declares no input "{handle}"{hint}'


def _unknown_nodes(options: argparse.Namespace, graph: Graph) -> Iterator[str]:
    for node_id in options.nodes or ():
        if node_id not in graph.nodes:
            hint = did_you_mean(node_id, graph.nodes)
            yield f'warning: --nodes: the flow has no node "{node_id}" that can run{hint}'
