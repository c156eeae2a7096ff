"""Runs trivial functions on dask.distributed, in one process, as its driver asks through a pipe.

Started by `_rivals.py` with the interpreter of an environment that has `distributed`; it knows nothing of this project.
Each line of standard input asks for one measurement, `{"case": ..., "kind": ..., "n": ...}`; each line of standard
output answers with the seconds that it took, and those of the processor.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from distributed import Client, LocalCluster


def step(x: int) -> int:
    """Add one."""
    return x + 1


async def step_async(x: int) -> int:
    """Add one."""
    return x + 1


async def chain(client: Client, function: Callable[..., Any], n: int) -> int:
    """Await one call after the other."""
    value = 0
    for _ in range(n):
        value = await client.submit(function, value, pure=False)
    return value


async def submitted(client: Client, function: Callable[..., Any], n: int) -> int:
    """Submit all calls of a chain, then await the last one."""
    future: Any = 0
    for _ in range(n):
        future = client.submit(function, future, pure=False)
    value: int = await future
    return value


async def fan(client: Client, function: Callable[..., Any], n: int) -> int:
    """Map a function over independent values and gather what comes."""
    values = await client.gather(client.map(function, range(n), pure=False))
    return len(values)


CASES: dict[str, Callable[[Client, Callable[..., Any], int], Awaitable[int]]] = {
    "chain": chain,
    "submitted": submitted,
    "fan": fan,
}


async def measure(client: Client, request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request."""
    function = step_async if request["kind"] == "async" else step
    start, cpu = time.perf_counter(), time.process_time()
    result = await CASES[request["case"]](client, function, request["n"])
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "result": result}


async def main() -> None:
    """Answer requests until the pipe is closed."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the library prints is no answer
    async with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=None, asynchronous=True) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            answers.write(json.dumps(await measure(client, json.loads(line))) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
