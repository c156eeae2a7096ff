"""The parts of a Context around a mainframe: its job, its handles, the caller's store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from oocana_async.context.by_hand.adapter import MainframeCaller, MainframeLike
from oocana_async.context.by_hand.at_once import DeliversAtOnce
from oocana_async.context.by_hand.clocks import NearbyClock
from oocana_async.context.by_hand.replies import MainframeExchange
from oocana_async.context.members import EVERY_HANDLE, ContextParts, OutputEncoder, own_copy
from oocana_async.context.messenger import JobIdentity, JobMessenger, Surroundings
from oocana_async.handles.bin_files import BinFiles
from oocana_async.handles.definitions import HandleDef, is_var_value
from oocana_async.handles.output_values import OutputPlace, prepare_output
from oocana_async.handles.var_store import StoreKey
from oocana_async.wire.encoding import encode
from oocana_async.wire.envelope import Delivery
from oocana_async.wire.messages.shared import StackFrame

__all__ = ["BlockInfoLike", "StoreLike", "job_parts"]


class BlockInfoLike(Protocol):
    """Which job of which session; `BlockInfo`, or a dict with the same keys. `block_path` may be there, too."""

    @property
    def session_id(self) -> str:
        """Id of the session."""
        ...

    @property
    def job_id(self) -> str:
        """Id of the job."""
        ...

    @property
    def stacks(self) -> Any:
        """Frames `{flow_job_id, flow, node_id}` from the root."""
        ...


class StoreLike(Protocol):
    """Where the objects of `oomol/var` outputs are put under their `StoreKey`; a dict, for instance."""

    def __setitem__(self, key: Any, value: Any, /) -> object:
        """Keep an object."""
        ...


def job_parts(
    *,
    inputs: Any = None,
    blockInfo: BlockInfoLike | Mapping[str, Any],  # noqa: N803 - the official SDK's name
    mainframe: MainframeLike,
    store: StoreLike | None = None,
    inputs_def: Mapping[str, Any] | None = None,
    outputs_def: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | UnsetType | None = UNSET,
    session_dir: str,
    tmp_dir: str | None = None,
    package_name: str | None = None,
    pkg_dir: str | None = None,
) -> ContextParts:
    """Make the parts of a Context around a mainframe; see `Context` for the arguments."""
    identity = _identity(blockInfo)
    channel = DeliversAtOnce(MainframeCaller(mainframe, identity), progress=Delivery.REPORT)
    clock = NearbyClock()
    messenger = JobMessenger(identity, channel, channel, clock)
    given = None if isinstance(outputs, UnsetType) else outputs
    declared = _definitions("outputs_def", outputs_def) or _definitions("outputs", given)
    data_dir = os.environ.get("OOCANA_PKG_DIR", "") if pkg_dir is None else pkg_dir
    return ContextParts(
        messenger=messenger,
        inputs={} if inputs is None else inputs,
        inputs_def=MappingProxyType(_definitions("inputs_def", inputs_def)),
        outputs_def=MappingProxyType(declared),
        surroundings=Surroundings(
            session_dir, tmp_dir or session_dir, package_name or "workspace", data_dir, os.environ
        ),
        encoder=_encoder(messenger, declared, {} if store is None else store, session_dir),
        exchange=MainframeExchange(mainframe, channel, identity.session_id, clock),
        # The page lets every handle pass when its `outputs` is None; today's SDK lets none pass that is not declared.
        declared=EVERY_HANDLE if outputs is None else frozenset(declared),
    )


def _identity(info: BlockInfoLike | Mapping[str, Any]) -> JobIdentity:
    ids = [_told(info, name) for name in ("session_id", "job_id")]
    for name, value in zip(("session_id", "job_id"), ids, strict=True):
        if not isinstance(value, str):
            raise TypeError(f"{name} of blockInfo should be a str, but got {type(value).__name__}")
    path = _told(info, "block_path")
    stacks = tuple(_frame(one) for one in _told(info, "stacks") or ())
    return JobIdentity(ids[0], ids[1], stacks, path if isinstance(path, str) else None)


def _told(info: Any, name: str) -> Any:
    return info.get(name) if isinstance(info, Mapping) else getattr(info, name, None)


def _frame(frame: Mapping[str, Any] | StackFrame) -> StackFrame:
    """Return a frame as it travels: tests often name the node only, engines want all three texts."""
    if isinstance(frame, StackFrame):
        return frame
    return StackFrame(
        str(frame.get("flow_job_id", "")), str(frame.get("flow", "")), str(frame.get("node_id", "unknown"))
    )


def _definitions(argument: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return definitions as plain dicts of their own: what the caller does with the given ones changes nothing."""
    return {handle: _definition(f"{argument}[{handle!r}]", one) for handle, one in (given or {}).items()}


def _definition(name: str, given: Any) -> dict[str, Any]:
    if isinstance(given, HandleDef):
        given = {key: given.json_schema_to_dict() if key == "json_schema" else given[key] for key in given}
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} should be a dict with the key 'handle', but got {type(given).__name__}")
    if "handle" not in given:
        raise ValueError(f"{name}: missing attr key: 'handle'")
    definition: dict[str, Any] = own_copy(dict(given))
    return definition


class _CallersStore:
    """Puts objects into the store of the caller, each under the key that the documents name."""

    def __init__(self, store: StoreLike) -> None:
        self._store = store

    def put(self, key: StoreKey, value: Any) -> dict[str, Any]:
        """Keep an object and return the reference that finds it."""
        self._store[key] = value
        return asdict(key)


def _encoder(messenger: JobMessenger, declared: dict[str, Any], store: StoreLike, session_dir: str) -> OutputEncoder:
    identity = messenger.identity
    bins = BinFiles(session_dir, identity.session_id)
    place = OutputPlace(identity.session_id, identity.job_id, _CallersStore(store), bins, messenger.warn)

    def encode_output(handle: str, value: Any) -> bytes | None:
        data = prepare_output(handle, value, declared.get(handle), place)
        return None if data is None else _as_store_key_too(data)

    return encode_output


def _as_store_key_too(data: bytes) -> bytes:
    """Let a reference be read in the older form, too, which is a bare StoreKey (protocol.md 10, row 8)."""
    if b'"oomol/var"' not in data:
        return data
    value = msgspec.json.decode(data)
    return encode({**value, **value["value"]}) if is_var_value(value) and isinstance(value["value"], dict) else data
