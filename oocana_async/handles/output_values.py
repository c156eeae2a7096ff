"""Decides how an output value travels and encodes it: as JSON, as a reference, or as bytes in a file."""

from __future__ import annotations

import inspect
import io
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Protocol

import msgspec

from oocana_async.errors import EncodingError
from oocana_async.handles.bin_files import BinFiles, is_bytes_like
from oocana_async.handles.definitions import definition_of, media_type_of
from oocana_async.handles.frame_cache import FrameCache, is_cacheable_frame
from oocana_async.handles.secrets import Warn
from oocana_async.handles.var_store import EXECUTOR_NAME, StoreKey, wrap_var
from oocana_async.wire.encoding import encode

__all__ = ["OutputPlace", "define_output", "may_travel_by_reference", "prepare_output"]

_BASIC = (int, float, str, bool)
"""Travels as plain JSON on `oomol/var` handles, too (protocol.md 5.2)."""


class ReferenceStore(Protocol):
    """Where objects are kept that travel by reference; `VarStore`, or the store of somebody who made a Context."""

    def put(self, key: StoreKey, value: Any) -> dict[str, Any]:
        """Keep an object and return the reference that finds it."""
        ...


class OutputPlace(msgspec.Struct, frozen=True):
    """Where the values of one job go.

    Attributes:
        session_id: the session.
        job_id: the job that sends.
        store: objects of this scope.
        bins: files of this session.
        warn: takes warnings for the block's log.
        cache: keeps marked frames for the next run; None if the job is not in the root flow (protocol.md 5.6).
    """

    session_id: str
    job_id: str
    store: ReferenceStore
    bins: BinFiles
    warn: Warn
    cache: FrameCache | None = None


def prepare_output(handle: str, value: Any, definition: Mapping[str, Any] | None, place: OutputPlace) -> bytes | None:
    """Encode one output; when this returns the value may change without effect on what travels.

    Args:
        handle: the output handle; whether it is declared is the caller's business.
        value: what the block sends.
        definition: the handle's definition as it travelled.
        place: where objects and files of the job go.

    Returns:
        The JSON of the value or its wrapper; None if nothing is to be sent (a warning has been given).

    Raises:
        EncodingError: The value cannot travel; the text names handle and place, and what was probably meant.
        HandleError: A path given to an `oomol/bin` handle names no file.
    """
    media_type = media_type_of(definition)
    if media_type == "oomol/var" and not isinstance(value, _BASIC):
        return _send_reference(handle, value, definition, place)
    if media_type == "oomol/bin":
        return _send_bytes(handle, value, definition, place)
    try:
        return encode(value)
    except EncodingError as error:
        if error.where or not may_travel_by_reference(value):
            raise _explained(handle, value, error) from None
    place.warn(_not_declared(handle, value))
    return _send_reference(handle, value, definition, place)


def _send_reference(handle: str, value: Any, definition: Mapping[str, Any] | None, place: OutputPlace) -> bytes:
    key = StoreKey(executor=EXECUTOR_NAME, handle=handle, job_id=place.job_id, session_id=place.session_id)
    path = _cache_frame(handle, value, definition, place)
    return encode(wrap_var(place.store.put(key, value), serialize_path=path))


def _cache_frame(handle: str, value: Any, definition: Mapping[str, Any] | None, place: OutputPlace) -> str | None:
    """Write a marked frame before its path is announced, or announce none."""
    if place.cache is None or definition is None or definition.get("_serialize_for_cache") is not True:
        return None
    if not is_cacheable_frame(value):
        return None
    try:
        return place.cache.write(handle, value)
    except Exception as error:  # noqa: BLE001 - user objects raise anything while they are pickled
        place.warn(f"Output handle key: [{handle}] was not kept for the next run: {error}")
        return None


def _send_bytes(handle: str, value: Any, definition: Mapping[str, Any] | None, place: OutputPlace) -> bytes | None:
    if value is None and definition is not None and definition.get("nullable") is True:
        return b"null"
    content = value if is_bytes_like(value) or isinstance(value, PurePath) else None
    if content is None:
        place.warn(f"Output handle key: [{handle}] is defined as binary, but the value is not bytes.")
        return None
    try:
        return encode(place.bins.write(place.job_id, handle, content))
    except OSError as error:
        reason = f"is defined as binary, but an error occurred while writing the file: {error}"
        place.warn(f"Output handle key: [{handle}] {reason}")
        return None


def may_travel_by_reference(value: Any) -> bool:
    """Say whether an object that is no JSON is worth keeping: not what somebody forgot to await, read or call."""
    if isinstance(value, str | bytes | bytearray | memoryview | int | float | Mapping | list | tuple | set | frozenset):
        return False
    if inspect.isawaitable(value) or inspect.isasyncgen(value) or hasattr(value, "__next__"):
        return False
    if isinstance(value, io.IOBase) or (hasattr(value, "read") and hasattr(value, "close")):
        return False
    return not inspect.isroutine(value)


def define_output(handle: str, value: Any) -> dict[str, Any]:
    """Define an output handle so that a value can travel: bytes as a file, what is no JSON by reference."""
    if is_bytes_like(value):
        return definition_of(handle, "oomol/bin")
    try:
        encode(value)
    except EncodingError as error:
        if not error.where and may_travel_by_reference(value):
            return definition_of(handle, "oomol/var")
    return definition_of(handle)


def _explained(handle: str, value: Any, error: EncodingError) -> EncodingError:
    subject = f"output handle [{handle}]"
    is_iterator = hasattr(value, "__next__") and not inspect.isgenerator(value) and not hasattr(value, "read")
    if is_iterator and not error.where:
        reason = f"got a {type(value).__name__} iterator; send its items one by one, or all of them with list(...)"
        return EncodingError(reason, subject=subject)
    return error.about(subject)


def _not_declared(handle: str, value: Any) -> str:
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return (
        f"Output handle key: [{handle}] got a {name}, which is no JSON; it travels by reference within this process."
        " Declare the handle with json_schema contentMediaType: oomol/var"
    )
