"""How functions want to be called, and what comes of their results."""

from __future__ import annotations

import asyncio
import functools
import typing
from collections.abc import Callable
from typing import Any, Optional

import pytest

from oocana_async.errors import ScriptletError
from oocana_async.executor.loading.calling import check_result, plan_call, settle

pytestmark = pytest.mark.anyio
KEEP_ALIVE = object()


class Context: ...


class Special(Context): ...


def seen(function: Callable[..., Any]) -> Any:
    return plan_call(function, context_types=(Context,))("I", "C")


def make(signature: str, **names: Any) -> Callable[..., Any]:
    """Return a function that returns its arguments, annotations being objects, not text."""
    space = {"Context": Context, "Special": Special, "typing": typing, "Optional": Optional, **names}
    exec(compile(f"def main({signature}): return locals()", "main", "exec", dont_inherit=True), space)
    return typing.cast("Callable[..., Any]", space["main"])


@pytest.mark.parametrize(
    ("signature", "arguments"),
    [
        ("", {}),
        ("params", {"params": "I"}),
        ("params: dict", {"params": "I"}),
        ("context", {"context": "I"}),
        ("c: Context", {"c": "C"}),
        ("c: Special", {"c": "C"}),
        ("c: 'Context'", {"c": "C"}),
        ("c: 'oocana.Context'", {"c": "C"}),
        ("c: 'Context | None'", {"c": "C"}),
        ("c: 'Optional[Unknown[Context]]'", {"c": "C"}),
        ("c: Optional[Context]", {"c": "C"}),
        ("c: Context | None = None", {"c": "C"}),
        ("c: Optional['Context']", {"c": "C"}),
        ("c: typing.Annotated[Context, 1]", {"c": "C"}),
        ("c: 'MyContextual'", {"c": "I"}),
        ("*, context: Context", {"context": "C"}),
        ("*, params", {"params": "I"}),
        ("params, context", {"params": "I", "context": "C"}),
        ("a, b=3, c=4", {"a": "I", "b": "C", "c": 4}),
        ("*args", {"args": ("I",)}),
        ("*args, **kwargs", {"args": ("I", "C"), "kwargs": {}}),
        ("a, *rest", {"a": "I", "rest": ("C",)}),
        ("a, **rest", {"a": "I", "rest": {"context": "C"}}),
        ("a, *, context", {"a": "I", "context": "C"}),
        ("a, *, flag=1, c: Context", {"a": "I", "flag": 1, "c": "C"}),
        ("*, context, params", {"context": "C", "params": "I"}),
        ("c: Context, *, flag=1", {"c": "C", "flag": 1}),
        ("a, b, /", {"a": "I", "b": "C"}),
    ],
)
def test_arguments_follow_signature(signature: str, arguments: dict[str, Any]) -> None:
    assert seen(make(signature)) == arguments


def test_future_annotations_count() -> None:
    def main(context: Context) -> str:
        return str(context)

    assert seen(main) == "C"


def test_other_callables_are_understood() -> None:
    class Block:
        def __call__(self, params: Any) -> Any:
            return params

        def method(self, params: Any, context: Any) -> Any:
            return params, context

    @functools.wraps(Block.__call__)
    def decorated(*args: Any) -> Any:
        return args

    assert seen(Block()) == "I"
    assert seen(Block().method) == ("I", "C")
    assert seen(functools.partial(Block().method, "own")) == ("own", "I")
    assert seen(decorated) == ("I", "C")
    assert seen(max) == "I"


def test_async_is_told_from_plain() -> None:
    async def main(params: Any) -> None: ...

    class Block:
        async def __call__(self, params: Any) -> None: ...

    class Heir(Block): ...

    def wrapper(params: Any) -> Any:
        return main(params)

    def is_async(function: Callable[..., Any]) -> bool:
        return plan_call(function, context_types=()).is_async

    assert is_async(main)
    assert is_async(functools.partial(main, 1))
    assert is_async(Heir())
    assert is_async(Block().__call__)
    assert not is_async(wrapper)
    assert not is_async(print)


async def test_settle_awaits_what_plain_function_returns() -> None:
    async def inner() -> int:
        return 7

    async def outer() -> Any:
        return asyncio.ensure_future(inner())

    assert await settle(outer()) == 7
    assert await settle(3) == 3


def test_result_is_dictionary_or_nothing() -> None:
    assert check_result(None, keep_alive=KEEP_ALIVE) is None
    assert check_result(KEEP_ALIVE, keep_alive=KEEP_ALIVE) is None
    assert check_result({"a": 1}, keep_alive=KEEP_ALIVE) == {"a": 1}


def test_other_result_has_text_of_reference() -> None:
    text = "^return object needs to be a dictionary, but get type: <class 'int'>$"
    with pytest.raises(ScriptletError, match=text):
        check_result(3, keep_alive=KEEP_ALIVE)


def test_forgotten_await_in_result_is_named() -> None:
    async def fetch() -> None: ...

    with pytest.raises(ScriptletError, match=r"\[rows\].*fetch.*was an `await` forgotten\?"):
        check_result({"count": 1, "rows": fetch()}, keep_alive=KEEP_ALIVE)
