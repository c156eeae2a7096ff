"""Runs trivial functions as nodes of a Hamilton graph on its async driver, as its driver asks through a pipe.

Started by `_rivals.py` with the interpreter of an environment that has `sf-hamilton`; it knows nothing of this project.
Each line of standard input asks for one measurement, `{"case": "chain", "kind": ..., "n": ...}`; each line of standard
output answers with the seconds that it took, and those of the processor. Graphs are built once, and executed as often
as asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from types import ModuleType
from typing import Any

from hamilton import ad_hoc_utils, async_driver  # type: ignore[import-not-found,unused-ignore]

_drivers: dict[tuple[str, int], Any] = {}


def functions(kind: str, n: int) -> ModuleType:
    """Make a module of `n` functions, each of which wants what the one before gives: Hamilton's way of a chain."""
    prefix = "async " if kind == "async" else ""
    names: dict[str, Any] = {}
    for index in range(n):
        wanted = f"n{index - 1}" if index else "x"
        exec(f"{prefix}def n{index}({wanted}: int) -> int:\n    return {wanted} + 1\n", names)
    module: ModuleType = ad_hoc_utils.create_temporary_module(*(names[f"n{index}"] for index in range(n)))
    return module


async def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request."""
    kind, n = request["kind"], request["n"]
    driver = _drivers.get((kind, n))
    if driver is None:
        driver = _drivers[kind, n] = await async_driver.Builder().with_modules(functions(kind, n)).build()
    start, cpu = time.perf_counter(), time.process_time()
    found = await driver.execute([f"n{n - 1}"], inputs={"x": 0})
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    return {"seconds": seconds, "cpu": used, "result": int(found[f"n{n - 1}"])}


async def main() -> None:
    """Answer requests until the pipe is closed."""
    sys.setrecursionlimit(100_000)  # it walks a chain by recursion
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the library prints is no answer
    for line in sys.stdin:
        answers.write(json.dumps(await measure(json.loads(line))) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
