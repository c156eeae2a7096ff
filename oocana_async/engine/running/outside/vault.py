"""Asks the vault service for credentials, off the loop (protocol.md 3.9, QueryAuth)."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from oocana_async.engine.running.outside.off_loop import call_off_loop

__all__ = ["VaultError", "query_vault"]

_TIMEOUT = 5.0
_RETRIES = 2


class VaultError(Exception):
    """The credential cannot be had; the text is the answer's error."""


async def query_vault(payload: Any) -> dict[str, str]:
    """Return a credential's values.

    Args:
        payload: the credential id.

    Raises:
        VaultError: There is no vault, the id is no text, or the service refuses.
    """
    address = os.environ.get("OOMOL_VAULT_ADDR")
    if not address:
        raise VaultError("Vault client is not available.")
    if not isinstance(payload, str):
        raise VaultError(f"Expected vault ID to be a string, got {_kind(payload)}")
    url = f"{address.rstrip('/')}/v1/vaultlet/{payload}"
    text = await call_off_loop("vault", lambda: _fetch(url))
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise VaultError(f"Failed to parse JSON response: {error}") from error


def _kind(value: Any) -> str:
    names = {bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _fetch(url: str) -> bytes:
    """Try three times on server and transport errors."""
    from urllib.parse import quote
    from urllib.request import Request

    if not url.startswith(("http://", "https://")):
        raise VaultError(f"OOMOL_VAULT_ADDR leads to {url}, expected an http or https address")
    headers = {"Authorization": f"Bearer {os.environ.get('OOMOL_TOKEN', '')}"}
    request = Request(quote(url, safe=":/%[]@"), headers=headers)  # noqa: S310 - the scheme is checked above
    failure = ""
    for _ in range(_RETRIES + 1):
        try:
            return _get(request)
        except _ServerError as error:
            failure = f"Server error after {_RETRIES} retries: {error}"
        except OSError as error:
            failure = f"Request failed after {_RETRIES} retries: {error}"
    raise VaultError(failure)


class _ServerError(Exception):
    """The service answered with a status of 500 or more."""


def _get(request: Any) -> bytes:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        with urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - the scheme is checked by the caller
            return bytes(answer.read())
    except HTTPError as error:
        error.close()
        status = f"{error.code} {error.reason}".strip()
        if error.code >= 500:
            raise _ServerError(status) from error
        raise VaultError(f"Client error: {status}") from error
