"""The embedded engine against the recordings of the reference engine, case by case."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.compare import compare
from tests.conformance.harness import Case, cases_directory, load_cases, run_case

CASES = [case for case in load_cases(cases_directory()) if not case.settings.get("quirk")]


@pytest.mark.timeout(40, method="signal")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_events_conform_to_the_reference(case: Case, tmp_path: Path) -> None:
    run = run_case(case, tmp_path)
    differences = compare(case.expected, run.events, case.settings)
    assert not differences, "\n".join([case.settings["title"], *differences, run.log[-2000:]])
    assert run.exit_code == case.exit_code, run.log[-2000:]
