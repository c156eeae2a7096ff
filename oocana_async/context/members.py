"""What all members of a Context stand on: its parts, and what a call that sends returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from oocana_async.context.messenger import JobMessenger, Surroundings
from oocana_async.context.requests import Exchange
from oocana_async.errors import EncodingError
from oocana_async.wire.encoding import encode

__all__ = ["EVERY_HANDLE", "ContextCore", "ContextParts", "OutputEncoder", "encode_as", "own_copy"]

R = TypeVar("R")


class OutputEncoder(Protocol):
    """Encodes what a block gives to a declared handle."""

    def __call__(self, handle: str, value: Any) -> bytes | None:
        """Return JSON, or None when the value was refused with a warning.

        Raises:
            EncodingError: The value cannot travel.
        """
        ...


class _EveryHandle:
    """Contains every handle."""

    def __contains__(self, handle: object) -> bool:
        return True


EVERY_HANDLE: Container[str] = _EveryHandle()
"""Declares every handle: for a block of which nobody has said which outputs it has."""


@dataclass(frozen=True, slots=True)
class ContextParts:
    """What a Context is made of.

    Attributes:
        messenger: the way out of the job.
        inputs: resolved inputs.
        inputs_def: definitions of the input handles; the block gets a copy.
        outputs_def: definitions of the output handles; likewise, so that it cannot change how its outputs travel.
        surroundings: directories and variables.
        encoder: encodes values of output handles.
        exchange: where answers and events of child blocks come in.
        declared: the output handles that may be sent; others are warned about.
    """

    messenger: JobMessenger
    inputs: dict[str, Any]
    inputs_def: Mapping[str, Any]
    outputs_def: Mapping[str, Any]
    surroundings: Surroundings
    encoder: OutputEncoder
    exchange: Exchange
    declared: Container[str]


class ContextCore(ABC, Generic[R]):
    """Holds the parts; `R` is what a call that sends returns."""

    def __init__(self, parts: ContextParts) -> None:
        self._parts = parts
        self._messenger = parts.messenger
        self._room = parts.messenger.channel

    @property
    def session_id(self) -> str:
        """Id of the session."""
        return self._messenger.identity.session_id

    @property
    def job_id(self) -> str:
        """Id of this run of this block."""
        return self._messenger.identity.job_id

    def _may_send(self, what: str) -> bool:
        """Say whether the block has not finished yet; else the call of the named member is warned about."""
        if self._messenger.is_running:
            return True
        self._messenger.late(what)
        return False

    @abstractmethod
    def _sent(self) -> R:
        """Return what a call that has just sent something returns."""


def own_copy(value: Any) -> Any:
    """Return definitions that can be changed without effect on the given ones; what is no JSON is shared."""
    if isinstance(value, dict):
        return {key: own_copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [own_copy(item) for item in value]
    return MappingProxyType(own_copy(dict(value))) if isinstance(value, MappingProxyType) else value


def encode_as(value: Any, what: str) -> bytes:
    """Encode a value; an error names what was being sent."""
    try:
        return encode(value)
    except EncodingError as error:
        raise error.about(what) from error
