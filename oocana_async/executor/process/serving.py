"""What executor processes have in common: announce a scope, serve until there is a reason to leave."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from oocana_async.executor.core import Executor
from oocana_async.executor.process.executor_arguments import ExecutorArguments
from oocana_async.executor.process.leaving import Departure, Reason
from oocana_async.executor.scope import ExecutorScope

__all__ = ["scope_of", "serve"]

logger = logging.getLogger(__name__)


def scope_of(arguments: ExecutorArguments, *, debug_port: int | None = None) -> ExecutorScope:
    """Return the scope that the arguments and the environment of a process describe (protocol.md 2.1, 2.2)."""
    package = arguments.package
    return ExecutorScope(
        identifier=arguments.identifier,
        package_path=package,
        package_name="workspace" if package is None else package.name,
        pkg_data_dir=os.environ.get("OOCANA_PKG_DIR", ""),
        tmp_dir=arguments.tmp_dir,
        variables=os.environ,
        debug_port=debug_port,
    )


async def serve(
    executor: Executor, departure: Departure, scope: ExecutorScope, grace: Callable[[Reason], float]
) -> int:
    """Announce a scope and run its jobs until there is a reason to leave; then close the executor.

    Args:
        executor: entered already.
        departure: gives the reason; the end of the session is one.
        scope: what is announced.
        grace: seconds that running blocks get to clean up, by reason.

    Returns:
        The exit code of the process.
    """
    # No task group: it would wrap whatever `aclose` raises in an exception group, for one watcher that never fails.
    watch = asyncio.create_task(_watch_session(executor, departure), name="oocana-session-watch")
    executor.add_scope(scope)
    reason = await departure.wait()
    running = executor.running
    logger.info("leaving because %s; %d jobs running", reason.value, running)
    watch.cancel()
    await executor.aclose(grace(reason))
    return reason.exit_code(jobs_running=running > 0)


async def _watch_session(executor: Executor, departure: Departure) -> None:
    await executor.session_over.wait()
    departure.leave(Reason.SESSION_FINISHED)
