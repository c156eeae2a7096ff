"""Encoded messages, the topic that they travel on, and what kind of message they are."""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

__all__ = ["Delivery", "Incoming", "Message", "Outgoing", "Publication"]


class Message(msgspec.Struct, gc=False):
    """One message of the wire.

    Attributes:
        topic: where it goes, or came from.
        payload: the whole JSON text.
    """

    topic: str
    payload: bytes


class Delivery(enum.IntEnum):
    """What a message is; a transport picks its quality of service and its pacing from it."""

    HANDSHAKE = 0
    """BlockReady of a task: repeated by the engine when lost."""
    DATA = 1
    """Outputs, errors, previews of a job: nothing may be lost or reordered."""
    PROGRESS = 2
    """Progress of a job: only the last one counts, reordering is harmless."""
    FINISH = 3
    """BlockFinished: the last message of its job."""
    REPORT = 4
    """Messages to `report`: logs, warnings."""
    CONTROL = 5
    """ExecutorReady, requests, service messages: nothing may be lost."""


class Outgoing(Message, gc=False):
    """One message on its way out; within one process it may arrive as the very same object.

    Attributes:
        topic: where it goes.
        payload: the whole JSON text.
        delivery: what it is.
        session_id: session that it belongs to, empty when none.
        job_id: job that it belongs to, empty when none.
    """

    delivery: Delivery
    session_id: str = ""
    job_id: str = ""


Incoming: TypeAlias = Message
"""One message that came in."""

Publication: TypeAlias = tuple[str, bytes, int]
"""Topic, payload and quality of service of a message as a broker gets it."""
