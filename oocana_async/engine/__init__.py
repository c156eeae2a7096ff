"""The embedded engine: runs flows in this process, over the same executor that serves the real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oocana_async.engine.api import (
        BlockRun,
        EventStream,
        RawEventStream,
        RunResult,
        Session,
        Status,
        decode_value,
        open_session,
        run_flow,
    )

__all__ = [
    "BlockRun",
    "EventStream",
    "RawEventStream",
    "RunResult",
    "Session",
    "Status",
    "decode_value",
    "open_session",
    "run_flow",
]


def __getattr__(name: str) -> Any:
    """Import the public names at their first use: manifests and executors cost start-up time."""
    if name in __all__:
        from oocana_async.engine import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
