"""`oocana-async check`: prints what is wrong with a target, one finding a line."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING

from oocana_async.cli.failures import ExitCode

if TYPE_CHECKING:
    from oocana_async.engine.manifests.findings import Finding, Severity

__all__ = ["check_command"]


def check_command(options: argparse.Namespace) -> int:
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
    from oocana_async.engine.check import check_target
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
