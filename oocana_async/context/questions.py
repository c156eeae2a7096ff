"""Members that ask the engine: queries, and other blocks run as children."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Raw

from oocana_async.context.awaitables import Reply
from oocana_async.context.block_job import BlockJob
from oocana_async.context.members import ContextCore, ContextParts, encode_as
from oocana_async.context.messenger import new_id
from oocana_async.context.requests import REQUEST_DEADLINE, ask
from oocana_async.errors import HandleError
from oocana_async.wire.encoding import MAX_DEPTH, encode, require_depth, to_plain
from oocana_async.wire.envelope import Delivery, Outgoing
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.dispatch import RequestResponse
from oocana_async.wire.messages.session import (
    QueryAuth,
    QueryBlock,
    QueryDownstream,
    RunBlock,
    RunBlockPayload,
    UpdateNodeWeight,
)

if TYPE_CHECKING:
    from oocana_async.handles.credentials import CredentialInput

__all__ = ["InternalAPI", "QuestionMembers"]

R = TypeVar("R")


class InternalAPI(Generic[R]):
    """Members that no scriptlet needs."""

    def __init__(self, context: QuestionMembers[R]) -> None:
        self._context = context

    def update_node_weight(self, node_id: str, weight: float, *, deadline: float = REQUEST_DEADLINE) -> Reply[None]:
        """Change the share of a node in its flow's progress.

        Args:
            node_id: node in the flow of this block; an unknown one is ignored.
            weight: not negative.
            deadline: seconds to wait for the engine.

        Raises:
            ValueError: The weight is negative or not finite.
        """
        return self._context._update_node_weight(node_id, weight, deadline)  # noqa: SLF001 - two halves of one API


class QuestionMembers(ContextCore[R]):
    """`query_block`, `query_downstream`, `query_auth`, `run_block` and `internal.update_node_weight`."""

    def __init__(self, parts: ContextParts) -> None:
        super().__init__(parts)
        self._exchange = parts.exchange

    @property
    def internal(self) -> InternalAPI[R]:
        """Members that the official SDK keeps apart."""
        return InternalAPI(self)  # made when asked for: two objects that hold each other wait for the collector

    def query_block(self, block: str, *, deadline: float = REQUEST_DEADLINE) -> Reply[dict[str, Any]]:
        """Ask for the handles of a block.

        Args:
            block: reference such as `self::name` or `package::name`.
            deadline: seconds to wait for the engine.

        Returns:
            The answer to wait for: `type` ("task" or "subflow"), `inputs_def` and `outputs_def` when there are any,
            `additional_inputs` and `additional_outputs` for tasks, `has_slot` for subflows (protocol.md 3.9). It
            fails with RequestError when there is no such block, with RequestTimeoutError after the deadline.
        """
        request = QueryBlock(session_id=self.session_id, job_id=self.job_id, request_id=new_id(), block=block)
        return ask(self._messenger, self._exchange, request, dict, deadline=deadline)

    def query_downstream(
        self, handles: Sequence[str] | None = None, *, deadline: float = REQUEST_DEADLINE
    ) -> Reply[dict[str, Any]]:
        """Ask what is connected to output handles.

        Args:
            handles: output handles, None for all.
            deadline: seconds to wait for the engine.

        Returns:
            The answer to wait for: handle to `{"to_node": [...], "to_flow": [...]}`; handles without a connection are
            left out. An empty list is left out by the engine too, but can be read with `[...]` all the same.
        """
        names = None if handles is None else list(handles)
        request = QueryDownstream(
            session_id=self.session_id, job_id=self.job_id, request_id=new_id(), outputs=names, handles=names
        )
        return ask(self._messenger, self._exchange, request, _downstream, deadline=deadline)

    def query_auth(self, credential: CredentialInput, *, deadline: float = REQUEST_DEADLINE) -> Reply[dict[str, Any]]:
        """Ask for what a credential stands for.

        Args:
            credential: value of an `oomol/credential` input.
            deadline: seconds to wait for the engine.

        Raises:
            HandleError: It is no credential.
        """
        from oocana_async.handles.credentials import CredentialInput  # late: few blocks ask for credentials

        given: Any = credential
        if not isinstance(given, CredentialInput):
            kind = type(given).__name__
            raise HandleError(f"query_auth takes the value of an oomol/credential input, but got {kind}")
        request = QueryAuth(
            session_id=self.session_id, job_id=self.job_id, request_id=new_id(), payload=Raw(encode(given.id))
        )
        return ask(self._messenger, self._exchange, request, dict, deadline=deadline)

    def run_block(
        self,
        block: str,
        *,
        inputs: Mapping[str, Any],
        additional_inputs_def: Sequence[Mapping[str, Any]] | None = None,
        additional_outputs_def: Sequence[Mapping[str, Any]] | None = None,
        strict: bool = False,
    ) -> BlockJob:
        """Run another block as a child of this one.

        Args:
            block: reference such as `self::name` or `package::name`, a task or a subflow.
            inputs: values of its input handles; missing ones get their defaults.
            additional_inputs_def: definitions of more input handles, for tasks.
            additional_outputs_def: definitions of more output handles, for tasks.
            strict: check the inputs against their JSON schemas first.

        Returns:
            The child; `await child.finish()` or `child.finish().result()` waits for its end.

        Raises:
            ClosedError: There is no engine that could run it.
            EncodingError: An input cannot travel.
        """
        request = RunBlock(
            session_id=self.session_id,
            job_id=self.job_id,
            request_id=new_id(),
            block=block,
            block_job_id=new_id(),
            payload=RunBlockPayload(
                {key: Raw(_encode_input(value, f"input {key} of {block}")) for key, value in inputs.items()},
                _definitions(additional_inputs_def, "additional_inputs_def"),
                _definitions(additional_outputs_def, "additional_outputs_def"),
            ),
            stacks=list(self._messenger.identity.stacks),
            strict=strict,
        )
        return self._start_child(request)

    def _start_child(self, request: RunBlock) -> BlockJob:
        messenger, pending, request_id = self._messenger, self._exchange.pending, request.request_id
        job = BlockJob(request.block, request.block_job_id, blocking=messenger.blocking)
        if not messenger.is_running:
            job.end(_CALLER_FINISHED)
            return job
        message = Outgoing(messenger.topic, encode_message(request), Delivery.CONTROL, self.session_id, self.job_id)
        refusal = pending.expect(request_id)
        refusal.add_done_callback(lambda answer: _refused(job, answer))
        try:
            job.on_end(self._exchange.start_child(message, request, job.feed))
        except BaseException:
            pending.forget(request_id)
            raise
        job.on_end(lambda: pending.forget(request_id))
        job.on_end(messenger.on_finished(lambda: job.end(_CALLER_FINISHED)))
        job.on_end(messenger.on_cancelled(lambda: job.abandon(messenger.cancellation())))
        return job

    def _update_node_weight(self, node_id: str, weight: float, deadline: float) -> Reply[None]:
        given: Any = weight
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < float("inf"):
            raise ValueError("Weight must be a non-negative finite number.")
        request = UpdateNodeWeight(
            session_id=self.session_id,
            job_id=self.job_id,
            request_id=new_id(),
            node_id=node_id,
            weight=float(weight),
        )
        return ask(self._messenger, self._exchange, request, _nothing, deadline=deadline)


_CALLER_FINISHED = "the calling block has finished"


def _encode_input(value: Any, what: str) -> bytes:
    """Encode an input of a child; in its message it stands two levels deeper than an output does."""
    data = encode_as(value, what)
    require_depth(data, MAX_DEPTH - 2, what)
    return data


def _definitions(definitions: Sequence[Mapping[str, Any]] | None, what: str) -> list[dict[str, Any]] | None:
    return None if definitions is None else [to_plain(dict(one), f"{what}[{n}]") for n, one in enumerate(definitions)]


class _Connections(dict[str, Any]):
    """Connections of one handle as the engine sent them; a list that it left out because it is empty reads as one."""

    def __missing__(self, key: str) -> list[Any]:
        if key in ("to_node", "to_flow"):
            return []
        raise KeyError(key)


def _downstream(result: dict[str, Any]) -> dict[str, Any]:
    return {handle: _Connections(found) for handle, found in result.items()}


def _refused(job: BlockJob, answer: concurrent.futures.Future[RequestResponse]) -> None:
    if answer.cancelled():
        return
    error = answer.exception()
    if error is not None:
        job.end(str(error))
    elif answer.result().error is not None:
        job.end(answer.result().error)


def _nothing(_: Any) -> None:
    """Read the answer of a request that has none."""
