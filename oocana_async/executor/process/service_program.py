"""The program of a service process, started by an executor with an argument list (protocol.md 6.3)."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import stat
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from oocana_async.channel.clock import LoopClock
from oocana_async.errors import TransportError
from oocana_async.executor.process.leaving import Departure, Reason, run_and_leave
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.service_process.service import Service, ServiceIdentity
from oocana_async.executor.services.lifetime import StopAt
from oocana_async.transport.base import Transport

if TYPE_CHECKING:
    from oocana_async.transport.pacing.notices import Notice

__all__ = ["main"]

logger = logging.getLogger(__name__)

GRACE = 3.0
"""Seconds that running jobs get after the reason to leave; less than the executor waits."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a service until it has a reason to leave.

    Args:
        argv: arguments without the program's name; None for those of the process.

    Returns:
        The exit code: 0, or 1 when its main function failed or whoever it talks to is gone.

    Raises:
        SystemExit: With code 2 when the arguments are wrong.
    """
    arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if arguments.package is not None and arguments.package not in sys.path:
        sys.path.append(arguments.package)
    return asyncio.run(_serve(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="oocana_async.executor.process.service_program", allow_abbrev=False)
    parser.add_argument("--service-hash", required=True)
    parser.add_argument("--instance", required=True, help="names this process")
    parser.add_argument("--session-id", help="left out for global services")
    parser.add_argument("--stop-at", type=StopAt.parse, default=StopAt.SESSION_END)
    parser.add_argument("--keep-alive", type=float, metavar="SECONDS")
    parser.add_argument("--package", metavar="PATH", help="added to the end of sys.path")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--address", help="MQTT broker")
    way.add_argument("--pipe-fd", type=int, help="a socket to the executor that started this process")
    return parser


async def _serve(arguments: argparse.Namespace) -> int:
    departure = Departure()
    with departure.watch():
        if arguments.session_id is not None:
            _watch_lifeline(departure)
        notices = _Notices()
        transport = _transport(arguments, departure, notices)
        try:
            async with transport:
                return await _run(arguments, transport, departure, notices)
        except TransportError as error:
            logger.error("the connection is lost: %s", error)
            return 1


class _Notices:
    """Passes on what the transport has to say to users."""

    service: Service | None = None

    def take(self, notice: Notice) -> None:
        """Take a notice; before there are jobs it is logged."""
        if self.service is None:
            logger.warning("%s", notice.text)
        else:
            self.service.warn(notice.job_id, notice.text)


def _transport(arguments: argparse.Namespace, departure: Departure, notices: _Notices) -> Transport:
    if arguments.pipe_fd is not None:
        from oocana_async.transport.pipe.bridge import PipeTransport

        return PipeTransport(arguments.pipe_fd, on_lost=lambda _: departure.leave(Reason.ENGINE_GONE))
    from oocana_async.transport.broker import MqttTransport

    return MqttTransport(
        arguments.address,
        client_id=f"python-service-{arguments.service_hash}-{arguments.instance}",
        session_id=arguments.session_id or "",
        close_within=GRACE,
        on_notice=notices.take,
        on_lost=lambda _: departure.leave(Reason.BROKER_GONE),
    )


async def _run(arguments: argparse.Namespace, transport: Transport, departure: Departure, notices: _Notices) -> int:
    identity = ServiceIdentity(
        arguments.service_hash, arguments.instance, arguments.session_id, arguments.stop_at, arguments.keep_alive
    )
    runtime = await Runtime(max_loops=1, on_notice=logger.warning).__aenter__()
    service = Service(transport, runtime, identity, LoopClock(asyncio.get_running_loop()))
    notices.service = service
    # No task group: it would wrap an error of the service in an exception group, for one watcher that never fails.
    watch = asyncio.create_task(_watch(departure, service), name="oocana-departure-watch")
    try:
        async with service:
            logger.info("leaving because %s", await service.until_over())
            await service.aclose(GRACE)
    finally:
        watch.cancel()
        await runtime.aclose(GRACE / 6)
    return 1 if service.has_failed else 0


async def _watch(departure: Departure, service: Service) -> None:
    reason = await departure.wait()
    if reason in (Reason.ENGINE_GONE, Reason.BROKER_GONE):
        service.has_failed = True
    service.leave(reason.value)


def _watch_lifeline(departure: Departure) -> None:
    """Notice the end of the executor that holds the other end of stdin."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            departure.leave(Reason.TERMINATED)

    loop.add_reader(0, read)


if __name__ == "__main__":
    run_and_leave(main)
