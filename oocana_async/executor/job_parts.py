"""What a job gets from its executor, and what its Context is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from oocana_async.channel.clock import Clock
from oocana_async.channel.loop_calls import LoopCalls
from oocana_async.channel.port import Flusher, JobPort
from oocana_async.context import ContextParts
from oocana_async.context.members import EVERY_HANDLE
from oocana_async.context.messenger import JobMessenger, Surroundings
from oocana_async.context.requests import Exchange
from oocana_async.executor.runtime import Runtime
from oocana_async.executor.scope import ExecutorSession
from oocana_async.handles.bin_files import BinFiles
from oocana_async.handles.frame_cache import FrameCache, cache_directory
from oocana_async.handles.input_values import resolve_inputs
from oocana_async.handles.output_values import OutputPlace, prepare_output
from oocana_async.handles.redaction import Redactor
from oocana_async.handles.secrets import SecretsFile
from oocana_async.handles.var_store import VarStore
from oocana_async.wire.messages.dispatch import BlockInputs, BlockPayload, ServiceBlockPayload

__all__ = ["JobOwner", "context_parts"]


class JobOwner(Protocol):
    """What a job run gets from its executor."""

    session: ExecutorSession
    runtime: Runtime
    clock: Clock
    secrets: SecretsFile
    redactor: Redactor
    bins: BinFiles
    heal_children: bool
    loop_calls: LoopCalls

    @property
    def channel(self) -> JobPort:
        """Where messages go."""

    @property
    def sender(self) -> Flusher:
        """What tells when they have been delivered."""

    @property
    def exchange(self) -> Exchange:
        """Where answers come from."""

    def surroundings(self, identifier: str | None) -> tuple[Surroundings, VarStore]:
        """Return directories and objects of the scope of a job."""


def context_parts(
    owner: JobOwner, payload: BlockPayload | ServiceBlockPayload, messenger: JobMessenger, inputs: BlockInputs
) -> ContextParts:
    """Return what the Context of a job is made of; on the block's side, as resolving inputs may read files.

    Raises:
        HandleError: An input is wanted and cannot be had.
    """
    surroundings, store = owner.surroundings(payload.identifier)
    outputs_def = payload.outputs or {}
    place = _place(owner, messenger, surroundings, store)
    undeclared = owner.session.undeclared

    def encode_output(handle: str, value: Any) -> bytes | None:
        definition: Mapping[str, Any] | None = outputs_def.get(handle)
        if definition is None and undeclared is not None:
            definition = undeclared(handle, value)
        return prepare_output(handle, value, definition, place)

    return ContextParts(
        messenger=messenger,
        inputs=_resolve(owner, messenger, inputs, surroundings, store),
        inputs_def=inputs.inputs_def or {},
        outputs_def=outputs_def,
        surroundings=surroundings,
        encoder=encode_output,
        exchange=owner.exchange,
        declared=frozenset(outputs_def) if undeclared is None else EVERY_HANDLE,
    )


def _place(owner: JobOwner, messenger: JobMessenger, surroundings: Surroundings, store: VarStore) -> OutputPlace:
    cache = None
    if surroundings.pkg_data_dir and len(messenger.identity.stacks) == 1:
        frame = messenger.identity.stacks[0]
        cache = FrameCache(surroundings.pkg_data_dir, flow=frame.flow, node_id=frame.node_id)
    identity = messenger.identity
    return OutputPlace(identity.session_id, identity.job_id, store, owner.bins, messenger.warn, cache)


def _resolve(
    owner: JobOwner, messenger: JobMessenger, inputs: BlockInputs, surroundings: Surroundings, store: VarStore
) -> dict[str, Any]:
    given = inputs.inputs
    decoded = None if given is None else {handle: msgspec.json.decode(raw) for handle, raw in given.items()}
    patches = None
    if inputs.inputs_def_patch is not None:
        patches = {
            handle: [{"path": one.path, "schema": one.schema} for one in patch]
            for handle, patch in inputs.inputs_def_patch.items()
        }
    return resolve_inputs(
        decoded,
        inputs_def=inputs.inputs_def,
        patches=patches,
        store=store,
        secrets=owner.secrets,
        warn=messenger.warn,
        redactor=owner.redactor,
        cache_dir=cache_directory(surroundings.pkg_data_dir) if surroundings.pkg_data_dir else None,
    )
