"""The official SDK's decorator `throttle`; methods have a state for each instance, functions one of their own."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, Generic, ParamSpec

from oocana_async.channel.throttle import Throttle
from oocana_async.context.by_hand.clocks import ThreadClock

__all__ = ["throttle"]

P = ParamSpec("P")
_Calls = Throttle[Callable[[], Any]]


def throttle(period: float) -> Callable[[Callable[P, Any]], Callable[P, None]]:
    """Let a function or method be called at once, then at most once per period: the last call of each, at its end.

    Args:
        period: seconds.
    """

    def decorate(function: Callable[P, Any]) -> Callable[P, None]:
        return _Throttled(function, period)

    return decorate


class _Throttled(Generic[P]):
    """A throttled function; looked up on an instance it is a method, with the instance's own throttle."""

    def __init__(self, function: Callable[P, Any], period: float) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._period = period
        self._calls = self._new_throttle()
        # By identity: equal instances are still two. An entry goes with its instance.
        self._calls_of: dict[int, _Calls] = {}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        self._calls.offer(functools.partial(self._function, *args, **kwargs))

    def __get__(self, instance: Any, owner: type | None = None) -> Callable[..., None]:
        if instance is None:
            return self
        calls = self._throttle_of(instance)

        @functools.wraps(self._function)
        def method(*args: Any, **kwargs: Any) -> None:
            calls.offer(functools.partial(self._function, instance, *args, **kwargs))

        return method

    def _throttle_of(self, instance: Any) -> _Calls:
        found = self._calls_of.get(id(instance))
        if found is not None:
            return found
        try:
            weakref.finalize(instance, self._calls_of.pop, id(instance), None).atexit = False
        except TypeError:  # its class has slots and no weak references: one throttle for all its instances
            return self._calls
        return self._calls_of.setdefault(id(instance), self._new_throttle())

    def _new_throttle(self) -> _Calls:
        return Throttle(lambda call: call(), self._period, ThreadClock())
