"""What the `main` of a service gets: it registers who runs the blocks (protocol.md 6.4)."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from oocana_async.compat.service_context import ServiceContextAbstractClass
from oocana_async.compat.types import BlockHandler, ServiceMessage
from oocana_async.errors import ScriptletError

__all__ = ["MessageCallback", "ServiceContext"]

MessageCallback = Callable[[ServiceMessage], Any]


class ServiceContext(ServiceContextAbstractClass):
    """The context of a service; usable from any thread.

    Args:
        on_ready: called once, in the thread that does it, when jobs may run.
    """

    def __init__(self, on_ready: Callable[[], object]) -> None:
        self._on_ready = on_ready
        self._lock = threading.Lock()
        self._handler: BlockHandler | None = None
        self._waiting = False
        self._released = False
        self._callbacks: tuple[MessageCallback, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether jobs may run."""
        return self._released and self._handler is not None

    @property
    def block_handler(self) -> BlockHandler:
        """Who runs the blocks: `{name: fn(inputs, context)}`, or one `fn(name, inputs, context)` for all.

        Functions may be `def` or `async def`. Setting it releases waiting jobs unless `waiting_ready_notify` is true;
        set again, it counts for later jobs. Empty while none has been set.

        Raises (when set):
            TypeError: The value is neither, or a value of the dictionary cannot be called.
        """
        return {} if self._handler is None else self._handler

    @block_handler.setter
    def block_handler(self, value: BlockHandler) -> None:
        _check_handler(value)
        self._handler = value
        if not self._waiting:
            self._release()
        elif self._released:
            self._on_ready()

    @property
    def waiting_ready_notify(self) -> bool:
        """Whether jobs wait for `notify_ready()`; to be set before `block_handler`."""
        return self._waiting

    @waiting_ready_notify.setter
    def waiting_ready_notify(self, value: bool) -> None:
        self._waiting = value

    def notify_ready(self) -> None:
        """Release waiting jobs."""
        self._release()

    def add_message_callback(self, callback: MessageCallback) -> None:
        """Call back with each message that a front end sends to a job that ran here.

        Several are called in the order in which they were added, with `job_id`, `node_id`, `flow_path` and `payload`;
        a `def` in a worker thread, an `async def` on the service's own loop.

        Raises:
            TypeError: It cannot be called.
        """
        if not callable(callback):
            raise TypeError(f"add_message_callback wants a function, but got {type(callback).__name__}")
        with self._lock:
            self._callbacks = (*self._callbacks, callback)

    @property
    def message_callbacks(self) -> tuple[MessageCallback, ...]:
        """What was added, in order."""
        return self._callbacks

    def find(self, block_name: str) -> Callable[..., Any]:
        """Return what runs a block: a function of inputs and context.

        Raises:
            ScriptletError: Nobody does.
        """
        handler = self._handler
        if callable(handler):
            return functools.partial(handler, block_name)
        found = None if handler is None else handler.get(block_name)
        if found is None:
            raise ScriptletError(f"block {block_name} not found")
        return found

    def _release(self) -> None:
        self._released = True
        if self.is_ready:
            self._on_ready()


def _check_handler(value: object) -> None:
    if callable(value):
        return
    if not isinstance(value, dict):
        raise TypeError(f"block_handler wants a dictionary or a function, but got {type(value).__name__}")
    for name, function in value.items():
        if not callable(function):
            raise TypeError(f"block_handler[{name!r}] wants a function, but got {type(function).__name__}")
