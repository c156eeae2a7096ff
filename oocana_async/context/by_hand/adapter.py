"""What stands beneath a Context around a mainframe: each message becomes one call of `send` or `report`."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from oocana_async.context.messenger import JobIdentity
from oocana_async.wire import topics
from oocana_async.wire.envelope import Outgoing

__all__ = ["MainframeCaller", "MainframeLike"]


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


class MainframeCaller:
    """Turns each message into the one call of a mainframe that it is.

    Whatever the mainframe does, blocking included, it does in the caller's thread.
    """

    def __init__(self, mainframe: MainframeLike, identity: JobIdentity) -> None:
        self._mainframe = mainframe
        self._identity = identity

    def __call__(self, message: Outgoing) -> None:
        """Hand over a message as a dict."""
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
