"""Fixtures for the whole suite."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import coverage.exceptions
import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how much of the package was run, with what child processes ran, when `coverage run` started the tests."""
    measuring = coverage.Coverage.current()
    if measuring is None:
        return
    measuring.stop()
    measuring.save()
    measured = coverage.Coverage()
    with warnings.catch_warnings(action="ignore", category=coverage.exceptions.CoverageWarning):
        measured.combine()  # a child that was killed leaves half a file
    measured.save()
    total = measured.report(file=io.StringIO())
    terminalreporter.write_line(f"coverage: {total:.1f} % of lines and branches, child processes included")


def pytest_configure() -> None:
    """Take signals as a program on a terminal does, however the tests were started.

    A shell that starts them in the background, or nohup, has SIGINT or SIGHUP ignored, which all processes inherit:
    those that are tested would then rightly ignore what the tests send them.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio only: the package is built on it."""
    return "asyncio"


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep coverage out of child processes: for tests that look at what a process imports or how long it takes."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


# Runs a program until it ends or stdin does, which is also when whoever holds the other end dies, in whatever way.
_UNTIL_STDIN_ENDS = """
exec 3<&0
"$0" "$@" 3<&- &
program=$!
{ read -r _ <&3; kill "$program"; } 2>/dev/null &
exec 3<&-
wait "$program"
kill "$!" 2>/dev/null
"""


class MosquittoBroker:
    """A mosquitto of one's own on a free port of the loopback.

    Attributes:
        host: always 127.0.0.1.
        port: the port, the same after a restart.
    """

    host = "127.0.0.1"

    def __init__(self, program: str, directory: Path, lines: tuple[str, ...]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        self.log = directory / "mosquitto.log"
        self._config = directory / "mosquitto.conf"
        login = () if any(line.startswith("allow_anonymous") for line in lines) else ("allow_anonymous true",)
        user = ("user root",) if os.geteuid() == 0 else ()  # else it becomes somebody who cannot read the directory
        size = "max_packet_size 268435455"  # since 2.1 it would take two megabytes at most
        config = (*user, f"listener {self.port} {self.host}", "persistence false", size, *login, *lines)
        self._config.write_text("\n".join(config) + "\n")
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """`HOST:PORT`, as the engine passes it to executors."""
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Start it and return when it takes connections."""
        line = ["sh", "-c", _UNTIL_STDIN_ENDS, self._program, "-c", str(self._config)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=log, stderr=log)
        _wait_for_port(self.host, self.port, self._process, self.log)

    def stop(self) -> None:
        """Stop it; all connections break."""
        if self._process is not None:
            self._process.communicate(timeout=10)
            self._process = None

    def restart(self) -> None:
        """Stop it and start it again on the same port."""
        self.stop()
        self.start()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_port(host: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Connect again and again until somebody listens: nothing else tells when a foreign process is ready."""
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((host, port), timeout=1).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.01)
    process.communicate()
    pytest.fail(f"mosquitto did not start on port {port}:\n{log.read_text()}")


StartBroker = Callable[..., MosquittoBroker]


@pytest.fixture(scope="session")
def mosquitto() -> str:
    """The path of the program."""
    program = shutil.which("mosquitto") or shutil.which(
        "mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
    )
    if program is None:
        reason = "NO BROKER: mosquitto is not installed (apt install mosquitto), so nothing on the wire is tested"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    return program


@pytest.fixture
def start_broker(mosquitto: str, tmp_path: Path) -> Iterator[StartBroker]:
    """Start brokers; arguments are further lines of mosquitto.conf, such as `set_tcp_nodelay true`."""
    brokers: list[MosquittoBroker] = []

    def start(*lines: str) -> MosquittoBroker:
        broker = MosquittoBroker(mosquitto, tmp_path / f"broker{len(brokers)}", lines)
        brokers.append(broker)
        broker.start()
        return broker

    yield start
    for broker in brokers:
        broker.stop()


@pytest.fixture
def broker(start_broker: StartBroker) -> MosquittoBroker:
    """A running broker with `set_tcp_nodelay true`, else at its defaults."""
    return start_broker("set_tcp_nodelay true")
