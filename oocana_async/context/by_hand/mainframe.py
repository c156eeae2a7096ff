"""What stands beneath a Context around a mainframe: each message becomes one call of `send` or `report`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from oocana_async.channel.channel import Gate
from oocana_async.context.messenger import JobIdentity
from oocana_async.wire import topics
from oocana_async.wire.envelope import Delivery, Outgoing

__all__ = ["MainframeChannel", "MainframeLike"]


class MainframeLike(Protocol):
    """What a Context sends through: `Mainframe`, an object of the caller, or a `Mock`.

    Queries and `run_block` need some more methods of protocol.md 8.3: `add_request_response_callback`,
    `add_report_callback` and their `remove_` twins.
    """

    def send(self, job_info: Any, message: Any, /) -> object:
        """Take a message for the engine; `job_info` is `{session_id, job_id}`."""
        ...

    def report(self, block_info: Any, message: Any, /) -> object:
        """Take a message for those who watch; `block_info` is `{session_id, job_id, stacks[, block_path]}`."""
        ...


class MainframeChannel:
    """Hands each message to the mainframe, as a dict, before the call that sent it returns.

    There is nothing to wait for and nothing to drain: whatever the mainframe does, blocking included, it does in the
    caller's thread. Messages of several threads go one after another.
    """

    congested = False
    is_own_thread = False

    def __init__(self, mainframe: MainframeLike, identity: JobIdentity) -> None:
        self._mainframe = mainframe
        self._identity = identity
        # Held during the calls of the mainframe, so that nothing overtakes the end of the job. Reentrant, because a
        # mainframe may answer a request, and so run code of the block, before its `send` returns.
        self._lock = threading.RLock()

    @property
    def room(self) -> MainframeChannel:
        """Return itself: there is always room."""
        return self

    def put(self, message: Outgoing, gate: Gate | None = None) -> bool | None:
        """Hand over a message, unless its job has ended."""
        with self._lock:
            if gate is not None and not gate.is_running:
                return None
            self._hand_over(message)
        return False

    def put_last(self, message: Outgoing, gate: Gate) -> None:
        """Hand over the end of a job."""
        with self._lock:
            gate.is_running = False
            self._hand_over(message)

    def append_latest(self, key: str, message: Outgoing) -> None:
        """Hand over progress: it comes twice, and only the report is meant for mainframes, as on the API page."""
        if message.delivery is Delivery.REPORT:
            self.put(message)

    def wait_below_limit(self) -> bool:
        """Return at once."""
        return False

    async def wait_for_room(self) -> None:
        """Return at once."""

    def wait_for_room_blocking(self, timeout: float | None = None, *, unless: Callable[[], bool] = bool) -> bool:
        """Return at once."""
        return True

    def nudge(self) -> None:
        """Do nothing: nobody waits."""

    async def flush(self) -> None:
        """Return at once."""

    def flush_blocking(self, timeout: float | None = None) -> bool:
        """Return at once."""
        return True

    def _hand_over(self, message: Outgoing) -> None:
        body = msgspec.json.decode(message.payload)
        del body["session_id"], body["job_id"]  # who sends is an argument of its own
        if message.topic == topics.REPORT:
            self._report({name: value for name, value in body.items() if name not in ("stacks", "block_path")})
        elif body.get("action") == "Preview":
            # Engines make this event of the request; a mainframe may have none behind it (protocol.md 10, row 4).
            self._report({"type": "BlockPreview", "payload": body["payload"]})
        else:
            if body["type"] == "BlockOutput":
                body.setdefault("done", False)  # the older form has it always (protocol.md 10, row 1)
            self._mainframe.send(self._job_info(), body)

    def _report(self, event: dict[str, Any]) -> None:
        info = {**self._job_info(), "stacks": msgspec.to_builtins(list(self._identity.stacks))}
        path = self._identity.block_path
        self._mainframe.report(info if path is None else {**info, "block_path": path}, event)

    def _job_info(self) -> dict[str, Any]:
        """Return whose message it is; made anew for each call, because the mainframe may keep it or change it."""
        return {"session_id": self._identity.session_id, "job_id": self._identity.job_id}
