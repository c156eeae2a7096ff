"""Which callbacks want which topics, and the one thread that runs them."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from oocana_async.wire import topics

__all__ = ["Callback", "Dispatcher", "Routes"]

Callback = Callable[[Any], object]
"""Gets the decoded body of a message."""


class Routes:
    """Callbacks by topic filter; safe in any thread.

    A filter may have one *subscriber*, which a second one replaces, and any number of *listeners*.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: dict[str, Callback] = {}
        self._listeners: dict[str, dict[Callback, None]] = {}

    def subscribe(self, name: str, callback: Callback) -> bool:
        """Set the subscriber of a filter; returns whether there was none."""
        with self._lock:
            is_new = name not in self._subscribers
            self._subscribers[name] = callback
            return is_new

    def unsubscribe(self, name: str) -> bool:
        """Drop the subscriber of a filter; returns whether there was one."""
        with self._lock:
            return self._subscribers.pop(name, None) is not None

    def add(self, name: str, callback: Callback) -> bool:
        """Add a listener; returns whether it is the first of the filter."""
        with self._lock:
            is_new = name not in self._listeners
            self._listeners.setdefault(name, {})[callback] = None
            return is_new

    def remove(self, name: str, callback: Callback) -> bool:
        """Drop a listener; returns whether it was the last of the filter."""
        with self._lock:
            listeners = self._listeners.get(name)
            if listeners is None or callback not in listeners:
                return False
            del listeners[callback]
            if not listeners:
                del self._listeners[name]
            return not listeners

    def filters(self) -> list[str]:
        """Return the filters that are wanted, once for the subscriber and once for the listeners of each."""
        with self._lock:
            return [*self._subscribers, *self._listeners]

    def find(self, topic: str) -> list[Callback]:
        """Return the callbacks that want a topic."""
        with self._lock:
            found = [callback for name, callback in self._subscribers.items() if topics.matches(name, topic)]
            for name, listeners in self._listeners.items():
                if topics.matches(name, topic):
                    found += listeners
            return found


class Dispatcher:
    """Runs callbacks one after another, in the order in which messages came.

    Owns one daemon thread from `start()` to `close()`. A callback that raises is logged; what is no JSON is logged with
    its topic and skipped. Each callback gets a copy of its own.

    Args:
        routes: which callbacks want which topics; asked when a message's turn has come.
        name: of the thread.
        logger: where failures are noted, without the bodies of messages.
    """

    def __init__(self, routes: Routes, *, name: str, logger: logging.Logger) -> None:
        self._routes = routes
        self._logger = logger
        # Unbounded: who fills it is the network's thread, which must not wait. Drained by _run(), ended by close().
        self._queue: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to run callbacks, first for the messages that came until now."""
        self._thread.start()

    def put(self, topic: str, payload: bytes) -> None:
        """Take a message; never waits."""
        self._queue.put((topic, payload))

    def close(self, timeout: float) -> None:
        """Start no further callback and wait for the one that runs, unless that is the caller; may be called twice."""
        self._closed = True
        self._queue.put(None)
        if self._thread.ident is None or self._thread is threading.current_thread():
            return
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._logger.warning("a callback did not return within %g s and was left behind", timeout)

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            topic, payload = message
            for callback in self._routes.find(topic):
                if self._closed:
                    return
                try:
                    body = msgspec.json.decode(payload)
                except msgspec.DecodeError as error:
                    self._logger.warning("skipped a message on %s that is no JSON: %s", topic, error)
                    break
                try:
                    callback(body)
                except BaseException:  # an exit in a callback must not leave the others deaf
                    self._logger.exception("callback %r for %s failed", callback, topic)
