"""The Context of asynchronous scriptlets: every member acts at the call and returns something to await."""

from __future__ import annotations

import asyncio
from abc import ABCMeta
from collections.abc import Awaitable
from typing import Any

from oocana_async.context.awaitables import Sent
from oocana_async.context.facts import FactMembers, KeepAlive
from oocana_async.context.members import ContextParts
from oocana_async.context.outputs import OutputMembers
from oocana_async.context.questions import QuestionMembers
from oocana_async.context.reports import ReportMembers

__all__ = ["Context", "ContextParts", "KeepAlive"]


class Context(
    FactMembers[Awaitable[None]],
    OutputMembers[Awaitable[None]],
    ReportMembers[Awaitable[None]],
    QuestionMembers[Awaitable[None]],
    metaclass=ABCMeta,
):
    """What an asynchronous scriptlet gets: `async def main(params, context: Context)`.

    Every member that sends acts at the call and returns an awaitable. Awaiting it is back pressure; not awaiting it is
    legal. All members may be used from any thread and any task.

    Made without parts it is a Context for the desk: it warns once and prints what would be sent, so that a scriptlet
    can be tried by running its file.

    Args:
        parts: what an executor makes it of.
        desk: for the desk only: `inputs`, `inputs_def`, `outputs_def`, `session_dir`, `tmp_dir`.
    """

    def __init__(self, parts: ContextParts | None = None, **desk: Any) -> None:
        if parts is None:
            from oocana_async.context.desk import desk_parts

            parts = desk_parts(**desk)
        super().__init__(parts)

    def _sent(self) -> Awaitable[None]:
        return Sent(self._room) if self._room.congested else _IN_CHANNEL

    async def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything sent so far has been acknowledged by the broker, or taken by the embedded engine.

        Args:
            timeout: seconds, None for no limit.

        Returns:
            False when the time was over first.

        Raises:
            TransportError: The connection is gone for good.
        """
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                await self._link.channel.flush()
        except TimeoutError:
            if not limit.expired():
                raise
            return False
        return True


_IN_CHANNEL = Sent(None)
