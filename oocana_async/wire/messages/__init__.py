"""Every message of the wire as a tagged `msgspec.Struct`, defined once; values inside stay encoded (`msgspec.Raw`).

`dispatch` goes from the engine to executors, `session` back, `report` to whoever watches, `service` between service
processes; `shared` holds the shapes that they have in common, `ends` reads what ends a job, a flow or a session.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["encode_message"]

_encode = msgspec.json.Encoder(decimal_format="number").encode


def encode_message(message: Any) -> bytes:
    """Encode a message Struct; values inside it are encoded already."""
    return _encode(message)
