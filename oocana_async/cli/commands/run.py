"""`oocana-async run`: its options; what they start is in `cli.target_run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from oocana_async.cli.option_values import (
    directory,
    env_file,
    handle_values,
    node_list,
    node_values,
    positive,
    session_id,
    writable_file,
)
from oocana_async.cli.target_argument import add_target

if TYPE_CHECKING:
    import argparse

    from oocana_async.cli.parser import CommandParser
    from oocana_async.cli.signals import Signals

__all__ = ["DESCRIPTION", "EPILOG", "HELP", "add_arguments", "run"]

HELP: Final = "run a flow, a task or a scriptlet"
DESCRIPTION: Final = """\
Run a flow, a task or a scriptlet in this process, without engine and broker.

On a terminal the nodes, their progress, logs, warnings and previews are shown live; elsewhere as plain lines
(NO_COLOR takes the colours away). A bare scriptlet takes its inputs from --inputs and may put
out on any handle.
"""
EPILOG: Final = """\
exit codes:
  0    the run succeeded
  1    a block or the flow failed
  2    wrong usage, or a file that cannot be read; the message names file, line and column
  130  interrupted by Ctrl-C (143 by SIGTERM, 129 by SIGHUP)
  141  whoever read stdout has gone

examples:
  oocana-async run flows/report
  oocana-async run flow.oo.yaml --inputs '{"year": 2024}' --nodes-inputs @values.json
  oocana-async run flow.oo.yaml --json | jq 'select(.type == "BlockLog").log'
  oocana-async run resize.py --inputs '{"path": "in.png"}'
"""


def add_arguments(parser: CommandParser) -> None:
    """Declare the target and the options, in the groups that `--help` shows."""
    add_target(parser, "a flow file or its directory, a subflow, a task file, or a scriptlet (.py)")
    _add_values(parser.add_argument_group("what runs"))
    _add_directories(parser.add_argument_group("where it works"))
    _add_output(parser.add_argument_group("what is shown"))


def run(options: argparse.Namespace, signals: Signals) -> int:
    """Run the target and return how it went as an exit code."""
    from oocana_async.cli.target_run import run_target

    return run_target(options, signals)


def _add_values(group: Any) -> None:
    group.add_argument(
        "--inputs",
        metavar="JSON|@FILE",
        type=handle_values,
        help='inputs of the target: {"handle": value}, as text, from a file or from standard input (@-)',
    )
    group.add_argument(
        "--nodes-inputs",
        metavar="JSON|@FILE",
        type=node_values,
        help='values for inputs of nodes: {"node": {"handle": value}}',
    )
    group.add_argument("--nodes", metavar="A,B", type=node_list, help="run only these nodes and what they need")
    group.add_argument("--use-cache", action="store_true", help="begin with the values that the last run left")
    group.add_argument(
        "--max-threads",
        metavar="N",
        type=positive,
        help="most threads for blocks (default: 8 per core, at most 64)",
    )
    group.add_argument(
        "--env-file",
        metavar="FILE",
        type=env_file,
        help="environment variables for the blocks, a KEY=VALUE per line (default: $OOCANA_ENV_FILE)",
    )


def _add_directories(group: Any) -> None:
    group.add_argument("--session", metavar="ID", type=session_id, help="session id (default: a random one)")
    for flag, text in (
        ("--session-dir", "directory shared by all blocks of the session (default: SESSION below the temporary one)"),
        ("--temp-root", "temporary directories of blocks lie below it (default: $OOCANA_TEMP_ROOT, else the system's)"),
        ("--project-data", "data directory of blocks outside packages (default: that of --temp-root)"),
        ("--pkg-data-root", "packages have their data directories below it (default: that of --temp-root)"),
    ):
        group.add_argument(flag, metavar="DIR", type=directory, help=f"{text}; made if it is not there")


def _add_output(group: Any) -> None:
    group.add_argument(
        "--json", action="store_true", help="print each event as one line of JSON on stdout; logs go to stderr"
    )
    group.add_argument(
        "--report",
        metavar="FILE",
        type=writable_file,
        help="write the events, as with --json, to a file too",
    )
    group.add_argument("--quiet", action="store_true", help="show errors only")
