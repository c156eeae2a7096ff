"""What a test answers to a scriptlet's questions: child blocks, blocks, connections, credentials (protocol.md 3.9)."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import msgspec

from oocana_async.wire.messages.session import (
    QueryAuth,
    QueryBlock,
    QueryDownstream,
    Request,
    RunBlock,
    UpdateNodeWeight,
)

__all__ = ["NO_ANSWER", "Answers", "BlockAnswer", "Child", "NoAnswer", "QueryAnswer", "RefusedError"]


class NoAnswer(enum.Enum):
    """Type of `NO_ANSWER`."""

    NO_ANSWER = "no answer"

    def __repr__(self) -> str:
        return self.name


NO_ANSWER: Final = NoAnswer.NO_ANSWER
"""Answer nothing: a child that never ends, a query that runs into its deadline."""


@dataclass(frozen=True, kw_only=True)
class Child:
    """What a child block does: progress, previews and messages first, then its outputs, then its end.

    Attributes:
        outputs: handle to value, or pairs when a handle gets several values.
        result: values of its end, handle to value.
        progress: 0 to 100.
        previews: payloads.
        messages: payloads.
        error: why it fails, None when it ends well.
    """

    outputs: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()
    result: Mapping[str, Any] | None = None
    progress: Iterable[float] = ()
    previews: Iterable[Any] = ()
    messages: Iterable[Any] = ()
    error: str | None = None

    def pairs(self) -> list[tuple[str, Any]]:
        """Return the outputs as pairs."""
        return list(self.outputs.items() if isinstance(self.outputs, Mapping) else self.outputs)


ChildAnswer: TypeAlias = Mapping[str, Any] | Child | Literal[NoAnswer.NO_ANSWER] | None
BlockAnswer: TypeAlias = ChildAnswer | Callable[[dict[str, Any]], ChildAnswer | Awaitable[ChildAnswer]]
"""A dict of results, a `Child`, `NO_ANSWER`, or a function, sync or async, that makes one of them from the inputs."""

QueryAnswer: TypeAlias = Mapping[str, Any] | Exception | Literal[NoAnswer.NO_ANSWER]
"""The result of a query; an exception whose text becomes the engine's error; or `NO_ANSWER`."""


class RefusedError(Exception):
    """The engine's answer is an error; the text says which."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The engine's knowledge.

    Attributes:
        blocks: blocks that can be run; others are refused.
        known_blocks: answers to `query_block` by reference.
        downstream: answer to `query_downstream`, handle to `{"to_node": [...], "to_flow": [...]}`.
        auth: answers to `query_auth` by credential id; None when there is no vault.
    """

    blocks: Mapping[str, BlockAnswer] = field(default_factory=dict)
    known_blocks: Mapping[str, QueryAnswer] = field(default_factory=dict)
    downstream: QueryAnswer = field(default_factory=dict)
    auth: Mapping[str, QueryAnswer] | None = None

    async def child(self, request: RunBlock, inputs: dict[str, Any]) -> Child | NoAnswer:
        """Return what a child does.

        Raises:
            RefusedError: There is no such block.
            Exception: Whatever the test's function raises.
        """
        if request.block not in self.blocks:
            block = request.block
            raise RefusedError(f"Run block failed: Failed to read block or subflow: {block}. Block: {block}")
        answer = self.blocks[request.block]
        if callable(answer):
            made = answer(inputs)
            answer = await made if inspect.isawaitable(made) else made
        if answer is NO_ANSWER or isinstance(answer, Child):
            return answer
        return Child(result=_checked(answer, request.block))

    def query(self, request: Request) -> Mapping[str, Any] | NoAnswer | None:
        """Return the result of a query, None for one that has none.

        Raises:
            RefusedError: The engine would answer with this error.
        """
        match request:
            case QueryBlock(block=block):
                return _result(self.known_blocks.get(block), f"Failed to find {block} for block or subflow")
            case QueryDownstream():
                return self._downstream(request)
            case QueryAuth():
                return self._auth(msgspec.json.decode(request.payload))
            case UpdateNodeWeight():
                return None
            case _:
                return NO_ANSWER

    def _downstream(self, request: QueryDownstream) -> Mapping[str, Any] | NoAnswer:
        found = _result(self.downstream, "")
        if request.outputs is None or not isinstance(found, Mapping):
            return found
        return {handle: targets for handle, targets in found.items() if handle in request.outputs}

    def _auth(self, credential: str) -> Mapping[str, Any] | NoAnswer:
        if self.auth is None:
            raise RefusedError("Vault client is not available.")
        return _result(self.auth.get(credential), "Client error: 404 Not Found")


def _checked(answer: Any, block: str) -> Mapping[str, Any] | None:
    if answer is not None and not isinstance(answer, Mapping):
        kind = type(answer).__name__
        raise TypeError(f"blocks[{block!r}] should give a dict, a Child, None or NO_ANSWER, but got {kind}")
    return answer


def _result(answer: QueryAnswer | None, unknown: str) -> Mapping[str, Any] | NoAnswer:
    if answer is None:
        raise RefusedError(unknown)
    if isinstance(answer, Exception):
        raise RefusedError(str(answer))
    return answer
