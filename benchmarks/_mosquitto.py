"""A mosquitto of one's own on a free port, for measurements over a real broker."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Mosquitto", "NoBrokerError", "nothing_measured"]

_PLACES = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"


class NoBrokerError(Exception):
    """mosquitto is not installed, or does not start."""


def nothing_measured(error: NoBrokerError) -> int:
    """Say why nothing was measured; returns the exit code, which is a fault only where a broker must be."""
    print(f"NO BROKER: {error}, so nothing is measured")
    return 1 if os.environ.get("CI") == "true" else 0


class Mosquitto:
    """A broker at its defaults; use it as a context manager.

    Args:
        directory: empty or missing; for configuration and log.
        nodelay: `set_tcp_nodelay true`, which the README advises.
    """

    host = "127.0.0.1"

    def __init__(self, directory: Path, *, nodelay: bool) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path=_PLACES)
        if program is None:
            raise NoBrokerError("mosquitto is not installed (apt install mosquitto)")
        directory.mkdir(parents=True, exist_ok=True)
        self._log = directory / "mosquitto.log"
        self._config = directory / "mosquitto.conf"
        self._command = [program, "-c", str(self._config)]
        self._nodelay = nodelay
        self.port = 0

    @property
    def address(self) -> str:
        """`HOST:PORT`."""
        return f"{self.host}:{self.port}"

    def __enter__(self) -> Self:
        with socket.socket() as probe:
            probe.bind((self.host, 0))
            self.port = probe.getsockname()[1]
        lines = [f"listener {self.port} {self.host}", "allow_anonymous true", "persistence false"]
        if os.geteuid() == 0:
            lines.insert(0, "user root")  # else it becomes somebody who cannot read the directory
        if self._nodelay:
            lines.append("set_tcp_nodelay true")
        self._config.write_text("\n".join(lines) + "\n")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((self.host, self.port), timeout=1).close()
                return self
            except ConnectionRefusedError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise NoBrokerError(f"mosquitto did not start: {self._log.read_text()}") from None
                time.sleep(0.01)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
