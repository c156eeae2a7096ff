"""The Context of classic scriptlets: the same members, plain results, blocking where back pressure says so."""

from __future__ import annotations

from oocana_async.context import Context
from oocana_async.context.construction import AllMembers

__all__ = ["SyncContext"]


class SyncContext(AllMembers[None]):
    """What a synchronous scriptlet gets: `def main(params, context: Context)`.

    It is an instance of `Context` for `isinstance`. Members that send return None, and block the thread only while the
    channel is above its high-water mark; cancelled while it waits, the call raises JobCancelledError, and its message
    stays sent. Members that ask return a `Reply`: call `.result(timeout)`. It is made by hand as `Context` is.
    """

    def _sent(self) -> None:
        messenger = self._messenger
        if self._room.congested and not messenger.channel.is_sender_thread:
            withdraw = messenger.on_cancelled(messenger.channel.nudge)
            with messenger.blocking():
                has_room = messenger.channel.wait_for_room_blocking(unless=lambda: messenger.is_cancelled)
            withdraw()
            if not has_room:
                messenger.check_cancelled()

    def flush(self, timeout: float | None = None) -> bool:
        """Block until everything sent so far has been acknowledged by the broker, or taken by the embedded engine.

        Args:
            timeout: seconds, None for no limit.

        Returns:
            False when the time was over first.

        Raises:
            TransportError: The connection is gone for good.
        """
        with self._messenger.blocking():
            return self._messenger.sender.flush_blocking(timeout)


Context.register(SyncContext)
