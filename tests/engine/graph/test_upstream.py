"""Which nodes run when only some are asked for (flow-format.md 5.12)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oocana_async.engine.graph.graph import Graph, Node, NodeTarget, Target
from oocana_async.engine.graph.upstream import select_upstream
from oocana_async.engine.manifests.blocks import ConditionBlock, SearchContext
from oocana_async.wire.messages.shared import InputHandle


def graph(**feeds: str) -> Graph:
    """Return a flow: `c="ab"` is a node c with one input per letter, fed by the node of that name; `_` is a value."""
    nodes: dict[str, Node] = {}
    targets: dict[tuple[str, str], tuple[Target, ...]] = {}
    for node_id, sources in feeds.items():
        handles = {f"i{source}": source for source in sources}
        nodes[node_id] = Node(
            node_id,
            ConditionBlock(),
            inputs_def={handle: InputHandle(handle) for handle in handles},
            static={handle: 1 for handle, source in handles.items() if source == "_"},
            queued=frozenset(handle for handle, source in handles.items() if source != "_"),
        )
        for handle, source in handles.items():
            if source != "_":
                targets[source, "o"] = (*targets.get((source, "o"), ()), NodeTarget(node_id, handle))
    path = Path("/p/flows/main/flow.oo.yaml")
    return Graph(path, "flow", path.parent, path.parent, SearchContext(path.parent), nodes=nodes, targets=targets)


CHAIN = {"a": "", "b": "a", "c": "b", "d": ""}


@pytest.mark.parametrize(
    ("flow", "nodes", "cached", "start", "mid", "upstream"),
    [
        (CHAIN, "b", {}, "a", "", "a"),
        (CHAIN, "c", {}, "a", "b", "ab"),
        (CHAIN, "bd", {}, "da", "", "a"),
        (CHAIN, "d", {}, "d", "", ""),
        (CHAIN, "bc", {}, "a", "", "a"),
        (CHAIN, "abc", {}, "a", "", ""),
        (CHAIN, "c", {"c": ["ib"]}, "c", "", ""),
        (CHAIN, "c", {"b": ["ia"]}, "b", "", "b"),
        (CHAIN, "bc", {"c": ["ib"]}, "ca", "", "a"),
        (CHAIN, "b", {"b": ["ia"]}, "b", "", ""),
        ({"a": "_", "b": "_a"}, "b", {}, "a", "", "a"),
        ({"a": "", "b": "", "c": "ab"}, "c", {"c": ["ia"]}, "b", "", "b"),
        ({"a": "b", "b": "a", "c": "a"}, "c", {}, "", "ab", "ab"),
    ],
)
def test_selection(flow: dict[str, str], nodes: str, cached: Any, start: str, mid: str, upstream: str) -> None:
    found = select_upstream(graph(**flow), nodes, cached)
    assert tuple(map("".join, (found.start, found.mid, found.end, found.upstream))) == (start, mid, nodes, upstream)
    assert found.allowed == {*nodes, *upstream}


def test_unknown_ids_are_told_and_kept_in_the_end_nodes() -> None:
    found = select_upstream(graph(**CHAIN), ["b", "ghost", "b"])
    assert (found.end, found.unknown, found.allowed) == (("b", "ghost"), ("ghost",), frozenset("ab"))


def test_cached_value_that_a_requested_node_delivers_anew_is_stale() -> None:
    found = select_upstream(graph(b="", c="b", d="bc"), "bd", {"d": ["ib"]})
    assert (found.start, found.mid, found.stale) == (("b",), ("c",), (("d", "ib"),))


def test_cache_of_the_caller_is_left_alone() -> None:
    cached = {"c": {"ib"}}
    select_upstream(graph(**CHAIN), "bc", cached)
    assert cached == {"c": {"ib"}}


FLOWS = st.dictionaries(st.sampled_from("abcdef"), st.text("abcdef_", max_size=3), min_size=1)


@given(FLOWS, st.data())
def test_what_runs_is_requested_or_needed_and_starts_complete(flow: dict[str, str], data: st.DataObject) -> None:
    known = {
        node: "".join(s for s in dict.fromkeys(sources) if s in flow or s == "_") for node, sources in flow.items()
    }
    nodes = data.draw(st.lists(st.sampled_from(sorted(known)), min_size=1))
    found = select_upstream(graph(**known), nodes)
    assert set(found.start) | set(found.mid) <= found.allowed == set(nodes) | set(found.upstream)
    assert not set(found.start) & set(found.mid)
    assert all(set(known[node]) <= {"_"} for node in found.start)
    assert all(set(known[node]) - {"_"} <= found.allowed for node in found.upstream)
