"""How a Context around a mainframe hears what it asked for: answers of requests, and events of child blocks."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Raw

from oocana_async.channel.clock import Clock
from oocana_async.channel.port import JobPort
from oocana_async.context.by_hand.adapter import MainframeLike
from oocana_async.context.requests import EventListener, PendingRequests
from oocana_async.errors import ClosedError
from oocana_async.wire.encoding import encode
from oocana_async.wire.envelope import Outgoing
from oocana_async.wire.messages.dispatch import RequestResponse
from oocana_async.wire.messages.report import decode_report
from oocana_async.wire.messages.session import RunBlock

__all__ = ["MainframeExchange"]

Listener = Callable[[Any], object]
"""A callback that a mainframe gets: it takes the decoded body of a message."""


class MainframeExchange:
    """Asks through a mainframe that can listen, too.

    Args:
        mainframe: calls back with what comes in.
        port: takes requests on their way to it.
        session_id: the session of the asking job.
        clock: for deadlines.
    """

    def __init__(self, mainframe: MainframeLike, port: JobPort, session_id: str, clock: Clock) -> None:
        self.pending: PendingRequests = _MainframeRequests(mainframe, session_id, clock)
        self._mainframe = mainframe
        self._port = port

    def start_child(self, message: Outgoing, request: RunBlock, listener: EventListener) -> Callable[[], object]:
        """Send a RunBlock once the mainframe reports the events of its child.

        Raises:
            ClosedError: The mainframe cannot listen to reports.
        """
        listen, unlisten = _pair(self._mainframe, "add_report_callback", "remove_report_callback")
        take = _child_listener(request, listener)
        listen(take)

        def stop() -> None:
            with contextlib.suppress(Exception):  # also the second time: the child has ended, and that is what counts
                unlisten(take)

        try:
            self._port.put(message)
        except BaseException:
            stop()
            raise
        return stop


class _MainframeRequests(PendingRequests):
    """Lets the mainframe listen for the answer of each request for as long as it is expected."""

    def __init__(self, mainframe: MainframeLike, session_id: str, clock: Clock) -> None:
        super().__init__(clock)
        self._mainframe = mainframe
        self._session_id = session_id
        self._listeners: dict[str, tuple[Callable[..., object], Listener]] = {}

    def expect(self, request_id: str) -> concurrent.futures.Future[RequestResponse]:
        """Return the future of an answer, once the mainframe listens for it.

        Raises:
            ClosedError: The mainframe cannot listen for answers.
        """
        names = ("add_request_response_callback", "remove_request_response_callback")
        listen, unlisten = _pair(self._mainframe, *names)
        future = super().expect(request_id)

        def take(answer: Mapping[str, Any]) -> None:
            self.resolve(_response(self._session_id, request_id, answer))

        self._listeners[request_id] = unlisten, take
        try:
            listen(self._session_id, request_id, take)
        except BaseException:
            self.forget(request_id)
            raise
        return future

    def forget(self, request_id: str) -> concurrent.futures.Future[RequestResponse] | None:
        """Stop to expect an answer, and to listen for it."""
        future = super().forget(request_id)
        if request_id in self._listeners:
            unlisten, take = self._listeners.pop(request_id)
            with contextlib.suppress(Exception):  # the answer, or the error that ends the wait, matters more
                unlisten(self._session_id, request_id, take)
        return future


def _pair(mainframe: MainframeLike, add: str, remove: str) -> tuple[Callable[..., object], Callable[..., object]]:
    """Return the two methods with which a mainframe begins and ends to listen."""
    missing = [name for name in (add, remove) if not callable(getattr(mainframe, name, None))]
    if missing:
        kind = type(mainframe).__name__
        raise ClosedError(f"nobody can answer: the mainframe, a {kind}, has no {' and no '.join(missing)}")
    return getattr(mainframe, add), getattr(mainframe, remove)


def _response(session_id: str, request_id: str, answer: Mapping[str, Any]) -> RequestResponse:
    job_id = str(answer.get("job_id", ""))
    return RequestResponse(session_id, job_id, request_id, Raw(encode(answer.get("result"))), answer.get("error"))


def _child_listener(request: RunBlock, listener: EventListener) -> Listener:
    """Return a callback that picks the events of a child out of all reports."""

    def take(body: Any) -> None:
        if isinstance(body, Mapping) and body.get("job_id") == request.block_job_id:
            event = decode_report(encode({"session_id": request.session_id, **body}))
            if event is not None:
                listener(event)

    return take
