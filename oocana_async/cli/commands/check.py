"""`oocana-async check`: prints what is wrong with a target, one finding a line."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING, Final

from oocana_async.cli.failures import ExitCode
from oocana_async.cli.target_argument import add_target

if TYPE_CHECKING:
    from oocana_async.cli.parser import CommandParser
    from oocana_async.cli.signals import Signals
    from oocana_async.engine.manifests.findings import Finding, Severity

__all__ = ["DESCRIPTION", "EPILOG", "HELP", "add_arguments", "run"]

HELP: Final = "find out what is wrong with a flow or a task without running it"
DESCRIPTION: Final = """\
List everything that can be known to be wrong before a run, each with file, line and column.
Ends with 1 when there are errors, with 0 when there is nothing or warnings only.
"""
EPILOG: Final = None


def add_arguments(parser: CommandParser) -> None:
    """Declare the target and the form of what is printed."""
    add_target(parser, "a flow file or its directory, a subflow, a task file, or a scriptlet (.py)")
    parser.add_argument("--json", action="store_true", help="print each finding as one line of JSON")


def run(options: argparse.Namespace, signals: Signals) -> int:
    """Check a target and print the findings.

    Returns:
        1 when there are errors, else 0.
    """
    findings = _findings(options)
    for finding in findings:
        print(_as_json(finding) if options.json else finding)
    counts = Counter(finding.severity for finding in findings)
    if not options.json:
        print(_verdict(counts))
    return ExitCode.FAILED if counts["error"] else ExitCode.SUCCESS


def _findings(options: argparse.Namespace) -> list[Finding]:
    from oocana_async.cli.scriptlet import is_scriptlet, scriptlet_task
    from oocana_async.engine.analysis import check_target
    from oocana_async.engine.manifests.findings import from_fault
    from oocana_async.errors import LoadError

    if not is_scriptlet(options.target):
        return check_target(options.target, search_paths=options.search_paths)
    try:
        scriptlet_task(options.target, ())
    except LoadError as error:
        return [from_fault(fault) for fault in error.faults]
    return []


def _as_json(finding: Finding) -> str:
    return json.dumps(
        {
            "severity": finding.severity,
            "code": finding.code,
            "path": None if finding.path is None else str(finding.path),
            "line": finding.line,
            "column": finding.column,
            "message": finding.message,
            "hint": finding.hint or None,
        },
        ensure_ascii=False,
    )


def _verdict(counts: Counter[Severity]) -> str:
    severities: tuple[Severity, ...] = ("error", "warning", "note")
    words = [f"{counts[word]} {word}{'s' * (counts[word] != 1)}" for word in severities if counts[word]]
    return ", ".join(words) or "nothing is wrong"
