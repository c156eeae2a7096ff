"""The argument list of `python-executor` (protocol.md 2.1)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oocana_async.transport.mqtt.address import Broker

__all__ = ["DEFAULT_ADDRESS", "ExecutorArguments", "parse_arguments"]

DEFAULT_ADDRESS = "mqtt://127.0.0.1:47688"


@dataclass(frozen=True, slots=True)
class ExecutorArguments:
    """What the engine says to an executor process.

    Attributes:
        broker: where the engine is reached.
        address: the same as it was given, for processes that are started from here.
        package: path of the scope, None for a workspace without a package.
        wait_for_client: wait for a debugger before any job is taken.
        console: write logs to stdout, not to files.
        unknown: flags that are not known here and are ignored.
    """

    session_id: str
    session_dir: Path
    tmp_dir: Path
    broker: Broker
    address: str
    identifier: str | None
    package: Path | None
    debug_port: int | None
    wait_for_client: bool
    console: bool
    unknown: tuple[str, ...] = ()


def parse_arguments(argv: Sequence[str]) -> ExecutorArguments:
    """Read the argument list; unknown flags are tolerated.

    Raises:
        SystemExit: With code 2, and a text on stderr, when a required flag is missing or a value is wrong.
    """
    parser = _parser()
    known, unknown = parser.parse_known_args(argv)
    try:
        broker = Broker.parse(known.address)
    except ValueError as error:
        parser.error(f"--address: {error}")
    if re.search(r"[/+#]", known.session_id):
        parser.error(f"--session-id must not contain /, + or #, because it becomes part of topics: {known.session_id}")
    return ExecutorArguments(
        session_id=known.session_id,
        session_dir=Path(known.session_dir),
        tmp_dir=Path(known.tmp_dir),
        broker=broker,
        address=known.address,
        identifier=known.identifier,
        package=None if known.package is None else Path(known.package),
        debug_port=known.debug_port,
        wait_for_client=known.wait_for_client,
        console=known.output == "console",
        unknown=tuple(unknown),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python-executor",
        description="Run the python blocks of one session for the OOCANA engine, which starts this program by itself.",
        allow_abbrev=False,
    )
    parser.add_argument("--session-id", required=True, help="session whose jobs are taken")
    parser.add_argument("--session-dir", required=True, metavar="DIR", help="directory that the session shares")
    parser.add_argument("--tmp-dir", required=True, metavar="DIR", help="temporary directory of the flow")
    parser.add_argument("--address", default=DEFAULT_ADDRESS, help=f"MQTT broker (default: {DEFAULT_ADDRESS})")
    parser.add_argument("--identifier", help="scope whose jobs are taken; sent back in ExecutorReady")
    parser.add_argument("--package", metavar="PATH", help="package or workspace, added to the end of sys.path")
    parser.add_argument("--debug-port", type=int, metavar="N", help="listen for a debugger (needs debugpy)")
    parser.add_argument("--wait-for-client", action="store_true", help="wait for the debugger before taking jobs")
    parser.add_argument("--output", choices=("console", "file"), default="file", help="where logs go (default: file)")
    return parser
