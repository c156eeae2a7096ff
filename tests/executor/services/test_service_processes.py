"""Services in processes of their own, on pipes, as an executor runs them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oocana_async.executor.services import launching as launch
from oocana_async.executor.services import remote
from oocana_async.wire.messages import encode_message
from oocana_async.wire.topics import run_service_block

if TYPE_CHECKING:
    from oocana_async.executor.core import Executor
    from tests.executor.small_engine import Engine

pytestmark = pytest.mark.anyio

SOURCE = """
    import os

    async def handler(name, inputs, context):
        if name == "die":
            os._exit(3)
        print("in the process")
        return {"out": os.getpid()}

    def main(service):
        print("from main")
        service.block_handler = handler
"""


def start(engine: Engine, block: str, **executor: Any) -> str:
    payload = engine.payload(block, **executor)
    engine.bus.publish_nowait(run_service_block(), encode_message(payload))
    job_id: str = payload.job_id
    return job_id


async def pid_of(engine: Engine, job_id: str) -> int:
    return int((await engine.end_of(job_id))["result"]["out"])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.usefixtures("executor")
async def test_all_jobs_of_a_service_run_in_one_other_process(engine: Engine, tmp_path: Path) -> None:
    engine.write(SOURCE)
    jobs = [start(engine, "a") for _ in range(3)]
    pids = {await pid_of(engine, job_id) for job_id in jobs}
    assert len(pids) == 1
    assert os.getpid() not in pids
    log = tmp_path / "home/.oocana/sessions/S/python-HASH.log"
    assert log.read_text().splitlines()[0] == "from main"


async def test_repeated_message_does_not_run_the_job_again(executor: Executor, engine: Engine) -> None:
    engine.write(SOURCE)
    payload = encode_message(engine.payload("a"))
    for _ in range(2):
        engine.bus.publish_nowait(run_service_block(), payload)
    await engine.end_of("J1")
    await pid_of(engine, start(engine, "a"))
    assert len(engine.ends_of("J1")) == 1
    await executor.drain()
    assert executor.running == 0


async def test_executor_that_leaves_ends_the_service_with_an_exit_report(executor: Executor, engine: Engine) -> None:
    engine.write(SOURCE)
    pid = await pid_of(engine, start(engine, "a"))
    await executor.aclose()
    assert not is_alive(pid)
    await engine.until(lambda: engine.of("service/report/exit"))


async def test_global_service_on_a_pipe_ends_with_its_executor(executor: Executor, engine: Engine) -> None:
    engine.write(SOURCE)
    pid = await pid_of(engine, start(engine, "a", stop_at="Never"))
    await engine.until(lambda: engine.of("service/python/HASH/report/prepare"))
    await executor.aclose()
    assert not is_alive(pid)


@pytest.mark.usefixtures("executor")
async def test_process_that_dies_fails_its_jobs_and_the_next_job_gets_a_new_one(engine: Engine) -> None:
    engine.write(SOURCE)
    first = await pid_of(engine, start(engine, "a"))
    error = (await engine.end_of(start(engine, "die")))["error"]
    assert error.startswith(f"Service {engine.directory} exited with code 3, its log is ")
    assert await pid_of(engine, start(engine, "a")) != first


@pytest.mark.usefixtures("executor")
async def test_job_for_a_service_that_is_leaving_goes_to_a_new_process(engine: Engine) -> None:
    engine.write(SOURCE)
    first = await pid_of(engine, start(engine, "a", stop_at="block_end", keep_alive=600))
    engine.publish("/S/service/python/HASH/action/shutdown", {})
    assert await pid_of(engine, start(engine, "a", stop_at="block_end", keep_alive=600)) != first


@pytest.mark.usefixtures("executor")
async def test_block_end_service_leaves_by_itself(engine: Engine) -> None:
    engine.write(SOURCE)
    pid = await pid_of(engine, start(engine, "a", stop_at="block_end", keep_alive=0))
    await engine.until(lambda: engine.of("service/report/exit"))
    assert await pid_of(engine, start(engine, "a", stop_at="block_end", keep_alive=0)) != pid


@pytest.mark.usefixtures("executor")
async def test_service_that_cannot_be_started_fails_its_jobs(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.write(SOURCE)
    monkeypatch.setattr(launch.sys, "executable", "/no/such/python")  # type: ignore[attr-defined]
    error = (await engine.end_of(start(engine, "a")))["error"]
    assert error.startswith(f"Service {engine.directory} cannot be started: ")
    monkeypatch.setattr(launch.sys, "executable", sys.executable)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("executor")
async def test_process_that_ends_before_it_is_up_fails_its_jobs(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.ServicePlan, "command", lambda *_: ["sh", "-c", "exit 7", "sh"])
    error = (await engine.end_of(start(engine, "a")))["error"]
    assert error.startswith(f"Service {engine.directory} exited with code 7")


async def test_process_that_never_gets_up_is_killed_and_fails_its_jobs(
    executor: Executor, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.ServicePlan, "command", lambda *_: ["sh", "-c", "exec sleep 600", "sh"])
    monkeypatch.setattr(remote, "READY_TIMEOUT", 0.1)
    error = (await engine.end_of(start(engine, "a")))["error"]
    assert error == f"Service {engine.directory} did not get ready within 0.1 s"
    await executor.drain()


@pytest.mark.usefixtures("executor")
async def test_job_that_waits_for_its_service_ends_with_its_flow(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.ServicePlan, "command", lambda *_: ["sh", "-c", "exec sleep 600", "sh"])
    job_id = start(engine, "a")
    await asyncio.sleep(0)
    engine.finish_flow("F")
    assert await engine.end_of(job_id) == {"error": "Cancelled: its flow has ended"}


@pytest.mark.usefixtures("executor")
async def test_service_says_what_its_main_said_when_that_failed(engine: Engine) -> None:
    engine.write("def main(service):\n        raise OSError('port in use')")
    for _ in range(2):
        assert (await engine.end_of(start(engine, "a")))["error"].endswith("OSError: port in use")


@pytest.mark.usefixtures("executor")
async def test_service_finds_the_data_directory_of_its_package_in_its_environment(
    engine: Engine, tmp_path: Path
) -> None:
    engine.write("""
        import os

        def main(service):
            service.block_handler = lambda name, inputs, context: {"out": os.environ["OOCANA_PKG_DIR"]}
    """)
    assert await engine.end_of(start(engine, "a")) == {"result": {"out": str(tmp_path / "data")}}
