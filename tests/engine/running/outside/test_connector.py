"""Connector actions: what is posted, and what becomes of the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from tests.engine.flows import task, write_flow
from tests.engine.watching import Watched, watch

pytestmark = pytest.mark.anyio


class Service(BaseHTTPRequestHandler):
    """A connector that gives the answer of the test."""

    answer: ClassVar[Any] = None
    calls: ClassVar[list[tuple[str, str | None, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.calls.append((self.path, self.headers["Authorization"], body))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(self.answer).encode())

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Service]]:
    Service.calls = []
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="connector")
        thread.start()
        monkeypatch.setenv("OOCANA_CONNECTOR_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OOMOL_TOKEN", "tk")
        yield Service
        server.shutdown()
        thread.join()


async def call(tmp_path: Path, outputs: tuple[str, ...] = ("output",), **more: Any) -> Watched:
    executor = {"name": "connector", "options": {"action": "mail.send"}}
    node = task("a", {"to": {"value": "me"}}, outputs=outputs, executor=executor, **more)
    return await watch(write_flow(tmp_path, [node]))


async def test_inputs_are_posted_and_the_data_is_the_output(tmp_path: Path, service: type[Service]) -> None:
    service.answer = {"success": True, "data": [1]}
    run = await call(tmp_path)
    assert service.calls == [("/v1/actions/mail.send", "Bearer tk", {"input": {"to": "me"}})]
    assert run.of("BlockFinished")[0]["result"] == {"output": [1]}


async def test_data_of_several_outputs_is_an_object(tmp_path: Path, service: type[Service]) -> None:
    service.answer = {"success": True, "data": {"id": 7}}
    assert (await call(tmp_path, ("id", "more"))).of("BlockFinished")[0]["result"] == {"id": 7}


@pytest.mark.parametrize(("of_node", "seconds"), [({"timeout": 7}, 7), ({}, 30)])
async def test_answer_must_come_within_the_timeout_of_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_node: dict[str, Any], seconds: int
) -> None:
    timeouts = []

    def hang(request: Any, *, timeout: float) -> Any:
        timeouts.append(timeout)
        raise TimeoutError("timed out")

    monkeypatch.setenv("OOCANA_CONNECTOR_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("urllib.request.urlopen", hang)
    cause = (await call(tmp_path, **of_node)).result.cause
    assert cause == "OOMOL Connector action 'mail.send' failed: timed out"
    assert timeouts == [seconds]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"success": False, "message": "no such box"}, "failed: no such box"),
        ({"success": True, "data": 5}, "failed: Expected `object`"),
        ([], "failed: Expected `object`"),
    ],
)
async def test_refusals_fail_the_block(tmp_path: Path, service: type[Service], answer: Any, text: str) -> None:
    service.answer = answer
    cause = (await call(tmp_path, ("a", "b"))).result.cause
    assert cause is not None
    assert cause.startswith("OOMOL Connector action 'mail.send' ")
    assert text in cause


async def test_connector_that_is_not_there_fails_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOCANA_CONNECTOR_BASE_URL", "ftp://nowhere")
    cause = (await call(tmp_path)).result.cause
    assert cause is not None
    assert "expected an http or https address" in cause
