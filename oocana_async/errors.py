"""The error tree: every failure that this package raises itself.

OocanaError
├── EncodingError            a value cannot travel as JSON (also a TypeError and a ValueError)
├── HandleError              a value does not fit its handle: unknown reference, bad secret, bad path
├── BlockExecuteException    a child block failed (text as in the official SDK)
├── RequestError             the engine refused a request (also a ValueError, as in the official SDK)
│   └── RequestTimeoutError  the engine did not answer in time (also a TimeoutError)
├── JobCancelledError        the job was cancelled while a synchronous block waited
├── ScriptletError           a scriptlet cannot be loaded or called, or returned what it may not
├── ManifestError            one fault in a manifest, with file, line and column
├── LoadError                everything that is wrong with the manifests of one target
├── FlowError                a flow or a block of it failed
├── StateError               an object was asked for a move that its state forbids
├── ClosedError              use after close
└── TransportError           the way to the engine is broken
    ├── ConnectionLostError  the broker is gone for good
    ├── PacketTooLargeError  one message is larger than the transport can carry
    └── ProtocolError        the peer broke the rules of the wire
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class OocanaError(Exception):
    """Root of all errors raised by this package."""


class EncodingError(OocanaError, TypeError, ValueError):
    """A value cannot be sent as JSON.

    Attributes:
        where: place inside the value as a subscript chain, such as `['rows'][3]`; empty for the value itself.
        reason: what is wrong and what would be right.
    """

    def __init__(self, reason: str, *, where: str = "", subject: str = "value") -> None:
        self.reason = reason
        self.where = where
        self.subject = subject
        super().__init__(f"{subject}{where}: {reason}")

    def about(self, subject: str) -> EncodingError:
        """Return the same fault with the name of what was being sent, such as `output handle [image]`."""
        return EncodingError(self.reason, where=self.where, subject=subject)


class HandleError(OocanaError, ValueError):
    """A value does not fit its handle.

    Attributes:
        handle: name of the handle, empty when no single one is meant.
    """

    def __init__(self, message: str, *, handle: str = "") -> None:
        self.handle = handle
        super().__init__(message)


class BlockExecuteException(OocanaError):  # noqa: N818 - the official SDK's name
    """A block started with `run_block` failed or could not be started.

    Attributes:
        message: `run block {block} failed: {error}` (protocol.md 8.2).
    """

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)

    def __str__(self) -> str:
        return f"BlockExecuteException: {self.message}"


class RequestError(OocanaError, ValueError):
    """The engine answered a request with an error."""


class RequestTimeoutError(RequestError, TimeoutError):
    """The engine did not answer a request before its deadline."""


class JobCancelledError(OocanaError):
    """The job was cancelled; raised in synchronous blocks by `check_cancelled()` and by calls that wait."""


class ScriptletError(OocanaError):
    """A scriptlet cannot be loaded or called, or returned something it may not (protocol.md 7.4)."""


class ManifestError(OocanaError):
    """One fault in one manifest.

    Attributes:
        reason: what was found and what would be right.
        path: the file, None when there is none.
        line: 1-based line, None when no single place is meant.
        column: 1-based column.
        hint: a suggestion such as `did you mean "from_node"?`, else empty.
    """

    def __init__(
        self,
        reason: str,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        column: int | None = None,
        hint: str = "",
    ) -> None:
        self.reason = reason
        self.path = Path(path) if path is not None else None
        self.line = line
        self.column = column
        self.hint = hint
        super().__init__(reason)

    @property
    def place(self) -> str:
        """`file:line:column`, as much of it as is known."""
        parts = [str(self.path)] if self.path is not None else []
        parts += [str(number) for number in (self.line, self.column) if number is not None]
        return ":".join(parts)

    def __str__(self) -> str:
        text = f"{self.place}: {self.reason}" if self.place else self.reason
        return f"{text} ({self.hint})" if self.hint else text


class LoadError(OocanaError):
    """Everything that is wrong with the manifests of one target.

    Attributes:
        faults: all faults in the order in which they were found, at least one.
    """

    def __init__(self, faults: Sequence[ManifestError]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class FlowError(OocanaError):
    """A flow, or the block that was run directly, failed.

    Attributes:
        message: the error text of the session.
        stack: frames `{flow_job_id, flow, node_id}` from the root to the failing node, empty when none is known.
    """

    def __init__(self, message: str, *, stack: Sequence[dict[str, str]] = ()) -> None:
        self.message = message
        self.stack = tuple(stack)
        super().__init__(message)


class StateError(OocanaError):
    """An object was asked for a move that its state forbids; the text names both states."""


class ClosedError(OocanaError):
    """An object was used after it had been closed."""


class TransportError(OocanaError):
    """The way to the engine is broken."""


class ConnectionLostError(TransportError, ConnectionError):
    """The broker cannot be reached, or is gone for good."""


class PacketTooLargeError(TransportError, ValueError):
    """One message is larger than the transport can carry.

    Attributes:
        size: bytes of the message.
        limit: bytes that the transport takes at most.
    """

    def __init__(self, message: str, *, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit
        super().__init__(message)


class ProtocolError(TransportError):
    """The peer broke the rules of the wire."""
