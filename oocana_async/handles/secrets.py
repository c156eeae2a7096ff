"""Puts secrets into inputs: by placeholder, by schema, by patch (protocol.md 5.4). No secret is ever logged."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from oocana_async.errors import HandleError
from oocana_async.handles.redaction import Redactor

__all__ = ["SecretResolver", "SecretsFile", "Warn", "default_secrets_path"]

Warn: TypeAlias = Callable[[str], object]
"""Takes a warning for the block's log."""

_Place: TypeAlias = tuple[str | int, ...]

_PLACEHOLDER = re.compile(r"\$\{\{OO_SECRET:([^,]+,[^,]+,[^,]+)\}\}")
_MEDIA_TYPE = "oomol/secret"
_NO_FILE = "secret file not found or invalid json file"


def default_secrets_path() -> Path:
    """Give the path of the file in which OOMOL keeps the user's secrets."""
    return Path.home() / "app-config" / "oomol-secrets" / "secrets.json"


class SecretsFile:
    """The file with the user's secrets: read when the first secret is wanted, and again when it has changed.

    Args:
        path: the file; None is `~/app-config/oomol-secrets/secrets.json`, looked up at each read.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[str, int, int] | None = None
        self._content: Mapping[str, Any] | None = None

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path if self._path is not None else default_secrets_path()

    def read(self) -> Mapping[str, Any] | None:
        """Give the secrets by name, None if there is no such file or it is no JSON object."""
        path = self.path
        with self._lock:
            try:
                status = path.stat()
                stamp = (str(path), status.st_mtime_ns, status.st_size)
                if stamp != self._stamp:
                    self._content = _parse(path.read_bytes())
                    self._stamp = stamp
            except OSError:
                self._stamp, self._content = None, None
            return self._content


def _parse(content: bytes) -> Mapping[str, Any] | None:
    try:
        parsed = json.loads(content)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


class SecretResolver:
    """Resolves the secrets in the inputs of one job.

    A place that one way has filled is left alone by the ways after it, so a secret is never taken for a reference.
    Empty text and null mean "none given" and pass.

    Args:
        file: the user's secrets.
        warn: takes warnings; they name the place, never what stands there.
        redactor: learns each secret that was resolved.
    """

    def __init__(self, file: SecretsFile, warn: Warn, redactor: Redactor | None = None) -> None:
        self._file = file
        self._warn = warn
        self._redactor = redactor
        self._done: set[_Place] = set()

    def resolve_placeholders(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Replace each text that as a whole is `${{OO_SECRET:type,name,key}}`, however deep; needs no schema.

        Args:
            inputs: handle to value; not changed.
        """
        return {handle: self._replace(value, (handle,)) for handle, value in inputs.items()}

    def _replace(self, value: Any, place: _Place) -> Any:
        if isinstance(value, str):
            match = _PLACEHOLDER.fullmatch(value)
            return value if match is None else self._replace_placeholder(match.group(1), value, place)
        if isinstance(value, dict):
            return _map_dict(value, lambda key, item: self._replace(item, (*place, key)))
        if isinstance(value, list):
            return _map_list(value, lambda index, item: self._replace(item, (*place, index)))
        return value

    def _replace_placeholder(self, reference: str, value: str, place: _Place) -> str:
        if self._file.read() is None:
            self._warn(f"{_name(place)}: {_NO_FILE} ({self._file.path}); the placeholder stays")
            return value
        return self._look_up(reference, place, shown=reference)

    def resolve_schema(self, value: Any, schema: Any, place: _Place) -> Any:
        """Look up the references that a schema calls secrets.

        Args:
            value: the value at this place; not changed.
            schema: its JSON schema; a secret itself, or an object or array with secrets in it.
            place: the handle, then keys and indices below it.

        Raises:
            HandleError: A secret is wanted and the file is missing or broken.
        """
        if not isinstance(schema, Mapping):
            return value
        if schema.get("contentMediaType") == _MEDIA_TYPE and (
            len(place) == 1 or schema.get("type") in ("string", None)
        ):
            return self._resolve_reference(value, place)
        properties, items = schema.get("properties"), schema.get("items")
        if isinstance(value, dict) and isinstance(properties, Mapping):
            return _map_dict(value, lambda key, item: self.resolve_schema(item, properties.get(key), (*place, key)))
        if isinstance(value, list) and isinstance(items, Mapping):
            return _map_list(value, lambda index, item: self.resolve_schema(item, items, (*place, index)))
        return value

    def resolve_patch(self, value: Any, patch: Mapping[str, Any], handle: str) -> Any:
        """Look up the references that one patch of a handle calls secrets.

        Args:
            value: the value of the handle; not changed.
            patch: `{"path": ..., "schema": ...}`; null and empty text mean the whole value, text and number one level
                down, a list a way down. A path that leads nowhere is passed over.
            handle: the input handle.

        Raises:
            HandleError: A secret is wanted and the file is missing or broken.
        """
        return self._patch(value, _steps(patch.get("path")), patch.get("schema"), (handle,))

    def _patch(self, value: Any, steps: Sequence[Any], schema: Any, place: _Place) -> Any:
        if not steps:
            return self._resolve_patched(value, schema, place)
        step, rest = steps[0], steps[1:]
        if isinstance(value, dict) and isinstance(step, str | int) and step in value:
            return {**value, step: self._patch(value[step], rest, schema, (*place, step))}
        if isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            changed = list(value)
            index = step % len(value)
            changed[index] = self._patch(value[index], rest, schema, (*place, index))
            return changed
        return value

    def _resolve_patched(self, value: Any, schema: Any, place: _Place) -> Any:
        if isinstance(schema, Mapping) and schema.get("contentMediaType") == _MEDIA_TYPE:
            return self._resolve_reference(value, place)
        return self.resolve_schema(value, schema, place)

    def _resolve_reference(self, value: Any, place: _Place) -> Any:
        if value is None or value == "" or place in self._done:
            return value
        if not isinstance(value, str):
            self._warn(f"{_name(place)}: a secret must be text, but got {type(value).__name__}")
            return value
        if value.count(",") != 2:
            self._warn(f'{_name(place)}: not a secret reference; expected the text "type,name,key"')
            return value
        return self._look_up(value, place, shown="")

    def _look_up(self, reference: str, place: _Place, *, shown: str) -> str:
        """Give the secret, or the reference if there is none; `shown` is what a warning may quote."""
        self._done.add(place)
        content = self._file.read()
        if content is None:
            raise HandleError(f"{_NO_FILE}: {_name(place)} wants a secret of {self._file.path}", handle=str(place[0]))
        kind, name, key = reference.split(",")
        entry = content.get(name)
        found = _value_of(entry, key)
        quoted = f" {shown}" if shown else ""
        if found is None:
            self._warn(f"{_name(place)}: secret{quoted} not found; the reference itself is used")
            return reference
        if isinstance(entry, dict) and entry.get("secretType") != kind:
            self._warn(f"{_name(place)}: secret{quoted} is of type {entry.get('secretType')}, not {kind}")
        if self._redactor is not None:
            self._redactor.add(found)
        return found


def _value_of(entry: Any, key: str) -> str | None:
    members = entry.get("secrets") if isinstance(entry, dict) else None
    for member in members if isinstance(members, list) else ():
        if isinstance(member, dict) and member.get("secretKey") == key:
            value = member.get("value")
            return value if isinstance(value, str) else None
    return None


def _steps(path: Any) -> Sequence[Any]:
    if path is None or path == "":
        return ()
    return path if isinstance(path, list | tuple) else (path,)


def _name(place: _Place) -> str:
    return f"input handle [{place[0]}]{''.join(f'[{step!r}]' for step in place[1:])}"


def _map_dict(value: dict[Any, Any], change: Callable[[Any, Any], Any]) -> dict[Any, Any]:
    return {key: change(key, item) for key, item in value.items()}


def _map_list(value: list[Any], change: Callable[[int, Any], Any]) -> list[Any]:
    return [change(index, item) for index, item in enumerate(value)]
