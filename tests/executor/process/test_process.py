"""The process `python-executor` from its start to its exit code, under the stub engine and a real broker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.stub.parsing import BlockFinished

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker
    from tests.executor.conftest import StartEngine
    from tests.stub.engine import StubEngine

pytestmark = [pytest.mark.anyio, pytest.mark.broker]

EXECUTOR = str(Path(sys.executable).parent / "python-executor")

IMPATIENT = """
import functools
from oocana_async.transport import broker
from oocana_async.transport.mqtt.reconnecting import ConnectTimeouts
broker.MqttTransport = functools.partial(broker.MqttTransport, timeouts=ConnectTimeouts(first=0.3, again=0.3))
from oocana_async.executor.process.entry import script
script()
"""
"""The executor, but one that gives a broker up after 0.3 s."""

FOR_EVER = "async def main(params, context):\n    context.output('out', 1)\n    await __import__('asyncio').sleep(600)"


# --- arguments and environment ----------------------------------------------------------------------------------------


def test_missing_flags_exit_with_2() -> None:
    ended = subprocess.run([EXECUTOR, "--session-id", "S"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "--session-dir, --tmp-dir" in ended.stderr


async def test_unknown_flag_is_tolerated(engine: StubEngine) -> None:
    engine.spawn(None, "--brand-new", "value")
    job = await engine.run("def main(params, context):\n    return {'out': 1}")
    assert job.messages == [BlockFinished(session_id=engine.session_id, job_id=job.job_id, result={"out": 1})]


async def test_ready_echoes_the_arguments(engine: StubEngine) -> None:
    await engine.ready()
    _, ready = engine.readies[0]
    assert (ready.executor_name, ready.identifier) == ("python", engine.identifier())
    assert ready.package == str(engine.workspace)


async def test_block_sees_directories_and_environment(start_engine: StartEngine) -> None:
    engine = await start_engine(environment={"OOMOL_TOKEN": "t", "OOMOL_HOST_GPU_VENDOR": "v"})
    job = await engine.run(
        "import os, sys\n"
        "from oocana import Context\n"
        "async def main(params, context: Context):\n"
        "    dirs = [context.session_dir, context.tmp_dir, context.tmp_pkg_dir, context.pkg_data_dir]\n"
        "    return {'out': [*dirs, await context.oomol_token(), context.host_info['gpu_vendor'], sys.path[-1],\n"
        "                    os.environ['IS_FORKED']]}"
    )
    where = engine.directory
    assert job.messages[-1] == BlockFinished(
        session_id=engine.session_id,
        job_id=job.job_id,
        result={
            "out": [
                str(where / "session"),
                str(where / "tmp"),
                str(where / "tmp" / "workspace"),
                str(where / "data"),
                "t",
                "v",
                str(where / "workspace"),
                "1",
            ]
        },
    )


# --- ready ------------------------------------------------------------------------------------------------------------


async def test_first_job_needs_no_repeated_run_block(start_engine: StartEngine) -> None:
    """The engine answers ExecutorReady at once with the job, so the executor must have subscribed by then."""
    engine = await start_engine(repeat_after=600)
    job = await engine.run("def main():\n    pass")
    assert (job.sends, job.readies) == (1, 1)


async def test_ready_does_not_wait_for_heavy_libraries(engine: StubEngine) -> None:
    job = await engine.run(
        "import sys\ndef main():\n    heavy = ('pandas', 'matplotlib', 'plotly')\n"
        "    return {'out': [name for name in heavy if name in sys.modules]}"
    )
    assert job.messages[-1].result == {"out": []}  # type: ignore[union-attr]


async def test_lost_block_ready_is_sent_again(engine: StubEngine) -> None:
    block = engine.write_block("def main(params):\n    return {'out': params['a']}")
    await engine.ready()
    engine.deaf_to_readies = 1
    job = engine.start(block, {"a": 1})
    assert (await job.end()).result == {"out": 1}
    assert job.sends == 2


# --- which messages are for it ----------------------------------------------------------------------------------------


async def test_only_own_jobs_are_run(engine: StubEngine) -> None:
    block = engine.write_block("def main():\n    pass")
    await engine.ready()
    own = engine.start(block, job_id="own")
    for change in ({"session_id": "foreign"}, {"identifier": "foreign"}, {"identifier": None}):
        engine.publish("executor/python/run_block", {**own.payload, "job_id": "other", **change})
    last = engine.start(block, job_id="last")
    await last.end()
    assert engine.dropped == []  # no BlockReady of the jobs that the engine has not started here


async def test_repeated_run_block_runs_once(engine: StubEngine) -> None:
    block = engine.write_block("def main(params, context):\n    print('ran')", name="once.py")
    await engine.ready()
    job = engine.start(block)
    for _ in range(3):
        engine.publish("executor/python/run_block", job.payload)
    await job.end()
    engine.publish("executor/python/run_block", job.payload)
    await engine.run("def main():\n    pass", name="later.py")
    assert [event["log"] for event in engine.reports if event["type"] == "BlockLog"] == ["ran"]
    assert (job.readies, engine.dropped) == (1, [])


async def test_running_job_survives_a_second_ready(start_engine: StartEngine) -> None:
    """A second executor with the same identifier is sent the job again, but its inputs have been handed out."""
    engine = await start_engine()
    await engine.ready()
    block = engine.write_block(
        "import asyncio, os\n"
        "async def main(params, context):\n"
        "    await context.output('out', params['a'])\n"
        "    while not os.path.exists('go'):\n"
        "        await asyncio.sleep(0.01)\n",
        inputs_def={"a": {"handle": "a"}},
    )
    job = engine.start(block, {"a": 1})
    await engine.until(lambda: bool(job.outputs))
    engine.spawn()
    await engine.until(lambda: job.readies == 2)
    other = engine.start(engine.write_block("def main(params):\n    return {'out': 2}", name="other.py"))
    assert (await other.end()).result == {"out": 2}
    await engine.until(lambda: bool(engine.dropped))  # the other executor has run it too: both were asked to
    (engine.workspace / "go").touch()
    assert (await job.end()).error is None
    assert job.outputs == [("out", 1)]


async def test_two_sessions_on_one_broker(start_engine: StartEngine) -> None:
    first, second = await start_engine(), await start_engine()
    source = "def main(params, context):\n    print(context.session_id)\n    return {'out': params['a']}"
    jobs = [
        engine.start(engine.write_block(source), {"a": f"{engine.session_id} {n}"}, job_id=f"J{n}")
        for n in range(20)
        for engine in (first, second)
    ]
    for job in jobs:
        await job.end()
    for engine in (first, second):
        ends = [job.ended.result().result for job in jobs if job.payload["session_id"] == engine.session_id]
        assert ends == [{"out": f"{engine.session_id} {n}"} for n in range(20)]
        assert (engine.dropped, engine.rejected) == ([], [])
    assert await first.finish_session() == [0]
    assert (await second.run("def main():\n    return {'out': 1}", name="still.py")).outputs == []


async def test_two_executors_of_one_session(engine: StubEngine) -> None:
    block = engine.write_block("import os\ndef main():\n    return {'out': os.getpid()}")
    package = engine.identifier("/package")
    jobs = [engine.start(block), engine.start(block, identifier=package)]
    ends = [await job.end() for job in jobs]
    pids = {end.result["out"] for end in ends if end.result}
    assert pids == {process.pid for process in engine.processes}
    assert len(pids) == 2


# --- exit codes -------------------------------------------------------------------------------------------------------


async def test_session_finished_exits_with_0(engine: StubEngine) -> None:
    process = await engine.ready()
    engine.publish("report", {"type": "SessionFinished", "session_id": "foreign", "finish_at": 1})
    engine.report("SessionFinished", job_id="remote", block_path="/b", stacks=[], finish_at=1)
    await engine.run("def main():\n    pass")
    assert process.exit_code is None
    assert await engine.finish_session(terminate_after=600) == [0]


async def test_terminate_without_jobs_exits_with_0(start_engine: StartEngine) -> None:
    engine = await start_engine(reporter=False)
    await engine.ready()
    assert await engine.finish_session(terminate_after=0) == [0]


async def test_terminate_delivers_what_is_queued(start_engine: StartEngine) -> None:
    engine = await start_engine(reporter=False, pace=10_000)
    await engine.ready()
    block = engine.write_block(
        "import asyncio\n"
        "async def main(params, context):\n"
        "    for n in range(5000):\n"
        "        context.output('out', n)\n"
        "    try:\n"
        "        await asyncio.sleep(600)\n"
        "    finally:\n"
        "        context.output('out', 'cleaned up')\n"
    )
    job = engine.start(block)
    await engine.until(lambda: len(job.messages) >= 10)
    engine.terminate()
    assert await engine.process.wait() == 143
    assert "Cancelled" in str((await job.end()).error)
    assert [value for _, value in job.outputs] == [*range(5000), "cleaned up"]
    assert isinstance(job.messages[-1], BlockFinished)


async def test_engine_gone_exits_with_1(engine: StubEngine) -> None:
    job = engine.start(engine.write_block(FOR_EVER))
    await engine.until(lambda: bool(job.outputs))
    await engine.die()
    assert await engine.process.wait() == 1
    assert "Cancelled" in str((await job.end()).error)


async def test_broker_gone_exits_with_1(broker: MosquittoBroker, start_engine: StartEngine) -> None:
    engine = await start_engine(command=(sys.executable, "-c", IMPATIENT))
    process = await engine.ready()
    broker.stop()
    assert await process.wait() == 1


async def test_no_broker_exits_with_1(broker: MosquittoBroker, tmp_path: Path) -> None:
    broker.stop()
    arguments = ["--session-id", "S", "--session-dir", ".", "--tmp-dir", ".", "--address", broker.address]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", IMPATIENT, *arguments, stderr=asyncio.subprocess.PIPE, env={"HOME": str(tmp_path)}
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert f"cannot connect to the broker at {broker.address}".encode() in errors


async def test_death_of_a_block_fails_its_jobs(engine: StubEngine) -> None:
    job = await engine.run("import os\ndef main():\n    os._exit(7)")
    assert (await job.end()).error == "Executor python-executor exit with code 7"
    assert (await engine.run("def main():\n    pass", name="next.py")).ended.result().error is None
    assert len(engine.processes) == 2


# --- logs -------------------------------------------------------------------------------------------------------------


async def test_logs_stand_where_documented_without_bodies(engine: StubEngine) -> None:
    source = (
        "import logging\ndef main(params):\n    logging.getLogger('lib').warning('from a library')\n    return params"
    )
    await engine.run(source, {"a": "in-the-inputs"}, outputs={"a": {"handle": "a"}})
    engine.publish(f"inputs/{engine.session_id}/J", b'{"secret-body')
    await engine.run("def main():\n    pass", name="later.py")
    await engine.finish_session()
    logs = engine.home / ".oocana" / "sessions" / engine.session_id
    text = "".join(path.read_text() for path in logs.iterdir())
    assert (logs / f"python-executor-{engine.identifier()}.log").exists()
    assert f"inputs/{engine.session_id}/J" in text
    assert "in-the-inputs" not in text
    assert "secret-body" not in text


async def test_engine_log_gets_the_two_lines_of_the_start(engine: StubEngine) -> None:
    await engine.ready()
    await engine.finish_session()
    first, second = engine.process.lines
    assert first.startswith("setup logging in ")
    assert second == f"connecting to broker {engine.address} success"
