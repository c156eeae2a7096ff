"""What a loaded target is: graphs, nodes, blocks and connections, immutable, ready to be run.

Everything here is decided at load time (flow-format.md 1-4). One `Graph` serves any number of runs. A subflow node with
slots has a graph of its own, in which the slot nodes carry their providers; the shared one stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from oocana_async.messages.shared import HandlePatch, InputHandle, OutputHandle

FlowKind: TypeAlias = Literal["flow", "subflow", "slotflow"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written: file, 1-based line and column (None when the file as a whole is meant)."""

    path: Path
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)


@dataclass(frozen=True, slots=True)
class NodeTarget:
    """A connection that ends at an input handle of a node."""

    node_id: str
    input_handle: str


@dataclass(frozen=True, slots=True)
class FlowTarget:
    """A connection that ends at an output handle of the flow itself."""

    output_handle: str


Target: TypeAlias = NodeTarget | FlowTarget


@dataclass(frozen=True, slots=True)
class Scope:
    """In which process, and with which package path, a node's block runs (flow-format.md 4.2).

    Attributes:
        kind: "flow" is the scope of the flow run, "slot" that of the run which holds the subflow node, "package" that
            of the package `path`.
        node_id: the `spawn: true` node whose own process is used, None for the shared process of the scope.
        name: the package's name as written in the reference, for kind "package".
        path: the package's directory, for kind "package".
    """

    kind: Literal["flow", "slot", "package"] = "flow"
    node_id: str | None = None
    name: str | None = None
    path: Path | None = None


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


class GraphLink:
    """A reference to a graph that may still be under construction, so that a subflow can contain itself."""

    __slots__ = ("_graph", "path")

    def __init__(self, path: Path, graph: Graph | None = None) -> None:
        self.path = path
        self._graph = graph

    @property
    def graph(self) -> Graph:
        """The graph; complete as soon as loading has ended."""
        assert self._graph is not None, f"{self.path} is not loaded yet"
        return self._graph

    def complete(self, graph: Graph) -> None:
        """Set the graph, once, when it is built."""
        self._graph = graph

    def __repr__(self) -> str:
        return f"GraphLink({str(self.path)!r})"


@dataclass(frozen=True, slots=True)
class SubflowBlock:
    """A subflow in the shape that its node uses: slots that the node fills are filled in `graph`."""

    link: GraphLink

    @property
    def graph(self) -> Graph:
        """The graph that one run of the node runs."""
        return self.link.graph

    @property
    def path(self) -> Path:
        """The subflow file as resolved."""
        return self.link.path


@dataclass(frozen=True, slots=True)
class SlotBlock:
    """A hole in a subflow, and what fills it in this use of the subflow.

    Attributes:
        provider: the task (run with the slot *node's* definitions), or the graph of a subflow or slotflow; None when
            nobody fills the slot, which is then reported as finished with an error and the flow carries on.
        scope: where the provider runs.
    """

    provider: TaskBlock | SubflowBlock | None = None
    scope: Scope = Scope("slot")


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


Block: TypeAlias = TaskBlock | SubflowBlock | SlotBlock | ServiceBlock | ConditionBlock


@dataclass(frozen=True, slots=True)
class Node:
    """One node that can run; value nodes and ignored nodes do not exist any more here.

    Attributes:
        concurrency: most runs at once; 0 means at flow start only, negative means unlimited.
        timeout: seconds, None for no limit.
        weight: share in the flow's progress, 0 for condition nodes.
        inputs_def: what the block declares, with the node's additions; None when nothing is declared.
        static: the value of declared handles without a real connection, if one was given.
        queued: handles with at least one real connection, declared or not.
        remembered: handles whose last value serves again when their queue is empty (flow-format.md 5.5).
        patches: `inputs_def_patch` per handle.
        inject_node: the node whose process this node joins, as written.
        scope: where its block runs; for slot nodes see `SlotBlock.scope`.
        source: where the node is written.
    """

    node_id: str
    block: Block
    concurrency: int = 1
    timeout: int | None = None
    weight: float = 1.0
    description: str | None = None
    inputs_def: Mapping[str, InputHandle] | None = None
    outputs_def: Mapping[str, OutputHandle] | None = None
    static: Mapping[str, Any] = field(default_factory=dict)
    queued: frozenset[str] = frozenset()
    remembered: frozenset[str] = frozenset()
    patches: Mapping[str, tuple[HandlePatch, ...]] = field(default_factory=dict)
    inject_node: str | None = None
    scope: Scope = Scope()
    source: Place | None = None

    @property
    def unfed(self) -> tuple[str, ...]:
        """Declared handles with neither a value nor a connection; with one of these the node never runs."""
        return tuple(h for h in self.inputs_def or () if h not in self.static and h not in self.queued)


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
class Graph:
    """One flow, subflow or slotflow.

    Attributes:
        path: the file as resolved, for `flow_path`, `block_path` and stacks.
        kind: by the file's name, decides the flavour of the report events (flow-format.md 7.1).
        directory: directory of the file.
        package_path: two levels above that directory.
        inputs_def: None when the file has none; a slotflow in a slot has the slot's.
        nodes: in file order.
        targets: (node id, output handle) -> flow outputs first, then node inputs in file order, repeats kept.
        input_targets: input handle of the flow -> the same.
        forward_previews: nodes whose previews are shown as the flow's own.
        has_slot: whether it contains slot nodes, filled or not.
        unfilled_slots: slot nodes without a provider in this use.
        injection: package name -> shell script, of the layer feature.
        search: for references that running blocks send.
    """

    path: Path
    kind: FlowKind
    directory: Path
    package_path: Path
    search: SearchContext
    description: str | None = None
    inputs_def: Mapping[str, InputHandle] | None = None
    outputs_def: Mapping[str, OutputHandle] | None = None
    nodes: Mapping[str, Node] = field(default_factory=dict)
    targets: Mapping[tuple[str, str], tuple[Target, ...]] = field(default_factory=dict)
    input_targets: Mapping[str, tuple[Target, ...]] = field(default_factory=dict)
    forward_previews: frozenset[str] = frozenset()
    has_slot: bool = False
    unfilled_slots: frozenset[str] = frozenset()
    injection: Mapping[str, str] = field(default_factory=dict)
