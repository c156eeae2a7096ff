"""Runs trivial functions as nodes of LangGraph graphs, in one process, as its driver asks through a pipe.

Started by `_rivals.py` with the interpreter of an environment that has `langgraph`; it knows nothing of this project.
Each line of standard input asks for one measurement, `{"case": ..., "kind": ..., "n": ...}`; each line of standard
output answers with the seconds that it took, and those of the processor. Graphs are compiled once and run as often as
asked; the case `load` builds and compiles a chain and runs nothing.
"""

from __future__ import annotations

import asyncio
import json
import operator
import os
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph  # type: ignore[import-not-found,unused-ignore]
from langgraph.types import Send  # type: ignore[import-not-found,unused-ignore]

CONCURRENCY = 16


class Chain(TypedDict):
    """The value that goes down a chain."""

    x: int


class Fan(TypedDict):
    """Values, and what came of each."""

    n: int
    results: Annotated[list[int], operator.add]


def step(state: Chain) -> Chain:
    """Add one."""
    return {"x": state["x"] + 1}


async def step_async(state: Chain) -> Chain:
    """Add one."""
    return {"x": state["x"] + 1}


def take(state: Chain) -> dict[str, list[int]]:
    """Add one, into the results."""
    return {"results": [state["x"] + 1]}


async def take_async(state: Chain) -> dict[str, list[int]]:
    """Add one, into the results."""
    return {"results": [state["x"] + 1]}


def spread(state: Fan) -> list[Send]:
    """Send each value to a run of its own."""
    return [Send("taker", {"x": value}) for value in range(state["n"])]


def chain(kind: str, n: int) -> Any:
    """Build and compile a chain of `n` nodes."""
    function: Callable[..., Any] = step_async if kind == "async" else step
    graph = StateGraph(Chain)
    for index in range(n):
        graph.add_node(f"n{index}", function)
        graph.add_edge(f"n{index - 1}" if index else START, f"n{index}")
    graph.add_edge(f"n{n - 1}", END)
    return graph.compile()


def fan(kind: str, n: int) -> Any:
    """Build and compile a node that takes any number of values; `n` is in the state."""
    graph = StateGraph(Fan)
    graph.add_node("source", lambda state: {})
    graph.add_node("taker", take_async if kind == "async" else take)
    graph.add_edge(START, "source")
    graph.add_conditional_edges("source", spread, ["taker"])
    graph.add_edge("taker", END)
    return graph.compile()


BUILD: dict[str, Callable[[str, int], Any]] = {"chain": chain, "fan": fan, "load": chain}
_compiled: dict[tuple[str, str, int], Any] = {}


async def run(case: str, graph: Any, n: int) -> int:
    """Run a compiled graph and return how many values arrived."""
    config = {"recursion_limit": n + 10, "max_concurrency": CONCURRENCY}
    if case == "chain":
        return int((await graph.ainvoke({"x": 0}, config))["x"])
    return len((await graph.ainvoke({"n": n, "results": []}, config))["results"])


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request."""
    case, kind, n = request["case"], request["kind"], request["n"]
    graph = _compiled.get((case, kind, n))
    if graph is None and case != "load":
        graph = _compiled[case, kind, n] = BUILD[case](kind, n)

    async def clocked() -> dict[str, Any]:
        start, cpu = time.perf_counter(), time.process_time()
        result = await run(case, graph, n) if case != "load" else len(BUILD[case](kind, n).nodes) - 1
        return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "result": result}

    return asyncio.run(clocked())


def main() -> None:
    """Answer requests until the pipe is closed."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the library prints is no answer
    for line in sys.stdin:
        answers.write(json.dumps(measure(json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
