"""Runs trivial functions as Prefect tasks, in one process, as its driver asks through a pipe.

Started by `_rivals.py` with the interpreter of an environment that has `prefect`; it knows nothing of this project. It
works against the server that Prefect starts for itself when none is configured. Each line of standard input asks for
one measurement, `{"case": ..., "kind": ..., "n": ...}`; each line of standard output answers with its seconds, and
those of the processor (without the server, which is a process of its own).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from prefect import flow, task


@task  # type: ignore[untyped-decorator,unused-ignore]
def step(x: int) -> int:
    """Add one."""
    return x + 1


@task  # type: ignore[untyped-decorator,unused-ignore]
async def step_async(x: int) -> int:
    """Add one."""
    return x + 1


@flow  # type: ignore[untyped-decorator,unused-ignore]
def chain(n: int) -> int:
    """Call one task after the other."""
    value = 0
    for _ in range(n):
        value = step(value)
    return value


@flow  # type: ignore[untyped-decorator,unused-ignore]
async def chain_async(n: int) -> int:
    """Await one task after the other."""
    value = 0
    for _ in range(n):
        value = await step_async(value)
    return value


@flow  # type: ignore[untyped-decorator,unused-ignore]
def fan(n: int) -> int:
    """Map a task over independent values."""
    return len(step.map(list(range(n))).result())


@flow  # type: ignore[untyped-decorator,unused-ignore]
def fan_async(n: int) -> int:
    """Map an async task over independent values."""
    return len(step_async.map(list(range(n))).result())


CASES: dict[tuple[str, str], Callable[[int], Any]] = {
    ("chain", "sync"): chain,
    ("chain", "async"): chain_async,
    ("fan", "sync"): fan,
    ("fan", "async"): fan_async,
}


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request."""
    function = CASES[request["case"], request["kind"]]
    start, cpu = time.perf_counter(), time.process_time()
    result = function(request["n"])
    if asyncio.iscoroutine(result):
        result = asyncio.run(result)
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "result": result}


def main() -> None:
    """Answer requests until the pipe is closed."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the library prints is no answer
    for line in sys.stdin:
        answers.write(json.dumps(measure(json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
