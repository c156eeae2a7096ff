"""What the `main` of a service gets, as an abstract class for annotations (protocol.md 6.4)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from oocana_async.compat.types import BlockHandler, ServiceMessage

__all__ = ["ServiceContextAbstractClass"]


class ServiceContextAbstractClass(ABC):
    """The context of a service: it registers who runs its blocks."""

    @property
    @abstractmethod
    def block_handler(self) -> BlockHandler:
        """Who runs the blocks; setting it releases waiting jobs unless `waiting_ready_notify` is true."""

    @block_handler.setter
    @abstractmethod
    def block_handler(self, value: BlockHandler) -> None: ...

    @property
    @abstractmethod
    def waiting_ready_notify(self) -> bool:
        """Whether jobs wait for `notify_ready()`; set it before `block_handler`."""

    @waiting_ready_notify.setter
    @abstractmethod
    def waiting_ready_notify(self, value: bool) -> None: ...

    def notify_ready(self) -> None:  # noqa: B027 - as in the official SDK, who stands in for a service may leave it out
        """Release waiting jobs."""

    def add_message_callback(self, callback: Callable[[ServiceMessage], Any]) -> None:  # noqa: B027 - likewise
        """Call back with each message that a front end sends to a job that ran here."""

    def __setitem__(self, key: str, value: Any) -> None:
        """Set `block_handler` by subscript; other keys are ignored."""
        if key == "block_handler":
            self.block_handler = value
