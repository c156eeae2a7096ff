"""How the author of a service registers handlers, and what jobs wait for until then."""

from __future__ import annotations

from typing import Any

import pytest

from oocana_async.errors import ScriptletError
from oocana_async.executor.service_process.handlers import HandlerCallee, Readiness
from oocana_async.executor.service_process.registration import ServiceContext


def nothing(*_: Any) -> None: ...


def make_context() -> tuple[ServiceContext, list[str]]:
    calls: list[str] = []
    return ServiceContext(lambda: calls.append("ready")), calls


def test_block_handler_makes_jobs_run() -> None:
    context, calls = make_context()
    assert not context.is_ready
    context.block_handler = {"a": nothing}
    assert calls == ["ready"]
    assert context.block_handler == {"a": nothing}


def test_subscript_sets_the_handler_and_ignores_other_keys() -> None:
    context, _ = make_context()
    context["block_handler"] = nothing
    context["something"] = 5
    assert context.block_handler is nothing


@pytest.mark.parametrize("first", ["handler", "notify"])
def test_waiting_ready_notify_asks_for_both(first: str) -> None:
    context, calls = make_context()
    context.waiting_ready_notify = True
    for step in ("handler", "notify") if first == "handler" else ("notify", "handler"):
        assert calls == []
        if step == "handler":
            context.block_handler = {"a": nothing}
        else:
            context.notify_ready()
    assert calls == ["ready"]


@pytest.mark.parametrize("value", [None, 5, {"a": 5}, ["a"]])
def test_handler_of_a_wrong_kind_is_refused_with_what_it_is(value: Any) -> None:
    context, _ = make_context()
    with pytest.raises(TypeError, match="but got"):
        context.block_handler = value


def test_callback_that_cannot_be_called_is_refused() -> None:
    context, _ = make_context()
    with pytest.raises(TypeError, match="but got str"):
        context.add_message_callback("callback")  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_gate_is_open_once_handlers_are_there_and_waits_before() -> None:
    context, _ = make_context()
    readiness = Readiness()
    callee = HandlerCallee(context, readiness, "/d", "a")
    gate, given_up = callee.gate(), callee.gate()
    assert gate is not None
    assert given_up is not None
    given_up.cancel()
    readiness.open()
    await gate
    assert callee.gate() is None


@pytest.mark.anyio
async def test_gate_of_a_service_that_failed_raises_its_error_for_all() -> None:
    context, _ = make_context()
    readiness = Readiness()
    callee = HandlerCallee(context, readiness, "/d", "a")
    early = callee.gate()
    readiness.fail("main failed")
    for gate in (early, callee.gate()):
        assert gate is not None
        with pytest.raises(ScriptletError, match="main failed"):
            await gate
