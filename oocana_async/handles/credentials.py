"""Turns the placeholder of a credential into the object that `context.query_auth` takes (protocol.md 5.5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

__all__ = ["CredentialInput", "resolve_credential"]

_PLACEHOLDER = re.compile(r"\$\{\{OO_CREDENTIAL:([^,]+),([^,]+),([^,]+)\}\}")


class CredentialInput(msgspec.Struct, frozen=True):
    """Names a credential; it holds no secret.

    Attributes:
        type: kind of the credential.
        id: what the engine's vault knows it by.
        name: what the user calls it; the official Python SDK has none, hence the last place.
    """

    type: str
    id: str
    name: str = ""


def resolve_credential(value: Any, *, handle: str, warn: Callable[[str], object]) -> Any:
    """Give the credential that a placeholder names.

    Args:
        value: the text `${{OO_CREDENTIAL:type,name,id}}`; null and empty text mean "none given" and pass.
        handle: the input handle, for the warning.
        warn: takes a warning for the block's log.

    Returns:
        A CredentialInput, or the value as it is, with a warning, if it is no placeholder.
    """
    if value is None or value == "":
        return value
    match = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        warn(f"input handle [{handle}]: not a credential; expected the text ${{{{OO_CREDENTIAL:type,name,id}}}}")
        return value
    kind, name, identity = match.groups()
    return CredentialInput(type=kind, id=identity, name=name)
