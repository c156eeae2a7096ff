"""Runs flows from Python: `run_flow` for the result, `open_session` to watch and steer a run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Unpack

import anyio

from oocana_async.engine.events import EventStream, RawEventStream, decode_value
from oocana_async.engine.options import FlowOptions, RunTarget, SessionOptions
from oocana_async.engine.running.records import BlockRun, RunResult, Status
from oocana_async.engine.session import Session
from oocana_async.suggestions import suggest

__all__ = [
    "BlockRun",
    "EventStream",
    "FlowOptions",
    "RawEventStream",
    "RunResult",
    "Session",
    "Status",
    "decode_value",
    "open_session",
    "run_flow",
]


def _refuse_unknown(options: Iterable[str]) -> None:
    """Name a keyword that does not exist as Python would, and the one that was probably meant."""
    for name in options:
        if name not in FlowOptions.__optional_keys__:
            hint = suggest(name, FlowOptions.__optional_keys__)
            raise TypeError(f"unexpected keyword argument {name!r}{hint and f'; {hint}'}")


@asynccontextmanager
async def open_session(
    target: RunTarget,
    *,
    inputs: Mapping[str, Any] | None = None,
    nodes: Sequence[str] | None = None,
    **options: Unpack[FlowOptions],
) -> AsyncIterator[Session]:
    """Run a flow, subflow or task while the block of the `async with` goes on.

    The run begins as soon as the block waits for something, so `session.events()` called before that misses nothing.
    Leaving the block, or cancelling the scope around it, ends a run that is not over yet ("Cancelled") and waits until
    its blocks, executors and processes have gone. Sessions of one process do not see each other.

    Args:
        target: a manifest file, its directory, a reference such as `pkg::name`, or what `load_target` returned.
        inputs: handle -> value for the target; missing ones get their default, or null when nullable.
        nodes: run only these nodes and what they need.
        options: rarer ones, all of them keywords, as follows.
        nodes_inputs: node id -> handle -> value, for nodes of the root flow.
        search_paths: directories with packages, in order; a loaded target has its own.
        session_id: a random UUID when None.
        session_dir: shared by all blocks, never deleted; when None it is `<system tmp>/<session id>`, and removed at
            the end unless a block has put a file there.
        temp_root: temporary directories are made below it; `OOCANA_TEMP_ROOT`, else the system's, when None.
        project_data: data directory of blocks outside packages; the temp root when None.
        pkg_data_root: packages have their data directories below it; the temp root when None.
        env: variables for the blocks; inherited `OOMOL_*` variables win over them.
        max_threads: most threads for blocks; the executor's default when None.
        use_cache: start with the input values that an earlier run kept.
        save_cache: keep the last input values of nodes below `~/.oocana` for `use_cache`.
        keep: most values per output, and most runs, that the result holds; older ones are only counted.
        host: makes the host of executors from the session's bus and `max_threads`; None for this process.

    Raises:
        EncodingError: An input cannot be sent as JSON.
    """
    _refuse_unknown(options)
    session = Session(SessionOptions(target=target, inputs=inputs, nodes=nodes, **options))
    try:
        yield session
    finally:
        with anyio.CancelScope(shield=True):
            await session.aclose()


async def run_flow(
    target: RunTarget,
    *,
    inputs: Mapping[str, Any] | None = None,
    nodes: Sequence[str] | None = None,
    **options: Unpack[FlowOptions],
) -> RunResult:
    """Run a flow, subflow or task to its end.

    Cancelling it ends the run and waits until nothing of it is left.

    Args:
        target: a manifest file, its directory, a reference such as `pkg::name`, or what `load_target` returned.
        inputs: handle -> value for the target.
        nodes: run only these nodes and what they need.
        options: see `open_session`.

    Returns:
        Status, outputs, runs of blocks, error. A failing block is no exception; `raise_for_status()` makes it one.

    Raises:
        LoadError: The target cannot be loaded.
        EncodingError: An input cannot be sent as JSON.
    """
    async with open_session(target, inputs=inputs, nodes=nodes, **options) as session:
        return await session.result()
