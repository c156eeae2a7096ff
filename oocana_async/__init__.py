"""The public names of the package, each imported at its first use: `import oocana_async` alone costs nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oocana_async.context import Context
    from oocana_async.context.awaitables import Reply
    from oocana_async.context.block_job import BlockJob
    from oocana_async.context.sync import SyncContext
    from oocana_async.engine import BlockRun, RunResult, Session, Status, open_session, run_flow
    from oocana_async.errors import (
        BlockExecuteException,
        ClosedError,
        ConnectionLostError,
        EncodingError,
        FlowError,
        HandleError,
        JobCancelledError,
        LoadError,
        ManifestError,
        OocanaError,
        PacketTooLargeError,
        ProtocolError,
        RequestError,
        RequestTimeoutError,
        ScriptletError,
        StateError,
        TransportError,
    )
    from oocana_async.handles import CredentialInput

__all__ = [
    "BlockExecuteException",
    "BlockJob",
    "BlockRun",
    "ClosedError",
    "ConnectionLostError",
    "Context",
    "CredentialInput",
    "EncodingError",
    "FlowError",
    "HandleError",
    "JobCancelledError",
    "LoadError",
    "ManifestError",
    "OocanaError",
    "PacketTooLargeError",
    "ProtocolError",
    "Reply",
    "RequestError",
    "RequestTimeoutError",
    "RunResult",
    "ScriptletError",
    "Session",
    "StateError",
    "Status",
    "SyncContext",
    "TransportError",
    "open_session",
    "run_flow",
]

_HOMES = {
    "BlockJob": "context.block_job",
    "Context": "context",
    "CredentialInput": "handles",
    "Reply": "context.awaitables",
    "SyncContext": "context.sync",
    **dict.fromkeys(("BlockRun", "RunResult", "Session", "Status", "open_session", "run_flow"), "engine"),
}
"""Module of each name that is no error."""

if not TYPE_CHECKING:  # a type checker shall know every name, and complain about any other

    def __getattr__(name: str) -> object:
        """Import a public name at its first use."""
        if name == "__version__":
            from importlib.metadata import version

            value: object = version("oocana-async")
        elif name in __all__:
            value = getattr(import_module(f"oocana_async.{_HOMES.get(name, 'errors')}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """Name what can be imported."""
        return sorted({*globals(), *__all__, "__version__"})
else:
    __version__: str
