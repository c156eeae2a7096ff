"""How long to try to reach a broker, for the first time and again."""

from __future__ import annotations

import msgspec

__all__ = ["ConnectTimeouts"]


class ConnectTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long to try.

    Attributes:
        first: seconds to reach the broker for the first time.
        again: seconds to reach it again after the connection broke.
        attempt: seconds for one attempt, login included.
    """

    first: float = 5.0
    again: float = 30.0
    attempt: float = 10.0
