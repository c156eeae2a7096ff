"""The command `oocana-async`: reads the command line, starts a command, turns every end into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from oocana_async.cli.failures import ExitCode, UsageError, say

if TYPE_CHECKING:
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
    try:
        from oocana_async.cli.commands import PROGRAMS
        from oocana_async.cli.signals import Signals

        program = PROGRAMS.get(argv[0]) if argv else None
        if program is None:
            with Signals() as signals:
                return _handled(argv, signals)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return program.run(argv[1:])


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


def _run(argv: Sequence[str], signals: Signals) -> int:
    from oocana_async.cli.command_line import parse
    from oocana_async.cli.commands import COMMANDS

    try:
        options = parse(argv)
        code = COMMANDS[options.command].run(options, signals)
    except SystemExit as leaving:  # help was asked for
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    if sys.stdout is not None:
        sys.stdout.flush()  # here, where a broken pipe can still be told from success
    return code


def _drop_stdout() -> None:
    """Point stdout nowhere, so that flushing it at exit does not fail again."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        return
