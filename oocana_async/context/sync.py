"""The Context of classic scriptlets: the same members, plain results, blocking where back pressure says so."""

from __future__ import annotations

from typing import Any

from oocana_async.context import Context, ContextParts
from oocana_async.context.facts import FactMembers
from oocana_async.context.outputs import OutputMembers
from oocana_async.context.questions import QuestionMembers
from oocana_async.context.reports import ReportMembers

__all__ = ["SyncContext"]


class SyncContext(FactMembers[None], OutputMembers[None], ReportMembers[None], QuestionMembers[None]):
    """What a synchronous scriptlet gets: `def main(params, context: Context)`.

    It is an instance of `Context` for `isinstance`. Members that send return None, and block the thread only while the
    channel is above its high-water mark; cancelled while it waits, the call raises JobCancelledError, and its message
    stays sent. Members that ask return a `Reply`: call `.result(timeout)`.
    """

    def __init__(self, parts: ContextParts | None = None, **desk: Any) -> None:
        if parts is None:
            from oocana_async.context.desk import desk_parts

            parts = desk_parts(**desk)
        super().__init__(parts)

    def _sent(self) -> None:
        link = self._link
        if self._room.congested and not link.channel.is_own_thread:
            withdraw = link.on_cancelled(link.channel.nudge)
            with link.blocking():
                has_room = link.channel.wait_for_room_blocking(unless=lambda: link.is_cancelled)
            withdraw()
            if not has_room:
                link.check_cancelled()

    def flush(self, timeout: float | None = None) -> bool:
        """Block until everything sent so far has been acknowledged by the broker, or taken by the embedded engine.

        Args:
            timeout: seconds, None for no limit.

        Returns:
            False when the time was over first.

        Raises:
            TransportError: The connection is gone for good.
        """
        with self._link.blocking():
            return self._link.channel.flush_blocking(timeout)


Context.register(SyncContext)
