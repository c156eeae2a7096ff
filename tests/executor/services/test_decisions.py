"""The parts of services that decide: when to leave, which job is where, when handlers are there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from oocana_async.errors import ScriptletError
from oocana_async.executor.scope import ExecutorScope
from oocana_async.executor.services.assignments import Assignments
from oocana_async.executor.services.context import ServiceContext
from oocana_async.executor.services.handlers import HandlerCallee, Readiness
from oocana_async.executor.services.launching import ServicePlan
from oocana_async.executor.services.lifetime import Lifetime, StopAt
from oocana_async.executor.services.service_messages import ServiceJob
from oocana_async.wire.messages.dispatch import ServiceBlockPayload, ServiceExecutor

# --- lifetime ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["never", "Never"])
def test_never_has_two_spellings(text: str) -> None:
    assert StopAt.parse(text) is StopAt.NEVER


@pytest.mark.parametrize(
    ("text", "is_global"),
    [("block_end", False), ("session_end", False), ("app_end", True), ("Never", True), ("tomorrow", False)],
)
def test_stop_at_says_whether_a_service_outlives_its_session(text: str, is_global: bool) -> None:
    assert StopAt.parse(text).is_global is is_global


@pytest.mark.parametrize(("keep_alive", "leave_at"), [(None, 15.0), (0, 5.0), (2.5, 7.5), (-1, 5.0)])
def test_block_end_leaves_keep_alive_seconds_after_the_last_job(keep_alive: float | None, leave_at: float) -> None:
    lifetime = Lifetime(StopAt.BLOCK_END, keep_alive)
    lifetime.job_began()
    lifetime.job_began()
    lifetime.job_ended(3)
    assert lifetime.leave_at() is None
    lifetime.job_ended(5)
    assert lifetime.leave_at() == leave_at


def test_new_job_stops_the_countdown() -> None:
    lifetime = Lifetime(StopAt.BLOCK_END)
    lifetime.job_began()
    lifetime.job_ended(1)
    lifetime.job_began()
    assert lifetime.leave_at() is None


def test_block_end_service_without_any_job_stays() -> None:
    assert Lifetime(StopAt.BLOCK_END).leave_at() is None


@pytest.mark.parametrize("stop_at", [StopAt.SESSION_END, StopAt.APP_END, StopAt.NEVER])
def test_other_services_stay_when_idle(stop_at: StopAt) -> None:
    lifetime = Lifetime(stop_at, 1)
    lifetime.job_began()
    lifetime.job_ended(1)
    assert lifetime.leave_at() is None


def test_failed_main_leaves_as_soon_as_all_jobs_know() -> None:
    lifetime = Lifetime(StopAt.NEVER)
    lifetime.job_began()
    lifetime.main_failed(1)
    assert lifetime.leave_at() is None
    lifetime.job_ended(2)
    assert lifetime.leave_at() == 2


# --- assignments ------------------------------------------------------------------------------------------------------


def job(job_id: str) -> ServiceJob:
    payload = ServiceBlockPayload("S", job_id, [], "python", "/d", "b", ServiceExecutor(), "H")
    return ServiceJob(payload, "/s")


def ids(jobs: list[ServiceJob]) -> list[str]:
    return [one.job_id for one in jobs]


def test_jobs_are_held_until_there_is_a_process() -> None:
    jobs = Assignments()
    assert jobs.take(job("1")) == []
    assert jobs.take(job("2")) == []
    assert ids(jobs.found("A")) == ["1", "2"]
    assert ids(jobs.take(job("3"))) == ["3"]
    assert len(jobs) == 3


def test_jobs_of_a_process_that_dies_fail_but_those_it_has_ended() -> None:
    jobs = Assignments()
    jobs.found("A")
    jobs.take(job("1"))
    jobs.take(job("2"))
    jobs.ended(["1", "never heard of"])
    assert ids(jobs.gone(orderly=False)) == ["2"]
    assert len(jobs) == 0


def test_jobs_that_a_leaving_process_has_not_taken_go_to_the_next_one_once() -> None:
    jobs = Assignments()
    jobs.found("A")
    jobs.take(job("1"))
    assert jobs.gone(orderly=True) == []
    assert jobs.has_held
    assert ids(jobs.found("B")) == ["1"]
    assert ids(jobs.gone(orderly=True)) == ["1"]


def test_only_held_jobs_can_be_dropped() -> None:
    jobs = Assignments()
    jobs.found("A")
    jobs.take(job("1"))
    jobs.gone(orderly=True)
    jobs.take(job("2"))
    assert ids(jobs.drop(lambda one: one.job_id == "2")) == ["2"]
    assert ids(jobs.found("B")) == ["1"]
    assert jobs.drop() == []


def test_all_jobs_can_be_failed() -> None:
    jobs = Assignments()
    jobs.found("A")
    jobs.take(job("1"))
    assert ids(jobs.fail_all()) == ["1"]
    assert jobs.instance is None


# --- context and readiness --------------------------------------------------------------------------------------------


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
    assert readiness.waiting == 1
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


# --- launch -----------------------------------------------------------------------------------------------------------


def plan(service_hash: str, session_id: str, stop_at: str) -> ServicePlan:
    payload = ServiceBlockPayload(
        session_id, "J", [], "python", "/d", "b", ServiceExecutor(stop_at=stop_at), service_hash
    )
    return ServicePlan.of(payload, ExecutorScope("I", Path("/pkg"), "pkg", "", Path("/tmp")))


def test_log_of_a_session_service_is_with_the_session_and_of_a_global_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    assert plan("H", "S", "session_end").log_path == Path("/home/u/.oocana/sessions/S/python-H.log")
    assert plan("H", "S", "app_end").log_path == Path("/home/u/.oocana/services/python-H.log")


def test_names_from_messages_never_leave_the_log_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    path = plan("../../etc/x", "../..", "session_end").log_path
    assert path == Path("/home/u/.oocana/sessions/_../python-_.._etc_x.log")


def test_command_is_an_argument_list_for_this_python() -> None:
    command = plan("H", "S", "Never").command("I1", "127.0.0.1:47688")
    assert command[0] == sys.executable
    assert "--session-id" not in command
    assert command[-2:] == ["--address", "127.0.0.1:47688"]
    assert command[command.index("--package") + 1] == "/pkg"
