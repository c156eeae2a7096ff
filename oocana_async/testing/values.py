"""Turns Python values into what travels to and from a block, and defines handles that a test did not define."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw

from oocana_async.errors import EncodingError, HandleError
from oocana_async.handles.bin_files import BinFiles, is_bytes_like, read_bin
from oocana_async.handles.credentials import CredentialInput
from oocana_async.handles.definitions import definition_of, is_bin_value, is_var_value, media_type_of
from oocana_async.handles.output_values import OutputPlace, prepare_output
from oocana_async.handles.var_store import VarStore
from oocana_async.wire.encoding import encode
from oocana_async.wire.messages.shared import RawMap

__all__ = ["Definitions", "HandleDefs", "Inputs", "Values", "define"]

HandleDefs: TypeAlias = Mapping[str, Mapping[str, Any]] | Iterable[str | Mapping[str, Any]]
"""Handle definitions: names, dicts with a key `handle`, or a mapping from handle to definition."""

Definitions: TypeAlias = dict[str, dict[str, Any]]
"""Handle to definition, as definitions travel."""

_PRODUCER = "producer"


def define(definitions: HandleDefs) -> Definitions:
    """Return handle definitions as they travel.

    Raises:
        ValueError: One has no `handle`.
    """
    if isinstance(definitions, Mapping):
        return {handle: {"handle": handle, **definition} for handle, definition in definitions.items()}
    made = [{"handle": one} if isinstance(one, str) else dict(one) for one in definitions]
    for one in made:
        if type(one.get("handle")) is not str:
            raise ValueError(f"a handle definition is a name or a dict with a key 'handle', but got {one!r}")
    return {one["handle"]: one for one in made}


def _define_input(handle: str, value: Any) -> dict[str, Any]:
    if is_bytes_like(value):
        return definition_of(handle, "oomol/bin")
    if isinstance(value, CredentialInput):
        return definition_of(handle, "oomol/credential")
    try:
        encode(value)
    except EncodingError:
        return definition_of(handle, "oomol/var")
    return definition_of(handle, None)


class Inputs:
    """Inputs of a job as they travel.

    Attributes:
        definitions: of all handles.
        secrets: handle to secret text; the value that travels is a placeholder for it.
    """

    def __init__(self, given: Mapping[str, Any], definitions: HandleDefs | None) -> None:
        self.values = dict(given)
        if definitions is None:
            self.definitions = {handle: _define_input(handle, value) for handle, value in given.items()}
        else:
            self.definitions = define(definitions)
            self._fill()
        self.secrets = {
            handle: value
            for handle, value in self.values.items()
            if isinstance(value, str) and value and media_type_of(self.definitions.get(handle)) == "oomol/secret"
        }

    def encode(self, values: Values) -> RawMap:
        """Return what travels.

        Raises:
            EncodingError: A value cannot travel on its handle; the text names the handle.
        """
        return {handle: self._encode(handle, value, values) for handle, value in self.values.items()}

    def secrets_file(self) -> bytes:
        """Return the content of a file of secrets with those that the inputs hold (protocol.md 5.4)."""
        entries = {
            handle: {"secretName": handle, "secretType": "Custom", "secrets": [{"secretKey": "value", "value": secret}]}
            for handle, secret in self.secrets.items()
        }
        return encode(entries)

    def _fill(self) -> None:
        """Give missing inputs their defaults, as the engine does before it starts a block."""
        for handle, definition in self.definitions.items():
            if handle not in self.values:
                if "value" in definition:
                    self.values[handle] = definition["value"]
                elif definition.get("nullable"):
                    self.values[handle] = None
        missing = [handle for handle in self.definitions if handle not in self.values]
        if missing:
            names = ", ".join(missing)
            raise ValueError(f"no input for {names}: the engine starts a block when every input has a value")

    def _encode(self, handle: str, value: Any, values: Values) -> Raw:
        definition = self.definitions.get(handle)
        if handle in self.secrets:
            return Raw(encode(f"${{{{OO_SECRET:Custom,{handle},value}}}}"))
        if isinstance(value, CredentialInput) and media_type_of(definition) == "oomol/credential":
            return Raw(encode(f"${{{{OO_CREDENTIAL:{value.type},{value.name or value.id},{value.id}}}}}"))
        try:
            return values.encode(_PRODUCER, handle, value, definition)
        except EncodingError as error:
            hint = f"{error.reason}; declare the handle as oomol/var in inputs_def to hand over the object itself"
            raise EncodingError(hint, where=error.where, subject=f"input [{handle}]") from error


class Values:
    """Encodes and decodes the values of one session.

    Args:
        session_id: the session.
        store: objects that travel by reference.
        bins: files of bytes.
    """

    def __init__(self, session_id: str, store: VarStore, bins: BinFiles) -> None:
        self._session_id = session_id
        self._store = store
        self._bins = bins

    def encode(self, job_id: str, handle: str, value: Any, definition: Mapping[str, Any] | None) -> Raw:
        """Encode a value that some job of the session sends.

        Raises:
            EncodingError: It cannot travel on a handle of this definition.
        """
        complaints: list[str] = []
        place = OutputPlace(self._session_id, job_id, self._store, self._bins, complaints.append)
        data = prepare_output(handle, value, definition, place)
        if data is None or complaints:
            raise EncodingError("; ".join(complaints), subject=f"handle [{handle}]")
        return Raw(data)

    def decode_all(self, values: RawMap) -> dict[str, Any]:
        """Return the values of several handles."""
        return {handle: self.decode(value) for handle, value in values.items()}

    def decode(self, value: Raw) -> Any:
        """Return the very object of a reference, the bytes of a file, or plain data."""
        plain = msgspec.json.decode(value)
        try:
            if is_var_value(plain):
                return self._store.get(plain["value"])
            if is_bin_value(plain):
                return read_bin(plain, handle=Path(plain["value"]).name)
        except (HandleError, TypeError, ValueError):  # made elsewhere: handed through as it is
            return plain
        return plain
