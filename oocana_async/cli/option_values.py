"""Values of command line options: read, checked, and refused with what would be right."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from oocana_async.suggestions import ask_for

__all__ = [
    "directory",
    "env_file",
    "existing_directory_list",
    "handle_values",
    "node_list",
    "node_values",
    "positive",
    "session_id",
    "writable_file",
]

_SESSION: Final = re.compile(r"[^\s/+#\x00-\x1f]{1,200}")


def _refuse(text: str) -> NoReturn:
    raise argparse.ArgumentTypeError(text)


def _read(text: str) -> tuple[str, str]:
    """Return the JSON text of `JSON|@FILE` and the name of its source for messages."""
    if not text.startswith("@"):
        return text, "the given text"
    if text == "@-":
        return sys.stdin.read(), "standard input"
    path = Path(text[1:]).expanduser()
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except UnicodeDecodeError as error:
        _refuse(f"{path} is no UTF-8 text ({error.reason} at byte {error.start})")
    except OSError as error:
        _refuse(f"cannot read {path}: {error.strerror}")


def _json(text: str) -> tuple[Any, str]:
    body, source = _read(text)

    def no_constant(word: str) -> NoReturn:
        _refuse(f"{source} holds {word}, which is not JSON; use null or a number")

    try:
        return json.loads(body, parse_constant=no_constant), source
    except json.JSONDecodeError as error:
        place = f"{source}:{error.lineno}:{error.colno}" if text.startswith("@") else f"column {error.colno}"
        hint = "" if text.startswith(("@", "{")) or not Path(text).is_file() else f"; {ask_for(f'@{text}')}"
        _refuse(f"not valid JSON at {place}: {error.msg}{hint}")
    except RecursionError:
        _refuse(f"{source} is nested too deeply")
    except ValueError as error:  # a whole number that Python refuses to read
        _refuse(f"{source}: {error}")


def _check_values(values: Mapping[str, Any], what: str, source: str) -> None:
    """Refuse what no message could carry, now, where it can be said which option it was."""
    from oocana_async.errors import EncodingError
    from oocana_async.wire.encoding import encode

    for handle, value in values.items():
        try:
            encode(value)
        except EncodingError as error:
            _refuse(f"{source}: {error.about(f'{what} [{handle}]')}")


def handle_values(text: str) -> dict[str, Any]:
    """Read `{handle: value}`, given as JSON or as `@FILE`."""
    value, source = _json(text)
    if not isinstance(value, dict):
        _refuse(f'expected an object {{"handle": value}} in {source}, found {_kind(value)}')
    _check_values(value, "input", source)
    return value


def node_values(text: str) -> dict[str, dict[str, Any]]:
    """Read `{node: {handle: value}}`, given as JSON or as `@FILE`."""
    value, source = _json(text)
    if not isinstance(value, dict):
        _refuse(f'expected an object {{"node": {{"handle": value}}}} in {source}, found {_kind(value)}')
    for node, handles in value.items():
        if not isinstance(handles, dict):
            _refuse(f'expected an object {{"handle": value}} for node "{node}" in {source}, found {_kind(handles)}')
        _check_values(handles, f'node "{node}", input', source)
    return value


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), f"the number {value!r}")


def _words(text: str, what: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        _refuse(f'expected {what} separated by commas, found an empty one in "{text}"')
    return words


def node_list(text: str) -> list[str]:
    """Read `a,b`."""
    return list(dict.fromkeys(_words(text, "node ids")))


def existing_directory_list(text: str) -> list[Path]:
    """Read `A,B`; each must be a directory, `~` is expanded."""
    paths = [Path(word).expanduser() for word in _words(text, "directories")]
    for path in paths:
        if not path.is_dir():
            _refuse(f"{path} is {'no directory' if path.exists() else 'not there; expected an existing directory'}")
    return paths


def directory(text: str) -> Path:
    """Read a directory; it need not be there, but nothing else may be in its place."""
    if not text:
        _refuse("expected a directory, found nothing")
    path = Path(text).expanduser().absolute()
    if path.exists() and not path.is_dir():
        _refuse(f"{path} is a file, expected a directory")
    return path


def writable_file(text: str) -> Path:
    """Read the name of a file that will be written; its directory must be there."""
    path = Path(text).expanduser().absolute()
    if not text or path.is_dir():
        _refuse(f"expected a file, found {'a directory' if text else 'nothing'}")
    if not path.parent.is_dir():
        _refuse(f"the directory {path.parent} is not there")
    return path


def session_id(text: str) -> str:
    """Read a session id: it becomes part of topics and of directory names."""
    if not _SESSION.fullmatch(text) or text in (".", ".."):
        _refuse(f'expected 1 to 200 characters without spaces, "/", "+" and "#", found "{text}"')
    return text


def positive(text: str) -> int:
    """Read a whole number above 0."""
    try:
        number = int(text)
    except ValueError:
        _refuse(f'expected a whole number above 0, found "{text}"')
    if number < 1:
        _refuse(f"expected a whole number above 0, found {number}")
    return number


def env_file(text: str) -> Mapping[str, str]:
    """Read the variables of an env file."""
    from oocana_async.engine.env_files import read_env_file

    path = Path(text).expanduser()
    try:
        return read_env_file(path)
    except OSError as error:
        _refuse(f"cannot read {path}: {error.strerror}")
    except ValueError as error:
        _refuse(str(error))
