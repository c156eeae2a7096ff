"""What running blocks ask the engine: children, descriptions, connections, weights, credentials."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import msgspec
import pytest

from oocana_async.wire.messages import session
from oocana_async.wire.messages.session import RunBlockPayload
from tests.engine.fake_executor import KEEP, FakeJob, raw
from tests.engine.flows import task, write_flow
from tests.engine.watching import Watched, watch

pytestmark = pytest.mark.anyio

CHILD = """\
executor: {name: python, options: {entry: main.py}}
description: a child
inputs_def:
  - {handle: x, json_schema: {type: number}}
  - {handle: y, value: 2}
  - {handle: z, nullable: true}
outputs_def: [{handle: out}]
"""


def write_child(root: Path, name: str = "child", text: str = CHILD) -> Path:
    path = root / "tasks" / name / "task.oo.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return path


def ask_to_run(job: FakeJob, block: str, inputs: dict[str, Any] | None = None, **more: Any) -> None:
    payload = RunBlockPayload({name: raw(value) for name, value in (inputs or {}).items()}, **more.pop("defs", {}))
    job.tell(session.RunBlock, block=block, block_job_id="child-1", payload=payload, stacks=job.stacks, **more)


async def refusal(job: FakeJob, block: str, inputs: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    payload = RunBlockPayload({name: raw(value) for name, value in (inputs or {}).items()})
    fields = {"block": block, "block_job_id": "child-1", "payload": payload, "stacks": job.stacks, **more}
    return {"out": await answer_of(job, session.RunBlock, **fields)}


async def answer_of(job: FakeJob, kind: type[Any], **fields: Any) -> Any:
    """Return the `result` or `error` of an answer, whatever its form."""
    answer = msgspec.json.decode(await job.ask(kind, **fields))
    return answer.get("error", answer.get("result"))


async def asking(tmp_path: Path, behaviour: Any, **more: Any) -> Any:
    """Run one block and return its output `out`."""
    flow = write_flow(tmp_path, [task("a")], outputs={"res": ("a", "out")})
    run = await watch(flow, {"a": behaviour, **more})
    assert run.result.status == "succeeded", run.result.cause
    return run.result.output("res")


async def run_child(tmp_path: Path, child: Any, block: str = "self::child", **request: Any) -> Watched:
    """Run a flow whose only block starts a child and goes."""

    def start(job: FakeJob) -> dict[str, Any]:
        ask_to_run(job, block, **request)
        return {"out": 1}

    return await watch(write_flow(tmp_path, [task("a")]), {"a": start, f"run_block::{block}": child})


async def test_child_runs_with_defaults_and_the_flow_waits_for_it(tmp_path: Path) -> None:
    path = write_child(tmp_path)
    run = await run_child(tmp_path, lambda job: {"out": job.inputs}, inputs={"x": 1})
    started, finished = [event for event in run.events if event.get("job_id") == "child-1"]
    assert started["inputs"] == {"x": 1, "y": 2, "z": None}
    assert started["block_path"] == str(path)
    assert [frame["node_id"] for frame in started["stacks"]] == ["a", "run_block::self::child"]
    assert finished["result"] == {"out": {"x": 1, "y": 2, "z": None}}
    assert run.kinds[-2:] == ["FlowFinished", "SessionFinished"]


async def test_failing_child_does_not_fail_the_flow(tmp_path: Path) -> None:
    write_child(tmp_path)
    run = await run_child(tmp_path, lambda job: job.finish(error="boom"), inputs={"x": 1})
    assert run.result.status == "succeeded"
    assert [event["error"] for event in run.of("BlockFinished") if "error" in event] == ["boom"]


async def test_failing_flow_forgets_the_child(tmp_path: Path) -> None:
    write_child(tmp_path)

    def start(job: FakeJob) -> None:
        ask_to_run(job, "self::child", {"x": 1})
        job.finish(error="boom")

    flow = write_flow(tmp_path, [task("a")])
    run = await watch(flow, {"a": start, "run_block::self::child": lambda job: KEEP})
    assert run.result.cause == "boom"


@pytest.mark.parametrize(("levels", "runs"), [(48, True), (49, False)])
async def test_child_below_49_levels_is_the_last_one_that_runs(tmp_path: Path, levels: int, runs: bool) -> None:
    write_child(tmp_path)

    def start(job: FakeJob) -> dict[str, Any]:
        payload = RunBlockPayload({"x": raw(1)})
        fields: dict[str, Any] = {"block": "self::child", "block_job_id": "child-1", "payload": payload}
        job.tell(session.RunBlock, stacks=job.stacks * levels, **fields)
        return {}

    run = await watch(write_flow(tmp_path, [task("a")]), {"a": start})
    (finished,) = [event for event in run.of("BlockFinished") if event["job_id"] == "child-1"]
    assert len(finished["stacks"]) == levels + 1
    assert finished.get("error") == (None if runs else "Maximum recursion depth exceeded: 50 (limit: 50)")


async def test_child_has_no_connections_of_its_own(tmp_path: Path) -> None:
    write_child(tmp_path)
    found = []

    async def ask(job: FakeJob) -> dict[str, Any]:
        found.append(await answer_of(job, session.QueryDownstream))
        return {}

    def start(job: FakeJob) -> dict[str, Any]:
        ask_to_run(job, "self::child", {"x": 1})
        return {}

    flow = write_flow(tmp_path, [task("a")], outputs={"res": ("a", "out")})
    await watch(flow, {"a": start, "run_block::self::child": ask})
    assert found == [{}]


async def test_additional_handles_are_added(tmp_path: Path) -> None:
    write_child(tmp_path)
    defs = {
        "additional_inputs_def": [{"handle": "more", "value": 9}, {"no": "handle"}],
        "additional_outputs_def": [{"handle": "extra"}],
    }
    run = await run_child(tmp_path, lambda job: {}, inputs={"x": 1}, defs=defs)
    assert run.of("BlockStarted")[1]["inputs"] == {"x": 1, "y": 2, "z": None, "more": 9}
    assert run.host is not None
    assert run.host.jobs[1].payload["outputs"] == {
        "extra": {"handle": "extra", "is_additional": True},
        "out": {"handle": "out"},
    }


async def test_child_of_a_package_runs_in_its_own_scope(tmp_path: Path) -> None:
    write_child(tmp_path / "lib" / "tools")
    (tmp_path / "lib" / "tools" / "package.oo.yaml").write_text("name: tools\n", encoding="utf-8")

    def start(job: FakeJob) -> dict[str, Any]:
        ask_to_run(job, "tools::child", {"x": 1})
        return {}

    run = await watch(write_flow(tmp_path, [task("a")]), {"a": start}, search_paths=[tmp_path / "lib"])
    assert run.host is not None
    assert [spec.package_path.name for spec in run.host.started] == [tmp_path.name, "tools"]
    assert run.host.started[1].pkg_data_dir == tmp_path / "tools"


async def test_child_subflow_reports_itself(tmp_path: Path) -> None:
    write_flow(
        tmp_path,
        [task("t", {"x": "<n"})],
        kind="subflow",
        name="inner",
        inputs=["n"],
        outputs={"res": ("t", "out")},
    )

    def start(job: FakeJob) -> dict[str, Any]:
        ask_to_run(job, "self::inner", {"n": 4})
        return {}

    run = await watch(write_flow(tmp_path, [task("a")]), {"a": start})
    own = [event for event in run.events if event.get("job_id") == "child-1"]
    assert [event["type"] for event in own] == [
        "SubflowBlockStarted",
        "BlockProgress",
        "SubflowBlockOutput",
        "SubflowBlockFinished",
    ]


async def test_unknown_block_is_refused(tmp_path: Path) -> None:
    assert await asking(tmp_path, lambda job: refusal(job, "self::ghost")) == (
        "Run block failed: Failed to read block or subflow: self::ghost. Block: self::ghost"
    )


async def test_missing_inputs_are_refused_by_name(tmp_path: Path) -> None:
    write_child(tmp_path)
    assert await asking(tmp_path, lambda job: refusal(job, "self::child")) == (
        'Run block failed: Task block self::child inputs missing these input handles: [HandleName("x")]. '
        "Block: self::child"
    )


async def test_strict_refuses_values_that_do_not_fit(tmp_path: Path) -> None:
    write_child(tmp_path)
    text = await asking(tmp_path, lambda job: refusal(job, "self::child", {"x": "five"}, strict=True))
    assert text == (
        "Run block failed: Task block self::child has some invalid inputs:\n"
        'x: value ("five") is not valid. validation error: "five" is not of type "number". Block: self::child'
    )


async def test_job_id_in_use_is_refused(tmp_path: Path) -> None:
    write_child(tmp_path)

    async def again(job: FakeJob) -> dict[str, Any]:
        ask_to_run(job, "self::child", {"x": 1})
        return await refusal(job, "self::child", {"x": 1})

    child = {"run_block::self::child": lambda job: KEEP}

    async def end_it(job: FakeJob) -> dict[str, Any]:
        answer = await again(job)
        job.host.jobs[1].finish({})
        return answer

    assert "the job id child-1 is in use" in await asking(tmp_path, end_it, **child)


async def test_query_block_describes_a_task(tmp_path: Path) -> None:
    write_child(tmp_path)

    async def ask(job: FakeJob) -> dict[str, Any]:
        return {"out": await answer_of(job, session.QueryBlock, block="self::child")}

    described = await asking(tmp_path, ask)
    assert described["type"] == "task"
    assert described["description"] == "a child"
    assert described["inputs_def"]["y"] == {"handle": "y", "value": 2}
    assert (described["additional_inputs"], described["additional_outputs"]) == (False, False)


async def test_query_block_describes_a_subflow(tmp_path: Path) -> None:
    write_flow(tmp_path, [{"node_id": "h", "slot": {}}], kind="subflow", name="inner")

    async def ask(job: FakeJob) -> dict[str, Any]:
        return {"out": await answer_of(job, session.QueryBlock, block="self::inner")}

    described = await asking(tmp_path, ask)
    assert (described["type"], described["has_slot"]) == ("subflow", True)
    assert "additional_inputs" not in described


async def test_query_block_of_nothing_is_an_error(tmp_path: Path) -> None:
    async def ask(job: FakeJob) -> dict[str, Any]:
        return {"out": await answer_of(job, session.QueryBlock, block="self::ghost")}

    assert await asking(tmp_path, ask) == "Failed to find self::ghost for block or subflow"


@pytest.mark.parametrize(
    ("wanted", "handles"),
    [({}, ["out", "more"]), ({"outputs": ["more"]}, ["more"]), ({"handles": ["out"]}, ["out"]), ({"outputs": []}, [])],
)
async def test_query_downstream_lists_connections(tmp_path: Path, wanted: dict[str, Any], handles: list[str]) -> None:
    found: list[Any] = []

    async def ask(job: FakeJob) -> dict[str, Any]:
        found.append(await answer_of(job, session.QueryDownstream, **wanted))
        return {}

    nodes = [
        task("a", outputs=("out", "more", "loose")),
        task("b", {"x": ("a", "out")}, description="the b node"),
    ]
    flow = write_flow(tmp_path, nodes, outputs={"res": ("a", "more")})
    await watch(flow, {"a": ask})
    everything = {
        "out": {
            "to_node": [
                {"node_id": "b", "input_handle": "x", "description": "the b node", "input_handle_def": {"handle": "x"}}
            ]
        },
        "more": {"to_flow": [{"output_handle": "res", "output_handle_def": {"handle": "res"}}]},
    }
    assert found == [{handle: everything[handle] for handle in handles}]


async def test_new_weight_is_answered_with_neither_result_nor_error(tmp_path: Path) -> None:
    async def ask(job: FakeJob) -> dict[str, Any]:
        answer = await job.ask(session.UpdateNodeWeight, node_id="a", weight=2.0)
        return {"out": sorted(msgspec.json.decode(answer))}

    assert await asking(tmp_path, ask) == ["job_id", "request_id", "session_id"]


async def test_credentials_need_a_vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OOMOL_VAULT_ADDR", raising=False)

    async def ask(job: FakeJob) -> dict[str, Any]:
        return {"out": await answer_of(job, session.QueryAuth, payload=msgspec.Raw(b"7"))}

    assert await asking(tmp_path, ask) == "Vault client is not available."


class Vault(BaseHTTPRequestHandler):
    """A vault: knows `good`, refuses `bad`, is out of order for everything else."""

    seen: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["Authorization"]))
        name = self.path.rpartition("/")[2]
        self.send_response({"good": 200, "bad": 404, "text": 200}.get(name, 500))
        self.end_headers()
        self.wfile.write(b'{"user":"u","key":"k"}' if name == "good" else b"nonsense")

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str | None]]]:
    Vault.seen = []
    with HTTPServer(("127.0.0.1", 0), Vault) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="vault")
        thread.start()
        monkeypatch.setenv("OOMOL_VAULT_ADDR", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OOMOL_TOKEN", "tk")
        yield Vault.seen
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("payload", "answer", "calls"),
    [
        (b'"good"', {"user": "u", "key": "k"}, 1),
        (b'"bad"', "Client error: 404 Not Found", 1),
        (b'"broken"', "Server error after 2 retries: 500 Internal Server Error", 3),
        (b"7", "Expected vault ID to be a string, got number", 0),
    ],
)
async def test_credentials_come_from_the_vault(
    tmp_path: Path, vault: list[tuple[str, str | None]], payload: bytes, answer: Any, calls: int
) -> None:
    async def ask(job: FakeJob) -> dict[str, Any]:
        return {"out": await answer_of(job, session.QueryAuth, payload=msgspec.Raw(payload))}

    assert await asking(tmp_path, ask) == answer
    assert len(vault) == calls
    assert all(call[0].startswith("/v1/vaultlet/") and call[1] == "Bearer tk" for call in vault)


async def test_vault_that_answers_no_json_is_an_error(tmp_path: Path, vault: list[tuple[str, str | None]]) -> None:
    async def ask(job: FakeJob) -> dict[str, Any]:
        return {"out": await answer_of(job, session.QueryAuth, payload=msgspec.Raw(b'"text"'))}

    assert str(await asking(tmp_path, ask)).startswith("Failed to parse JSON response: ")


async def test_task_that_is_run_directly_may_run_children(tmp_path: Path) -> None:
    write_child(tmp_path / "lib" / "tools")
    (tmp_path / "lib" / "tools" / "package.oo.yaml").write_text("name: tools\n", encoding="utf-8")
    root = write_child(tmp_path, "root", "executor: {name: python, options: {entry: main.py}}\n")

    def start(job: FakeJob) -> dict[str, Any]:
        ask_to_run(job, "tools::child", {"x": 1})
        return {}

    run = await watch(root, {"": start}, search_paths=[tmp_path / "lib"])
    assert [event["job_id"] == "child-1" for event in run.of("BlockFinished")] == [False, True]
    assert run.kinds[-1] == "SessionFinished"
    assert run.result.status == "succeeded"
