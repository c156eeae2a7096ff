"""The command `oocana-async`: reads the command line, starts a command, turns every end into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from oocana_async.cli.failures import ExitCode, UsageError, say

if TYPE_CHECKING:
    import argparse

    from oocana_async.cli.signals import Signals

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `oocana-async`.

    Never raises: help, wrong usage, broken pipes and Ctrl-C become exit codes. Whoever calls it with `argv` keeps its
    process; without, the process is this command's own.

    Args:
        argv: the arguments behind the command's name, those of this process when None.

    Returns:
        The exit code: 0 success, 1 something failed, 2 wrong usage or an unreadable manifest, 130 interrupted.
    """
    code = _guarded(sys.argv[1:] if argv is None else argv)
    if argv is None:
        from oocana_async.cli.exiting import leave_in_time

        leave_in_time(code)
    return code


def _guarded(argv: Sequence[str]) -> int:
    if argv and argv[0] == "executor":
        from oocana_async.executor.process.entry import main as executor_main

        return executor_main(list(argv[1:]))
    try:
        from oocana_async.cli.signals import Signals

        with Signals() as signals:
            return _handled(argv, signals)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _handled(argv: Sequence[str], signals: Signals) -> int:
    from oocana_async.cli.signals import Interrupted

    try:
        return _run(argv, signals)
    except UsageError as error:
        say(f"oocana-async: {error}")
        return ExitCode.USAGE
    except BrokenPipeError:
        _drop_stdout()
        return ExitCode.BROKEN_PIPE
    except (Interrupted, KeyboardInterrupt):
        say("interrupted")
        return signals.exit_code
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)


def _run(argv: Sequence[str], signals: Signals) -> int:
    from oocana_async.cli.arguments import parse

    options = parse(argv)
    code = _command(options, signals)
    if sys.stdout is not None:
        sys.stdout.flush()
    return code


def _command(options: argparse.Namespace, signals: Signals) -> int:
    if options.command == "run":
        from oocana_async.cli.running import run_command

        return run_command(options, signals)
    if options.command == "check":
        from oocana_async.cli.checking import check_command

        return check_command(options)
    from oocana_async.cli.querying import query_command

    return query_command(options)


def _drop_stdout() -> None:
    """Point stdout nowhere, so that flushing it at exit does not fail again."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        return
