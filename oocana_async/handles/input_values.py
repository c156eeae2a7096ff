"""Turns the inputs of a job as they travelled into the values that the block sees (protocol.md 5.1 to 5.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from oocana_async.errors import HandleError
from oocana_async.handles.bin_files import read_bin
from oocana_async.handles.credentials import resolve_credential
from oocana_async.handles.definitions import media_type_of, wrapped_type
from oocana_async.handles.frame_cache import read_frame
from oocana_async.handles.redaction import Redactor
from oocana_async.handles.secrets import SecretResolver, SecretsFile, Warn
from oocana_async.handles.var_store import EXECUTOR_NAME, VarStore

__all__ = ["resolve_inputs"]


def resolve_inputs(
    inputs: Mapping[str, Any] | None,
    *,
    inputs_def: Mapping[str, Any] | None,
    patches: Mapping[str, Any] | None = None,
    store: VarStore,
    secrets: SecretsFile,
    warn: Warn,
    redactor: Redactor | None = None,
    cache_dir: str | Path | None = None,
) -> dict[str, Any]:
    """Resolve secrets, credentials, references and files, in this order.

    Without `inputs_def` nothing is resolved at all; handles that it lacks keep their values, only placeholders of
    secrets are replaced everywhere. References of other languages' executors are handed through as they are.

    Args:
        inputs: what the engine sent; not changed.
        inputs_def: handle to definition, as the engine sent it.
        patches: handle to a list of `{"path", "schema"}` (`inputs_def_patch`).
        store: objects of this scope.
        secrets: the user's secrets; read only if one is wanted.
        warn: takes warnings for the block's log; they never hold a value.
        redactor: learns the secrets that were resolved.
        cache_dir: the only directory from which cached frames are read, None for none.

    Returns:
        A new dict, safe to be changed by the block except for objects that travel by reference.

    Raises:
        HandleError: A secret, reference, file or cached frame is wanted and cannot be had; the text names the handle.
    """
    if inputs is None:
        return {}
    if inputs_def is None:
        return dict(inputs)
    resolver = SecretResolver(secrets, warn, redactor)
    values = resolver.resolve_placeholders(inputs)
    for handle in values:
        values[handle] = _resolve_secrets(resolver, handle, values[handle], inputs_def, patches)
    for handle in values:
        definition = inputs_def.get(handle)
        if isinstance(definition, Mapping):
            values[handle] = _resolve_wrapper(handle, values[handle], definition, store, cache_dir, warn)
    return values


def _resolve_secrets(
    resolver: SecretResolver,
    handle: str,
    value: Any,
    inputs_def: Mapping[str, Any],
    patches: Mapping[str, Any] | None,
) -> Any:
    definition = inputs_def.get(handle)
    if isinstance(definition, Mapping):
        value = resolver.resolve_schema(value, definition.get("json_schema"), (handle,))
    for patch in _patches_of(handle, patches):
        if isinstance(patch, Mapping):
            value = resolver.resolve_patch(value, patch, handle)
    return value


def _patches_of(handle: str, patches: Mapping[str, Any] | None) -> Sequence[Any]:
    found = patches.get(handle) if isinstance(patches, Mapping) else None
    return found if isinstance(found, list | tuple) else ()


def _resolve_wrapper(
    handle: str, value: Any, definition: Mapping[str, Any], store: VarStore, cache_dir: str | Path | None, warn: Warn
) -> Any:
    if media_type_of(definition) == "oomol/credential":
        return resolve_credential(value, handle=handle, warn=warn)
    kind = wrapped_type(value)
    if kind == "oomol/var":
        return _resolve_reference(handle, value, definition, store, cache_dir, warn)
    if kind == "oomol/bin":
        return read_bin(value, handle=handle)
    return value


def _resolve_reference(
    handle: str,
    wrapper: dict[str, Any],
    definition: Mapping[str, Any],
    store: VarStore,
    cache_dir: str | Path | None,
    warn: Warn,
) -> Any:
    reference = wrapper.get("value")
    if not _is_reference(reference):
        warn(f"input handle [{handle}]: the oomol/var value is no reference; it is handed over as it is")
        return wrapper
    if reference["executor"] != EXECUTOR_NAME:
        return wrapper
    try:
        return store.get(reference, handle=handle)
    except HandleError:
        path = wrapper.get("serialize_path")
        if definition.get("_deserialize_from_cache") is not True or not isinstance(path, str):
            raise
    frame = read_frame(path, cache_dir, handle=handle)
    store.keep(reference, frame)
    return frame


def _is_reference(reference: Any) -> TypeGuard[dict[str, Any]]:
    keys = ("executor", "handle", "job_id", "session_id")
    return isinstance(reference, dict) and all(isinstance(reference.get(key), str) for key in keys)
