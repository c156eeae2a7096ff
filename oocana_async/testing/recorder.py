"""Collects what one job sends into a record, and wakes those who wait for something in it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from oocana_async.channel.futures import resolve
from oocana_async.testing.record import Ended, Log, Output, Record, Request, StartedChild
from oocana_async.testing.values import Values
from oocana_async.wire.messages.report import (
    BlockLog,
    BlockLogJSON,
    BlockMessage,
    BlockWarning,
    ReportEvent,
)
from oocana_async.wire.messages.session import (
    AnyRequest,
    BlockError,
    BlockFinished,
    BlockOutput,
    BlockOutputs,
    BlockProgress,
    Preview,
    QueryAuth,
    QueryBlock,
    QueryDownstream,
    RunBlock,
    SessionMessage,
    UpdateNodeWeight,
)
from oocana_async.wire.messages.shared import OutputOptions

__all__ = ["Recorder"]

Message = SessionMessage | AnyRequest | ReportEvent


class Recorder:
    """Takes the messages of one job in order; used from one loop only.

    Args:
        values: decodes what travels.
    """

    def __init__(self, values: Values) -> None:
        self._values = values
        self._record = Record()
        self._waiters: list[asyncio.Future[None]] = []
        self._failure: Exception | None = None

    def snapshot(self) -> Record:
        """Return what has come so far; it does not change any more."""
        record = self._record
        values: dict[str, Any] = {one.name: getattr(record, one.name) for one in dataclasses.fields(record)}
        values.update({name: value.copy() for name, value in values.items() if isinstance(value, list)})
        return Record(**values)

    @property
    def ended(self) -> bool:
        """Whether the end of the job has come."""
        return self._record.ended is not Ended.RUNNING

    def take(self, message: Message) -> None:
        """Record one message; the first end counts."""
        if not isinstance(message, BlockFinished):
            self._list(self._record, message)
        elif not self.ended:
            self._finish(message)

    def wake(self) -> None:
        """Wake those who wait, after some messages have been taken."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            resolve(waiter)

    def fail(self, error: Exception) -> None:
        """Let those who wait know that nothing more will be recorded."""
        self._failure = error
        self.wake()

    async def changed(self) -> None:
        """Wait until more has come.

        Raises:
            Exception: The one that was given to `fail`.
        """
        if self._failure is not None:
            raise self._failure
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _finish(self, message: BlockFinished) -> None:
        ended, error = Ended.FINISHED, message.error
        if error is not None:
            ended = Ended.CANCELLED if error.startswith("Cancelled: ") else Ended.FAILED
        result = None if message.result is None else self._values.decode_all(message.result)
        self._record = dataclasses.replace(self._record, ended=ended, error=error, result=result)

    def _list(self, record: Record, message: Message) -> None:
        """Put a message into the list that it belongs to; those that belong to none are left out."""
        match message:
            case BlockOutput():
                target = _target(message.options)
                record.outputs.append(Output(message.handle, self._values.decode(message.output), target))
            case BlockOutputs():
                outputs = self._values.decode_all(message.outputs)
                record.outputs.extend(Output(handle, value) for handle, value in outputs.items())
            case RunBlock():
                record.children.append(self._child(message))
            case QueryBlock() | QueryDownstream() | QueryAuth() | UpdateNodeWeight():
                record.requests.append(Request(type(message).__name__, _about(message)))
            case _:
                if type(message) in _SIMPLE:
                    name, read = _SIMPLE[type(message)]
                    getattr(record, name).append(read(message))

    def _child(self, message: RunBlock) -> StartedChild:
        payload = message.payload
        return StartedChild(
            message.block,
            self._values.decode_all(payload.inputs or {}),
            message.strict,
            payload.additional_inputs_def,
            payload.additional_outputs_def,
        )


_SIMPLE: Mapping[type[Any], tuple[str, Callable[[Any], Any]]] = {
    BlockProgress: ("progress", lambda message: message.progress),
    BlockError: ("errors", lambda message: message.error),
    Preview: ("previews", lambda message: msgspec.json.decode(message.payload)),
    BlockLog: ("logs", lambda message: Log(message.log, message.stdio)),
    BlockLogJSON: ("log_json", lambda message: msgspec.json.decode(message.json)),
    BlockWarning: ("warnings", lambda message: message.warning),
    BlockMessage: ("messages", lambda message: msgspec.json.decode(message.payload)),
}
"""Messages that become one entry of one list of the record: its name, and how the entry is made."""


def _target(options: OutputOptions | None) -> dict[str, Any] | None:
    if options is None or options.target is None:
        return None
    built: dict[str, Any] = msgspec.to_builtins(options.target)
    return built


def _about(request: AnyRequest) -> Any:
    match request:
        case QueryBlock(block=block):
            return block
        case QueryDownstream(outputs=handles):
            return handles
        case QueryAuth(payload=credential):
            return msgspec.json.decode(credential)
        case UpdateNodeWeight(node_id=node_id, weight=weight):
            return node_id, weight
        case _:
            return None
