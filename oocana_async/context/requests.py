"""Questions of a running block to the engine, and the answers (protocol.md 3.9)."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from oocana_async.channel.clock import Clock
from oocana_async.context.awaitables import Reply
from oocana_async.context.messenger import JobMessenger, decode_raw
from oocana_async.errors import ClosedError, RequestError, RequestTimeoutError
from oocana_async.wire.envelope import Delivery, Outgoing
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.dispatch import RequestResponse
from oocana_async.wire.messages.report import ReportEvent
from oocana_async.wire.messages.session import Request, RunBlock

__all__ = ["REQUEST_DEADLINE", "EventListener", "Exchange", "PendingRequests", "ask"]

T = TypeVar("T")
REQUEST_DEADLINE = 30.0
"""Seconds that a query waits for its answer unless told otherwise."""

EventListener = Callable[[ReportEvent], object]


class Exchange(Protocol):
    """What a job asks through: the executor's router, or the testing kit."""

    @property
    def pending(self) -> PendingRequests:
        """The requests that wait for an answer."""
        ...

    def start_child(self, message: Outgoing, request: RunBlock, listener: EventListener) -> Callable[[], object]:
        """Send a RunBlock as soon as the events of its child are sure to be heard.

        Args:
            message: the encoded request.
            request: the same, decoded.
            listener: called with every report event of the child, never in the network's thread for long.

        Returns:
            A function that ends the listening; may be called twice, from any thread.
        """
        ...


class PendingRequests:
    """Futures by request id; whoever receives an answer calls `resolve`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._futures: dict[str, concurrent.futures.Future[RequestResponse]] = {}
        self._closed: str | None = None

    def __len__(self) -> int:
        return len(self._futures)

    def expect(self, request_id: str) -> concurrent.futures.Future[RequestResponse]:
        """Return the future of an answer that will come for a request id.

        Raises:
            ClosedError: There is nobody left to answer.
        """
        future: concurrent.futures.Future[RequestResponse] = concurrent.futures.Future()
        with self._lock:
            if self._closed is not None:
                raise ClosedError(self._closed)
            self._futures[request_id] = future
        return future

    def resolve(self, response: RequestResponse) -> bool:
        """Hand over an answer; False when nobody waits for it (any more)."""
        future = self.forget(response.request_id)
        if future is None or not future.set_running_or_notify_cancel():
            return False
        future.set_result(response)
        return True

    def fail(self, request_id: str, error: BaseException) -> None:
        """End one wait with an error."""
        future = self.forget(request_id)
        if future is not None and future.set_running_or_notify_cancel():
            future.set_exception(error)

    def forget(self, request_id: str) -> concurrent.futures.Future[RequestResponse] | None:
        """Stop to expect an answer."""
        with self._lock:
            return self._futures.pop(request_id, None)

    def close(self, reason: str) -> None:
        """End all waits, present and future, with `ClosedError(reason)`."""
        with self._lock:
            self._closed = reason
            waiting = list(self._futures)
        for request_id in waiting:
            self.fail(request_id, ClosedError(reason))


def ask(
    messenger: JobMessenger,
    exchange: Exchange,
    request: Request,
    read: Callable[[Any], T],
    *,
    deadline: float = REQUEST_DEADLINE,
) -> Reply[T]:
    """Send a request and return its answer as something to wait for.

    Args:
        messenger: the asking job; its end and its cancellation end the wait.
        exchange: where the answer comes in.
        request: the message.
        read: makes the result of the decoded JSON (None when the answer has none).
        deadline: seconds; then the reply fails with RequestTimeoutError.

    Raises:
        ClosedError: There is nobody left to answer.
    """
    what = f"{type(request).__name__} of job {request.job_id}"
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
    reply = Reply(outcome, messenger.blocking)
    if not messenger.is_running:
        outcome.set_exception(_given_up(what))
        return reply
    pending, request_id = exchange.pending, request.request_id
    answer = pending.expect(request_id)
    late = RequestTimeoutError(f"{what} got no answer within {deadline:g} s")
    timer = pending.clock.call_later(deadline, lambda: pending.fail(request_id, late))
    forget_end = messenger.on_finished(lambda: pending.fail(request_id, _given_up(what)))
    forget_cancellation = messenger.on_cancelled(lambda: pending.fail(request_id, messenger.cancellation()))

    def settle(future: concurrent.futures.Future[RequestResponse]) -> None:
        timer.cancel()
        forget_end()
        forget_cancellation()
        _settle(future, outcome, read)

    # All four ways to end (answer, time, end of the job, cancellation) settle `answer`; the first one counts, and what
    # the others left is withdrawn, or a block that asks for hours would collect a callback for each question.
    answer.add_done_callback(settle)
    messenger.send(encode_message(request), Delivery.CONTROL)
    return reply


def _given_up(what: str) -> RequestError:
    return RequestError(f"{what} was given up because the block ended")


def _settle(
    answer: concurrent.futures.Future[RequestResponse],
    outcome: concurrent.futures.Future[T],
    read: Callable[[Any], T],
) -> None:
    if outcome.cancelled() or answer.cancelled():
        outcome.cancel()
        return
    error = answer.exception()
    if error is not None:
        outcome.set_exception(error)
        return
    response = answer.result()
    if response.error is not None:
        outcome.set_exception(RequestError(response.error))
        return
    try:
        outcome.set_result(read(decode_raw(response.result)))
    except Exception as unreadable:  # noqa: BLE001 - what `read` makes of a foreign answer must not hang the wait
        outcome.set_exception(RequestError(f"the engine's answer cannot be read: {unreadable}"))
