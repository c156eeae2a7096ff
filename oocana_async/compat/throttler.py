"""The official SDK's decorator `throttle`, with a state of its own for each instance whose method it wraps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from oocana_async.channel.throttle import Throttle
from oocana_async.context.desk import ThreadClock

__all__ = ["throttle"]

P = ParamSpec("P")
S = TypeVar("S")


def throttle(period: float) -> Callable[[Callable[Concatenate[S, P], Any]], Callable[Concatenate[S, P], None]]:
    """Let a method be called at once, then at most once per period: the last call of each period, at its end.

    Args:
        period: seconds.
    """

    def decorate(method: Callable[Concatenate[S, P], Any]) -> Callable[Concatenate[S, P], None]:
        throttles: WeakKeyDictionary[Any, Throttle[Callable[[], Any]]] = WeakKeyDictionary()

        @functools.wraps(method)
        def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> None:
            state = throttles.get(self)
            if state is None:
                state = throttles.setdefault(self, Throttle(lambda due: due(), period, ThreadClock()))
            state.offer(lambda: method(self, *args, **kwargs))

        return call

    return decorate
