"""The executor process of a block with `spawn: true` in an embedded run: reaches the engine through its parent."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

from oocana_async.errors import TransportError
from oocana_async.executor.core import Executor
from oocana_async.executor.process.executor_arguments import ExecutorArguments, parse_arguments
from oocana_async.executor.process.leaving import Departure, Reason, run_and_leave
from oocana_async.executor.process.serving import scope_of, serve
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.scope import ExecutorSession
from oocana_async.transport.pipe.bridge import PipeTransport

__all__ = ["main"]

logger = logging.getLogger(__name__)

GRACE = 4.0
"""Seconds that running blocks get after the reason to leave; less than the parent waits."""

NOBODY_LEFT = 0.5
"""The same when nobody is there any more who could take what they send; and for threads that are stuck."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run an executor until its session is over or its parent is gone.

    Args:
        argv: those of `python-executor`, `--pipe-fd` and `--max-threads`; None for those of the process.

    Returns:
        The exit code, as `python-executor` has it.

    Raises:
        SystemExit: With code 2 when the arguments are wrong.
    """
    parser = argparse.ArgumentParser(prog="oocana_async.executor.process.spawned", allow_abbrev=False, add_help=False)
    parser.add_argument("--pipe-fd", type=int, required=True)
    parser.add_argument("--max-threads", type=int)
    own, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    return asyncio.run(_serve(parse_arguments(rest), own.pipe_fd, own.max_threads))


async def _serve(arguments: ExecutorArguments, fd: int, max_threads: int | None) -> int:
    departure = Departure()
    with departure.watch():
        async with PipeTransport(fd, on_lost=lambda _: departure.leave(Reason.ENGINE_GONE)) as transport:
            try:
                return await _run(arguments, transport, departure, max_threads)
            except TransportError as error:
                logger.warning("the connection to the engine is lost: %s", error)
                return 1


async def _run(
    arguments: ExecutorArguments, transport: PipeTransport, departure: Departure, max_threads: int | None
) -> int:
    session = ExecutorSession(arguments.session_id, arguments.session_dir)
    runtime = await Runtime(max_threads=max_threads, on_notice=logger.warning).__aenter__()
    try:
        executor = await Executor(transport, session, runtime).__aenter__()
        return await serve(executor, departure, scope_of(arguments), _grace)
    finally:
        await runtime.aclose(NOBODY_LEFT)


def _grace(reason: Reason) -> float:
    return NOBODY_LEFT if reason is Reason.ENGINE_GONE else GRACE


if __name__ == "__main__":
    run_and_leave(main)
