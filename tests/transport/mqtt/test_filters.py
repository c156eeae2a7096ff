"""Topic filters that cover others."""

from __future__ import annotations

import pytest

from oocana_async.transport.mqtt.filters import covers, without_covered


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ("inputs/S/#", "inputs/S/J", True),
        ("inputs/S/#", "inputs/S/+", True),
        ("inputs/+/J", "inputs/S/J", True),
        ("#", "a/#", True),
        ("+/#", "a/#", True),
        ("a/+", "a/#", False),
        ("a/b", "a/+", False),
        ("a/b/#", "a/#", False),
        ("a/b", "a/c", False),
    ],
)
def test_covers(wide: str, narrow: str, expected: bool) -> None:
    assert covers(wide, narrow) is expected


def test_only_the_widest_filters_stay() -> None:
    assert without_covered(["inputs/S/#", "inputs/S/J", "a/b", "a/b", "session/S/request/+/response"]) == {
        "inputs/S/#",
        "a/b",
        "session/S/request/+/response",
    }
