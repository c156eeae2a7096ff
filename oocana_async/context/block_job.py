"""A child block that runs: its outputs, progress, previews and messages, and its end (protocol.md 3.9, 8.2)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import queue
import threading
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from msgspec import UNSET

from oocana_async.channel.futures import resolve_from_anywhere, running_loop
from oocana_async.context.awaitables import Reply
from oocana_async.context.messenger import decode_raw
from oocana_async.errors import BlockExecuteException
from oocana_async.wire.messages.report import (
    BlockFinishedEvent,
    BlockMessage,
    BlockOutputEvent,
    BlockOutputsEvent,
    BlockPreview,
    BlockProgressEvent,
    ReportEvent,
    SubflowBlockFinished,
    SubflowBlockOutput,
)

__all__ = ["BlockJob"]


class BlockJob:
    """A block that was started with `run_block`.

    Callbacks run on the side of the block that started it: on its event loop, or, for a synchronous block, in one
    thread of this child. Iterate over `outputs()` instead when that reads better; both may be used together.

    Attributes:
        block: the reference that was run.
        job_id: job id of the child.
    """

    def __init__(
        self, block: str, job_id: str, *, blocking: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self.block = block
        self.job_id = job_id
        self._callbacks: dict[str, list[Callable[[Any], object]]] = {}
        self._finished: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._blocking = blocking
        self._lock = threading.Lock()
        # Bound: none, it holds what the child sent until the parent looks; drained by outputs(); dies with the job.
        self._outputs: deque[tuple[str, Any]] = deque()
        # One entry per waiting iteration; drained by _wake(), each iteration withdraws its own.
        self._waiters: set[asyncio.Future[None]] = set()
        self._ended = False
        self._iterated = False
        self._dispatch = _dispatcher(f"oocana-child-{job_id[:8]}")
        self._loop = running_loop()
        self._at_end: list[Callable[[], object]] = []

    # -- what the parent uses -----------------------------------------------------------------------------------

    def add_output_callback(self, fn: Callable[[dict[str, Any]], object]) -> None:
        """Call back with `{handle: value}` for every output, and with the result of the child.

        What came before the first callback or iteration was there is handed over now.

        Raises:
            ValueError: `fn` is not callable.
        """
        with self._lock:
            self._add("output", fn)
            missed = [] if self._iterated else list(self._outputs)
            if missed:
                self._outputs.clear()
            if not self._ended:
                for handle, value in missed:
                    self._dispatch(functools.partial(_call_back, fn, {handle: value}), False)
                return
        for handle, value in missed:
            fn({handle: value})

    def add_progress_callback(self, fn: Callable[[float], object]) -> None:
        """Call back with the progress, 0 to 100; 100 comes when the child ended well.

        Raises:
            ValueError: `fn` is not callable.
        """
        self._add("progress", fn)

    def add_preview_callback(self, fn: Callable[[Any], object]) -> None:
        """Call back with the payload of every preview.

        Raises:
            ValueError: `fn` is not callable.
        """
        self._add("preview", fn)

    def add_message_callback(self, fn: Callable[[Any], object]) -> None:
        """Call back with the payload of every `send_message`.

        Raises:
            ValueError: `fn` is not callable.
        """
        self._add("message", fn)

    def finish(self) -> Reply[None]:
        """Return the end of the child: await it, or block in `.result(timeout)`.

        It has no deadline, because children may run for hours, but it ends with the child, the calling block, the
        flow, the session or the connection. All callbacks have been called by then.

        Raises (when waited for):
            BlockExecuteException: The child failed, could not be started, or is out of reach.
            JobCancelledError: The calling job was cancelled.
        """
        return Reply(self._finished, self._blocking, loop=self._loop)

    async def outputs(self) -> AsyncIterator[tuple[str, Any]]:
        """Iterate over `(handle, value)` of every output and of the result; ends with the child.

        Use one iteration at a time; a second one gets what the first one left. Cancelling it loses nothing. Values
        that came before the iteration began are there too, unless an output callback has had them.

        Raises:
            BlockExecuteException: The child failed; raised after its last output.
        """
        self._iterated = True
        while True:
            while self._outputs:
                yield self._outputs.popleft()
            if self._ended and not self._outputs:
                await self.finish()
                return
            await self._next_output()

    def __aiter__(self) -> AsyncIterator[tuple[str, Any]]:
        return self.outputs()

    # -- what the executor uses ---------------------------------------------------------------------------------

    def on_end(self, callback: Callable[[], object]) -> None:
        """Call back when the child has ended, at once when it has already; from any thread."""
        with self._lock:
            if not self._ended:
                self._at_end.append(callback)
                return
        callback()

    def feed(self, event: ReportEvent) -> None:
        """Take one report event of the child; from any thread, never waits."""
        match event:
            case BlockOutputEvent() | SubflowBlockOutput():
                self._output({event.handle: decode_raw(event.output)})
            case BlockOutputsEvent():
                self._output({handle: decode_raw(value) for handle, value in event.outputs.items()})
            case BlockProgressEvent():
                self._call("progress", event.progress)
            case BlockPreview():
                self._call("preview", decode_raw(event.payload))
            case BlockMessage():
                self._call("message", decode_raw(event.payload))
            case BlockFinishedEvent():
                if event.result is not UNSET and event.result is not None and not event.error:
                    self._output({handle: decode_raw(value) for handle, value in event.result.items()})
                self.end(None if event.error is UNSET else event.error)
            case SubflowBlockFinished():
                self.end(event.error)
            case _:
                pass

    def end(self, error: str | None) -> None:
        """End the child, with the text of its error if it failed; the first end counts."""
        if error is None:
            self._end(None)
        else:
            self._end(BlockExecuteException(f"run block {self.block} failed: {error}"))

    def abandon(self, error: BaseException) -> None:
        """Stop to wait for the child, which may go on; the first end counts."""
        self._end(error)

    # -- inside -------------------------------------------------------------------------------------------------

    def _add(self, kind: str, fn: Callable[[Any], object]) -> None:
        if not callable(fn):
            raise ValueError(f"{kind} callback should be callable, but got {type(fn)}")  # noqa: TRY004 - as in the official SDK
        self._callbacks.setdefault(kind, []).append(fn)

    def _output(self, values: dict[str, Any]) -> None:
        with self._lock:
            if self._ended:
                return
            has_callback = "output" in self._callbacks
            if self._iterated or not has_callback:
                self._outputs.extend(values.items())
            if has_callback:
                self._call("output", values)
        self._wake()

    def _call(self, kind: str, value: Any) -> None:
        self._dispatch(lambda: self._call_all(kind, value), False)

    def _call_all(self, kind: str, value: Any) -> None:
        """On the caller's side: call back; the fault of one callback is the block's own, and no other's."""
        for fn in tuple(self._callbacks.get(kind, ())):
            _call_back(fn, value)

    def _end(self, error: BaseException | None) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
            callbacks, self._at_end = self._at_end, []
        if error is None:
            self._call("progress", 100)
        # The end goes the way of the callbacks, behind them: whoever waits for it finds that all have been called.
        self._dispatch(lambda: self._settle(error), True)
        for callback in callbacks:
            callback()
        self._wake()

    def _settle(self, error: BaseException | None) -> None:
        if error is None:
            self._finished.set_result(None)
        else:
            self._finished.set_exception(error)

    async def _next_output(self) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if self._outputs or self._ended:
                return
            self._waiters.add(future)
        try:
            await future
        finally:
            with self._lock:
                self._waiters.discard(future)

    def _wake(self) -> None:
        with self._lock:
            waiters, self._waiters = self._waiters, set()
        for future in waiters:
            resolve_from_anywhere(future)


