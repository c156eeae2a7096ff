"""Say at the end of a run where the conformance cases came from."""

from __future__ import annotations

import pytest

from tests.conformance.harness import ORIGINALS, cases_directory


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report how many cases were compared, and with which recordings."""
    outcomes = {
        outcome: [report for report in terminalreporter.stats.get(outcome, []) if "test_cases.py" in report.nodeid]
        for outcome in ("passed", "failed")
    }
    compared = sum(map(len, outcomes.values()))
    if compared:
        origin = "shared/conformance" if cases_directory() == ORIGINALS else "the copies in tests/conformance/cases"
        text = f"conformance: {len(outcomes['passed'])} of {compared} cases pass, recordings from {origin}"
        terminalreporter.write_line(text)
