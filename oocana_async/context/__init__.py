"""The Context of asynchronous scriptlets: every member acts at the call and returns something to await."""

from __future__ import annotations

import asyncio
from abc import ABCMeta
from collections.abc import Awaitable

from oocana_async.context.awaitables import Sent
from oocana_async.context.construction import AllMembers
from oocana_async.context.facts import KeepAlive
from oocana_async.context.members import ContextParts

__all__ = ["Context", "ContextParts", "KeepAlive"]


class Context(AllMembers[Awaitable[None]], metaclass=ABCMeta):
    """What an asynchronous scriptlet gets: `async def main(params, context: Context)`.

    Every member that sends acts at the call and returns an awaitable. Awaiting it is back pressure; not awaiting it is
    legal. All members may be used from any thread and any task.

    Scriptlets get theirs from an executor. Made by hand around a mainframe, to test a scriptlet or to embed it, each
    member that sends makes one call of the mainframe, with a plain dict, before it returns. Made of nothing it is a
    Context for the desk: it warns once and prints what would be sent, so that a scriptlet can be tried by running its
    file.

    Args:
        inputs: what `context.inputs` shows.
        blockInfo: which job of which session; `BlockInfo`, or a dict with the same keys.
        mainframe: takes the messages: anything with `send(job_info, message)` and `report(block_info, message)`.
            Queries and `run_block` need its methods to listen, too (protocol.md 8.3).
        store: takes the objects of `oomol/var` outputs by their `StoreKey`; None for a dict of its own.
        outputs: definitions of the output handles, as the older form of the class names them.
        session_dir: directory that all blocks of the session share.
        inputs_def: definitions of the input handles.
        outputs_def: definitions of the output handles; at the desk None declares every handle.
        tmp_dir: temporary directory of the flow, by default `session_dir`.
        package_name: by default "workspace".
        pkg_dir: persistent directory of the package, by default `OOCANA_PKG_DIR`.

    Raises:
        TypeError: The arguments do not fit together; the text names them and says what would be right.
        ValueError: A handle definition lacks its `handle`.
    """

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
                await self._messenger.sender.flush()
        except TimeoutError:
            if not limit.expired():
                raise
            return False
        return True


_IN_CHANNEL = Sent(None)