def _call_back(fn: Callable[[Any], object], value: Any) -> None:
    try:
        fn(value)
    except Exception:  # noqa: BLE001 - code of the user; what it raised goes to the block's log
        traceback.print_exc()


Dispatch = Callable[[Callable[[], object], bool], None]


def _dispatcher(name: str) -> Dispatch:
    """Return a function that runs calls, in order, on the caller's loop, or in a thread when it has none."""
    # Callbacks run in the context of the block, or what they print would not be found to be the block's.
    context = contextvars.copy_context()
    loop = running_loop()
    if loop is None:
        return _CallbackThread(name, context)

    def on_loop(call: Callable[[], object], last: bool) -> None:
        try:
            loop.call_soon_threadsafe(call, context=context)
        except RuntimeError:  # the loop was closed: only the end still matters, to threads that wait for it
            if last:
                call()

    return on_loop


class _CallbackThread:
    """Runs calls, in order, in one thread, which the first call starts and the last one ends.

    A thread of its own, not one of the workers: those may all be waiting for their children, whose callbacks would then
    never come.
    """

    def __init__(self, name: str, context: contextvars.Context) -> None:
        self._context = context
        # Bound: none, as for outputs; drained by the thread, which ends with the call that is marked as the last.
        self._calls: queue.SimpleQueue[tuple[Callable[[], object], bool]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._lock = threading.Lock()
        self._is_started = False

    def __call__(self, call: Callable[[], object], last: bool) -> None:
        self._calls.put((call, last))
        with self._lock:
            if self._is_started:
                return
            self._is_started = True
        self._thread.start()

    def _work(self) -> None:
        last = False
        while not last:
            call, last = self._calls.get()
            self._context.run(call)
