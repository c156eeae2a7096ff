"""Decide how a block's function is called and what its return value means (protocol.md 7.2 and 7.5)."""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from inspect import Parameter
from typing import Any

from oocana_async.errors import ScriptletError

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_CONTEXT_TEXT = re.compile(r"(?<!\w)(Sync)?Context(?!\w)")
_UNIONS = (typing.Union, types.UnionType)
_NEVER_AWAITABLE = frozenset((type(None), dict, list, str, int, float, bool))
"""Types of most results, which need not be asked: asking an abstract class is dear."""


class Call:
    """How one function is called.

    Attributes:
        function: the function.
        is_async: whether it is a coroutine function. A plain function may still return an awaitable.
        positional: what is passed by position, of `"inputs"` and `"context"`.
        keywords: parameter name → which of the two is passed under it.
    """

    def __init__(self, function: Callable[..., Any], positional: tuple[str, ...], keywords: Mapping[str, str]) -> None:
        self.function = function
        self.is_async = is_coroutine_function(function)
        self.positional = positional
        self.keywords = dict(keywords)

    def __call__(self, inputs: object, context: object) -> Any:
        """Call the function with what it asks for; returns what it returns, a coroutine if it is async."""
        if self.positional == ("inputs", "context") and not self.keywords:  # by far the most
            return self.function(inputs, context)
        values = {"inputs": inputs, "context": context}
        return self.function(
            *(values[role] for role in self.positional), **{name: values[role] for name, role in self.keywords.items()}
        )


def plan_call(function: Callable[..., Any], *, context_types: tuple[type, ...]) -> Call:
    """Return how a block's function wants to be called, by its signature (protocol.md 7.2).

    No parameter: nothing. One: the inputs, or the context if it is annotated so. Two or more (`*args`, `**kwargs` and
    those with defaults count): inputs and context, the latter by keyword if only that fits.

    Args:
        function: any callable.
        context_types: classes whose annotation, also as text or in a union, asks for the context.
    """
    # Not "call it and see": a TypeError out of the function's own code looks the same as one about its arguments.
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some built-ins do not tell
        return Call(function, ("inputs", "context"), {})
    if not parameters:
        return Call(function, (), {})
    if len(parameters) == 1:
        only = parameters[0]
        role = "context" if _asks_for_context(only, function, context_types) else "inputs"
        return Call(function, (), {only.name: role}) if _by_keyword(only) else Call(function, (role,), {})
    return _plan_both(function, parameters, context_types)


def _plan_both(function: Callable[..., Any], parameters: list[Parameter], context_types: tuple[type, ...]) -> Call:
    places = [one for one in parameters if one.kind in _POSITIONAL]
    if len(places) >= 2 or any(one.kind is Parameter.VAR_POSITIONAL for one in parameters):
        return Call(function, ("inputs", "context"), {})
    named = [one for one in parameters if _by_keyword(one)]
    if not places:
        context_name = _pick_context(named, function, context_types)
        others = [one.name for one in named if one.name != context_name]
        return Call(function, (), {others[0]: "inputs", context_name: "context"} if others else {})
    if _asks_for_context(places[0], function, context_types):
        wanted = [one.name for one in named if one.default is Parameter.empty]
        return Call(function, ("context",), {wanted[0]: "inputs"} if wanted else {})
    name = _pick_context(named, function, context_types) if named else "context"
    return Call(function, ("inputs",), {name: "context"})


def _by_keyword(parameter: Parameter) -> bool:
    return parameter.kind is Parameter.KEYWORD_ONLY


def _pick_context(named: list[Parameter], function: Callable[..., Any], context_types: tuple[type, ...]) -> str:
    for one in named:
        if one.name == "context" or _asks_for_context(one, function, context_types):
            return one.name
    return named[-1].name if named else "context"


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether calling a function gives a coroutine: also of `functools.partial` and callable objects."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    return inspect.iscoroutinefunction(_method_behind(function))


def _asks_for_context(parameter: Parameter, function: Callable[..., Any], context_types: tuple[type, ...]) -> bool:
    annotation = parameter.annotation
    if annotation is Parameter.empty:
        return False
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, _globals_of(function))  # noqa: S307 - the user's own code, as typing does it
        except Exception:  # noqa: BLE001 - a name imported for type checkers only, for instance
            return _CONTEXT_TEXT.search(str(annotation)) is not None
    return _means_context(annotation, context_types)


def _means_context(annotation: Any, context_types: tuple[type, ...]) -> bool:
    if isinstance(annotation, (str, typing.ForwardRef)):
        text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
        return _CONTEXT_TEXT.search(text) is not None
    origin = typing.get_origin(annotation)
    if origin in _UNIONS or origin is typing.Annotated:
        return any(_means_context(part, context_types) for part in typing.get_args(annotation))
    return isinstance(annotation, type) and issubclass(annotation, context_types)


def _globals_of(function: Callable[..., Any]) -> dict[str, Any]:
    while isinstance(function, functools.partial):
        function = function.func
    found: dict[str, Any] = getattr(_method_behind(inspect.unwrap(function)), "__globals__", {})
    return found


def _method_behind(function: Callable[..., Any]) -> Any:
    """Return what runs when an object is called: the function itself, or `__call__` of its class."""
    return function if inspect.isroutine(function) else inspect.getattr_static(type(function), "__call__", function)


async def settle(value: Any) -> Any:
    """Await what a block's function returned until it is no awaitable: a coroutine from a plain function, a send."""
    # A loop, because what an awaitable gives may be one itself: `return context.output(...)` in an async function.
    while type(value) not in _NEVER_AWAITABLE and inspect.isawaitable(value):
        value = await value
    return value


def check_result(value: Any, *, keep_alive: object) -> dict[str, Any] | None:
    """Return the result of a block, None if it has none or stays alive (protocol.md 7.5).

    Args:
        value: what the function returned, settled.
        keep_alive: the context's sentinel; the caller tells it from None by identity.

    Raises:
        ScriptletError: the value is no dictionary, or one with an awaitable in it (a forgotten `await`).
    """
    if value is None or value is keep_alive:
        return None
    if not isinstance(value, dict):
        _withdraw(value)
        raise ScriptletError(f"return object needs to be a dictionary, but get type: {type(value)}")
    for handle, item in value.items():
        if type(item) not in _NEVER_AWAITABLE and inspect.isawaitable(item):
            for one in value.values():
                _withdraw(one)
            raise ScriptletError(_forgotten(handle, item))
    return value


def _forgotten(handle: object, item: Awaitable[Any]) -> str:
    name = getattr(item, "__qualname__", "") or type(item).__qualname__
    return f"return object has an awaitable under [{handle}]: {type(item).__name__} {name!r}; was an `await` forgotten?"


def _withdraw(item: object) -> None:
    """Close a coroutine that nobody will await, so that Python does not complain about it as well."""
    if inspect.iscoroutine(item):
        item.close()
