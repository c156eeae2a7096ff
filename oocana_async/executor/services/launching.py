"""Starts the process of a service: arguments, environment, log file (protocol.md 2.3, 6.3)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from oocana_async.executor.scope import ExecutorScope
from oocana_async.executor.services.lifetime import StopAt
from oocana_async.transport.base import Transport
from oocana_async.transport.pipe.processes import ChildProcess
from oocana_async.wire.messages.dispatch import ServiceBlockPayload

__all__ = ["ServicePlan", "launch"]


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What is known about a service before it runs.

    Attributes:
        service_hash: hash of its directory.
        session_id: its session, None for a global one.
        directory: where its manifest is.
        stop_at: when it ends.
        keep_alive: seconds after the last job, for `block_end`.
        scope: of the job that needs it first.
    """

    service_hash: str
    session_id: str | None
    directory: str
    stop_at: StopAt
    keep_alive: int | None
    scope: ExecutorScope

    @classmethod
    def of(cls, payload: ServiceBlockPayload, scope: ExecutorScope) -> ServicePlan:
        """Read the plan out of a job."""
        executor = payload.service_executor
        stop_at = StopAt.parse(executor.stop_at)
        session_id = None if stop_at.is_global else payload.session_id
        return cls(payload.service_hash, session_id, payload.dir, stop_at, executor.keep_alive, scope)

    @property
    def log_path(self) -> Path:
        """Where the process writes what it has to say, stdout and stderr included."""
        root = Path.home() / ".oocana"
        directory = root / "services" if self.session_id is None else root / "sessions" / _as_name(self.session_id)
        return directory / f"python-{_as_name(self.service_hash)}.log"

    def command(self, instance: str, address: str | None) -> list[str]:
        """Return program and arguments.

        Args:
            instance: names the process.
            address: broker; None when a pipe will be appended.
        """
        command = [sys.executable, "-u", "-P", "-m", "oocana_async.executor.process.service_program"]
        command += ["--service-hash", self.service_hash, "--instance", instance, "--stop-at", self.stop_at.value]
        if self.session_id is not None:
            command += ["--session-id", self.session_id]
        if self.keep_alive is not None:
            command += ["--keep-alive", str(self.keep_alive)]
        if self.scope.package_path is not None:
            command += ["--package", str(self.scope.package_path)]
        return command if address is None else [*command, "--address", address]


async def launch(plan: ServicePlan, instance: str, *, address: str | None, transport: Transport) -> ChildProcess:
    """Start the process of a service.

    Args:
        plan: the service.
        instance: names the process.
        address: broker that it connects to; None for a pipe.
        transport: what the other end of that pipe speaks to.

    Raises:
        OSError: It cannot be started.
    """
    variables = dict(plan.scope.variables) or dict(os.environ)
    output = _open_log(plan.log_path)
    try:
        return await ChildProcess.start(
            f"service {plan.directory}",
            plan.command(instance, address),
            env={**variables, "OOCANA_PKG_DIR": plan.scope.pkg_data_dir},
            output=output,
            transport=transport if address is None else None,
            lifeline=plan.session_id is not None,
        )
    finally:
        if not isinstance(output, int):
            output.close()


def _as_name(text: str) -> str:
    """Return what came in a message as the name of a file, never as a path."""
    return re.sub(r"[^\w.-]", "_", text).lstrip(".") or "_"


def _open_log(path: Path) -> int | IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError:
        return subprocess.DEVNULL
