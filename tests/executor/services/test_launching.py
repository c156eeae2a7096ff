"""The command line, the environment and the log of a service's process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from oocana_async.executor.scope import ExecutorScope
from oocana_async.executor.services.launching import ServicePlan
from oocana_async.wire.messages.dispatch import ServiceBlockPayload, ServiceExecutor


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
