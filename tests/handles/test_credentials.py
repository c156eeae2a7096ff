"""Credential inputs: what a block gets for one, and what is warned about."""

from __future__ import annotations

from typing import Any

import pytest

from oocana_async.handles import CredentialInput
from oocana_async.handles.credentials import resolve_credential


def resolve(value: Any) -> tuple[Any, list[str]]:
    warnings: list[str] = []
    return resolve_credential(value, handle="login", warn=warnings.append), warnings


def test_placeholder_becomes_a_credential() -> None:
    value, warnings = resolve("${{OO_CREDENTIAL:AWS,my key,42}}")
    assert value == CredentialInput(type="AWS", id="42", name="my key")
    assert warnings == []


def test_credential_can_be_built_as_in_the_official_package() -> None:
    assert CredentialInput("AWS", "42") == CredentialInput(type="AWS", id="42", name="")


@pytest.mark.parametrize("value", [None, ""])
def test_nothing_given_passes(value: Any) -> None:
    assert resolve(value) == (value, [])


@pytest.mark.parametrize(
    "value", ["x", "${{OO_CREDENTIAL:a,b}}", "${{OO_CREDENTIAL:a,b,c,d}}", " ${{OO_CREDENTIAL:a,b,c}}", 3]
)
def test_anything_else_stays_with_a_warning(value: Any) -> None:
    assert resolve(value) == (
        value,
        ["input handle [login]: not a credential; expected the text ${{OO_CREDENTIAL:type,name,id}}"],
    )
