"""What manifests say of blocks: executors, tasks, services, conditions, and where they stand (flow-format.md 4).

Immutable, and known as soon as a file has been read; the graph connects them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from oocana_async.wire.messages.shared import InputHandle, OutputHandle


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written: file, 1-based line and column (None when the file as a whole is meant)."""

    path: Path
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)


@dataclass(frozen=True, slots=True)
class SearchContext:
    """What a reference is looked up with (flow-format.md 1.4-1.6).

    Attributes:
        base: directory that relative references start from.
        search_paths: package search paths in order.
        versions: package name -> version that decides the directory name.
        installed: the part of `versions` that the search paths alone give, for flows of other packages.
    """

    base: Path
    search_paths: tuple[Path, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    installed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PythonExecutor:
    """`executor: {name: python}`; the executor itself knows the defaults of `entry` and `function`."""

    entry: str | None = None
    function: str | None = None
    spawn: bool = False
    name: Literal["python"] = "python"

    def to_wire(self) -> dict[str, Any]:
        """Return the `executor` object of BlockPayload (protocol.md 3.1)."""
        return _language_wire(self)


@dataclass(frozen=True, slots=True)
class NodeExecutor:
    """`executor: {name: nodejs}`."""

    entry: str | None = None
    function: str | None = None
    spawn: bool = False
    name: Literal["nodejs"] = "nodejs"

    def to_wire(self) -> dict[str, Any]:
        """Return the `executor` object of BlockPayload (protocol.md 3.1)."""
        return _language_wire(self)


def _language_wire(executor: PythonExecutor | NodeExecutor) -> dict[str, Any]:
    options: dict[str, Any] = {"entry": executor.entry, "function": executor.function}
    given = {key: value for key, value in options.items() if value is not None}
    return {"name": executor.name, "options": {**given, "spawn": executor.spawn}}


@dataclass(frozen=True, slots=True)
class ShellExecutor:
    """`executor: {name: shell}` (flow-format.md 4.3)."""

    name: Literal["shell"] = "shell"


@dataclass(frozen=True, slots=True)
class RustExecutor:
    """`executor: {name: rust}` (flow-format.md 4.4)."""

    bin: str = "cargo"
    args: tuple[str, ...] = ("run", "--")
    name: Literal["rust"] = "rust"


@dataclass(frozen=True, slots=True)
class ConnectorExecutor:
    """`executor: {name: connector}` (flow-format.md 4.4)."""

    action: str
    name: Literal["connector"] = "connector"


TaskExecutor: TypeAlias = PythonExecutor | NodeExecutor | ShellExecutor | RustExecutor | ConnectorExecutor


@dataclass(frozen=True, slots=True)
class TaskBlock:
    """One task, from a file or written inline.

    Attributes:
        path: the task file as resolved, None when inline.
        directory: what `entry` is relative to, and `dir` on the wire (flow-format.md 4.1).
        package_path: two levels above the directory of the manifest.
        additional_inputs: whether nodes and run_block may add input handles.
        hide_source: the package's `.metadata.oo.json` forbids running it here.
        source: where the block is written.
    """

    path: Path | None
    directory: Path
    package_path: Path
    executor: TaskExecutor
    inputs_def: Mapping[str, InputHandle] | None = None
    outputs_def: Mapping[str, OutputHandle] | None = None
    additional_inputs: bool = False
    additional_outputs: bool = False
    description: str | None = None
    hide_source: bool = False
    source: Place | None = None


@dataclass(frozen=True, slots=True)
class ServiceExecutor:
    """The `executor` of a service file."""

    name: str
    entry: str | None = None
    function: str | None = None
    start_at: str = "block_start"
    stop_at: str = "session_end"
    keep_alive: int | None = None

    def to_wire(self) -> dict[str, Any]:
        """Return the `service_executor` object of ServiceBlockPayload, with every key that has a value."""
        wire = {
            "name": self.name,
            "entry": self.entry,
            "function": self.function,
            "start_at": self.start_at,
            "stop_at": self.stop_at,
            "keep_alive": self.keep_alive,
        }
        return {key: value for key, value in wire.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ServiceBlock:
    """One block of a service.

    Attributes:
        path: the service file.
        directory: its directory, `dir` on the wire.
        service_hash: first 16 hex digits of sha256 of the directory.
    """

    path: Path
    directory: Path
    package_path: Path
    block_name: str
    executor: ServiceExecutor
    service_hash: str
    inputs_def: Mapping[str, InputHandle] | None = None
    outputs_def: Mapping[str, OutputHandle] | None = None


@dataclass(frozen=True, slots=True)
class Expression:
    """`input <operator> value`; a `value` of None is the same as none given (flow-format.md 5.9)."""

    input_handle: str
    operator: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class ConditionCase:
    """The expressions that lead to one output handle."""

    handle: str
    expressions: tuple[Expression, ...]
    logical: Literal["AND", "OR"] = "OR"


@dataclass(frozen=True, slots=True)
class ConditionBlock:
    """Cases in the order in which they are tried, and the output handle when none matches."""

    cases: tuple[ConditionCase, ...] = ()
    default: str | None = None
