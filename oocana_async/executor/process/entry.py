"""The process `python-executor`: connects to the broker, runs the jobs of one session, leaves in order."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from oocana_async.channel.bus import Bus
from oocana_async.errors import TransportError
from oocana_async.executor.core import Executor
from oocana_async.executor.process.executor_arguments import ExecutorArguments, parse_arguments
from oocana_async.executor.process.leaving import Departure, Reason, run_and_leave
from oocana_async.executor.process.log_files import set_up_logging
from oocana_async.executor.process.serving import scope_of, serve
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.scope import ExecutorSession

if TYPE_CHECKING:
    from oocana_async.transport.broker import MqttTransport
    from oocana_async.transport.pacing.notices import Notice

__all__ = ["main", "script"]

logger = logging.getLogger(__name__)

CLEAN_UP, THREADS, DRAIN = 2.5, 0.5, 2.0
"""Seconds that running blocks, then their threads, then queued messages get after the reason to leave: 5 in all."""


def script() -> NoReturn:
    """Run as a program."""
    run_and_leave(main)


def main(argv: Sequence[str] | None = None) -> int:
    """Run an executor until its session is over.

    Args:
        argv: arguments without the program's name (protocol.md 2.1); None for those of the process.

    Returns:
        The exit code: 0 when the session finished, 143 when terminated while jobs ran (else 0), 1 when the engine or
        the broker is gone.

    Raises:
        SystemExit: With code 2 when the arguments are wrong.
    """
    arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
    directory = Path.home() / ".oocana" / "sessions" / arguments.session_id
    place = set_up_logging(directory, arguments.identifier, console=arguments.console)
    _say(f"setup logging in {place}")
    if arguments.unknown:
        logger.warning("ignored unknown arguments: %s", " ".join(arguments.unknown))
    return asyncio.run(_serve(arguments))


class _Notices:
    """Tells the blocks what the transport has to say, once there is an executor."""

    def __init__(self) -> None:
        self.executor: Executor | None = None

    def take(self, notice: Notice) -> None:
        """Take a notice; before there are blocks it is logged."""
        if self.executor is None:
            logger.warning("%s", notice.text)
        elif notice.kind.name == "NO_INPUTS":
            self.executor.inputs_lost(notice.job_id, notice.text)
        else:
            self.executor.warn(notice.job_id, notice.text)


async def _serve(arguments: ExecutorArguments) -> int:
    departure = Departure()
    with departure.watch():
        notices = _Notices()
        transport = _transport(arguments, departure, notices)
        try:
            await transport.__aenter__()
        except TransportError as error:
            logger.error("cannot connect to the broker: %s", error)
            sys.stderr.write(f"python-executor: cannot connect to the broker at {arguments.broker}: {error}\n")
            return 1
        _say(f"connecting to broker {arguments.broker} success")
        try:
            return await _run(arguments, transport, departure, notices)
        except TransportError as error:
            logger.error("the connection to the broker is lost: %s", error)
            return 1
        finally:
            await transport.aclose()


def _transport(arguments: ExecutorArguments, departure: Departure, notices: _Notices) -> MqttTransport:
    from oocana_async.transport.broker import MqttTransport

    return MqttTransport(
        arguments.broker,
        client_id=_client_id(arguments),
        session_id=arguments.session_id,
        close_within=DRAIN,
        on_notice=notices.take,
        on_lost=lambda _: departure.leave(Reason.BROKER_GONE),
    )


async def _run(arguments: ExecutorArguments, transport: MqttTransport, departure: Departure, notices: _Notices) -> int:
    session = ExecutorSession(
        arguments.session_id,
        arguments.session_dir,
        heal_children=True,
        watch_session_topic=True,
        inputs_deadline=None,
    )
    runtime = Runtime(on_notice=logger.warning)
    await runtime.__aenter__()
    try:
        executor = Executor(transport, session, runtime, service_address=arguments.address, bus=Bus())
        notices.executor = executor
        await executor.__aenter__()
        scope = scope_of(arguments, debug_port=_debug(arguments))
        return await serve(executor, departure, scope, lambda _: CLEAN_UP)
    finally:
        await runtime.aclose(THREADS)


def _debug(arguments: ExecutorArguments) -> int | None:
    """Listen for a debugger when asked; a failure is only a warning (protocol.md 2.8)."""
    if arguments.debug_port is None:
        return None
    try:
        debugpy = importlib.import_module("debugpy")
        debugpy.listen(arguments.debug_port)
        if arguments.wait_for_client:
            debugpy.wait_for_client()
    except Exception as error:  # noqa: BLE001 - whatever it is, blocks run without a debugger
        logger.warning("cannot listen for a debugger on port %d: %s", arguments.debug_port, error)
        return None
    return arguments.debug_port


def _client_id(arguments: ExecutorArguments) -> str:
    """Return the id of protocol.md 1.2, unique even for two executors with one identifier."""
    middle = "" if arguments.identifier is None else f"id-{arguments.identifier}-"
    return f"python-executor-{middle}{arguments.session_id}-{os.urandom(4).hex()}"


def _say(text: str) -> None:
    """Print a line for whoever started the process; an engine that has died meanwhile does not matter here."""
    with contextlib.suppress(OSError):
        print(text, flush=True)  # noqa: T201 - the official executor's two lines
