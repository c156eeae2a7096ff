"""An encoded message and the topic that it travels on."""

from __future__ import annotations

import msgspec

__all__ = ["Message"]


class Message(msgspec.Struct, gc=False):
    """One message of the wire.

    Attributes:
        topic: where it goes, or came from.
        payload: the whole JSON text.
    """

    topic: str
    payload: bytes
