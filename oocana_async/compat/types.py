"""Dictionaries and aliases that the official SDK gives names to (protocol.md 8.1, 8.2, 3.9, 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypedDict

from oocana_async.handles import ContentMediaType
from oocana_async.handles.keyword_records import MISSING, keep

__all__ = [
    "BlockDict",
    "BlockHandler",
    "BlockInfo",
    "Downstream",
    "FlowDownstream",
    "JobDict",
    "LLMMessage",
    "LLMModelOptions",
    "NodeDownstream",
    "OomolType",
    "QueryBlockResponse",
    "ServiceExecutePayload",
    "ServiceExecutor",
    "ServiceMessage",
    "StopAtOption",
    "ToFlow",
    "ToNode",
]


class JobDict(TypedDict):
    """`context.job_info`."""

    session_id: str
    job_id: str


class _BlockDict(JobDict):
    stacks: list[dict[str, str]]


class BlockDict(_BlockDict, total=False):
    """`context.block_info`; `block_path` is there when it is known."""

    block_path: str


@dataclass(frozen=True, init=False)
class BlockInfo:
    """Which job of which session, and where in the flow it sits; keywords that it does not know are attributes, too.

    Attributes:
        stacks: frames `{flow_job_id, flow, node_id}` from the root.
        block_path: the task file, None for scriptlets and services.

    Raises:
        ValueError: `session_id`, `job_id` or `stacks` is missing.
    """

    session_id: str
    job_id: str
    stacks: list[dict[str, str]]
    block_path: str | None = None

    def __init__(
        self,
        session_id: str = MISSING,
        job_id: str = MISSING,
        stacks: list[dict[str, str]] = MISSING,
        block_path: str | None = None,
        **unknown: Any,
    ) -> None:
        named = {"session_id": session_id, "job_id": job_id, "stacks": stacks, "block_path": block_path}
        keep(self, named, unknown)

    def job_info(self) -> JobDict:
        """Return `session_id` and `job_id`."""
        return {"session_id": self.session_id, "job_id": self.job_id}

    def block_dict(self) -> BlockDict:
        """Return all that is known."""
        info: BlockDict = {"session_id": self.session_id, "job_id": self.job_id, "stacks": self.stacks}
        return info if self.block_path is None else {**info, "block_path": self.block_path}


OomolType: TypeAlias = ContentMediaType
"""The official SDK's other name of it."""


class ToNode(TypedDict):
    """A node input that an output is sent to."""

    node_id: str
    input_handle: str


class ToFlow(TypedDict):
    """A flow output that an output is sent to."""

    output_handle: str


class QueryBlockResponse(TypedDict, total=False):
    """What `context.query_block` gives; tasks have `additional_*`, subflows `has_slot`."""

    type: Literal["task", "subflow"]
    description: str
    inputs_def: dict[str, Any]
    outputs_def: dict[str, Any]
    additional_inputs: bool
    additional_outputs: bool
    has_slot: bool


class FlowDownstream(TypedDict, total=False):
    """A flow output that a handle is connected to."""

    output_handle: str
    output_handle_def: dict[str, Any]


class NodeDownstream(TypedDict, total=False):
    """A node input that a handle is connected to."""

    node_id: str
    description: str
    input_handle: str
    input_handle_def: dict[str, Any]


class Downstream(TypedDict):
    """What one output handle is connected to, as `context.query_downstream` gives it."""

    to_flow: list[FlowDownstream]
    to_node: list[NodeDownstream]


class LLMModelOptions(TypedDict, total=False):
    """Value of a handle that chooses a language model."""

    model: str
    temperature: float
    top_p: float
    max_tokens: int


class LLMMessage(TypedDict):
    """One message of a conversation with a language model."""

    role: str
    content: str


class ServiceMessage(TypedDict):
    """What a front end sends to a service (protocol.md 6.4)."""

    job_id: str
    node_id: str
    flow_path: str
    payload: Any


BlockHandler: TypeAlias = Callable[[str, Any, Any], Any] | dict[str, Callable[[Any, Any], Any]]
"""One function `fn(block_name, inputs, context)` for all blocks, or `{block_name: fn(inputs, context)}`."""

StopAtOption: TypeAlias = Literal["block_end", "session_end", "app_end", "never"]
"""When a service ends."""


class ServiceExecutor(TypedDict, total=False):
    """How a service is run."""

    name: str
    entry: str
    function: str
    start_at: Literal["block_start", "session_start", "app_start"]
    stop_at: StopAtOption
    keep_alive: int | None


class ServiceExecutePayload(TypedDict, total=False):
    """A job of a service as it travels (protocol.md 6.1)."""

    session_id: str
    job_id: str
    stacks: list[dict[str, str]]
    dir: str
    block_name: str
    service_executor: ServiceExecutor
    service_hash: str
    outputs: dict[str, Any]
