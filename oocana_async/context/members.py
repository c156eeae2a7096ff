"""What all members of a Context stand on: its parts, and what a call that sends returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from oocana_async.context.messenger import JobMessenger, Surroundings
from oocana_async.context.requests import Exchange
from oocana_async.errors import EncodingError
from oocana_async.wire.encoding import encode

__all__ = ["ContextCore", "ContextParts", "OutputEncoder", "encode_as"]

R = TypeVar("R")


class OutputEncoder(Protocol):
    """Encodes what a block gives to a declared handle."""

    def __call__(self, handle: str, value: Any) -> bytes | None:
        """Return JSON, or None when the value was refused with a warning.

        Raises:
            EncodingError: The value cannot travel.
        """
        ...


@dataclass(frozen=True, slots=True)
class ContextParts:
    """What a Context is made of.

    Attributes:
        link: the way out of the job.
        inputs: resolved inputs.
        inputs_def: definitions of the input handles.
        outputs_def: definitions of the output handles.
        surroundings: directories and variables.
        encoder: encodes values of output handles.
        exchange: where answers and events of child blocks come in.
        declared: the output handles that may be sent; others are warned about.
    """

    link: JobMessenger
    inputs: dict[str, Any]
    inputs_def: dict[str, Any]
    outputs_def: dict[str, Any]
    surroundings: Surroundings
    encoder: OutputEncoder
    exchange: Exchange
    declared: Container[str]


class ContextCore(ABC, Generic[R]):
    """Holds the parts; `R` is what a call that sends returns."""

    def __init__(self, parts: ContextParts) -> None:
        self._parts = parts
        self._link = parts.link
        self._room = parts.link.channel.room

    @property
    def session_id(self) -> str:
        """Id of the session."""
        return self._link.identity.session_id

    @property
    def job_id(self) -> str:
        """Id of this run of this block."""
        return self._link.identity.job_id

    def _may_send(self, what: str) -> bool:
        """Say whether the block has not finished yet; else the call of the named member is warned about."""
        if self._link.is_running:
            return True
        self._link.late(what)
        return False

    @abstractmethod
    def _sent(self) -> R:
        """Return what a call that has just sent something returns."""


def encode_as(value: Any, what: str) -> bytes:
    """Encode a value; an error names what was being sent."""
    try:
        return encode(value)
    except EncodingError as error:
        raise error.about(what) from error
