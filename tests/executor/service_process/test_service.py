"""What a service does for its jobs: handlers of all kinds, every failure answered, its ends and signs of life."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from oocana_async.executor.services.lifetime import StopAt
from oocana_async.testing.manual_clock import ManualClock

if TYPE_CHECKING:
    from tests.executor.service_process.conftest import Serve
    from tests.executor.small_engine import Engine

pytestmark = pytest.mark.anyio

DICTIONARY = """
    state = {"total": 0}

    def add(inputs, context):
        state["total"] += inputs["n"]
        context.output("out", state["total"])

    async def get(inputs, context):
        await context.output("out", state["total"])

    def main(service):
        service.block_handler = {"add": add, "get": get}
"""


def outputs(engine: Engine, job_id: str) -> list[Any]:
    return [body["output"] for body in engine.of("session/S") if body.get("output") and body["job_id"] == job_id]


# --- handlers ---------------------------------------------------------------------------------------------------------


async def test_blocks_share_the_state_of_their_service(serve: Serve, engine: Engine) -> None:
    service = await serve(DICTIONARY)
    assert await service.run("add", {"n": 2}) == {}
    assert await service.run("add", {"n": 3}) == {}
    job_id = service.start("get")
    assert await engine.end_of(job_id) == {}
    assert outputs(engine, job_id) == [5]


async def test_one_function_handles_all_blocks_by_name(serve: Serve) -> None:
    service = await serve("""
        def main(service):
            service["block_handler"] = lambda name, inputs, context: {"out": [name, inputs["n"]]}
    """)
    assert await service.run("anything", {"n": 1}) == {"result": {"out": ["anything", 1]}}


async def test_async_main_and_async_handler_share_one_loop(serve: Serve) -> None:
    service = await serve("""
        import asyncio

        async def main(service):
            loop = asyncio.get_running_loop()
            queue = asyncio.Queue(1)

            async def feed():
                while True:
                    await queue.put("fed")

            async def handler(name, inputs, context):
                return {"out": [await queue.get(), asyncio.get_running_loop() is loop]}

            task = asyncio.create_task(feed())
            service.block_handler = handler
    """)
    assert await service.run("a") == {"result": {"out": ["fed", True]}}
    assert await service.run("a") == {"result": {"out": ["fed", True]}}


async def test_context_of_a_handler_is_that_of_its_job(serve: Serve, engine: Engine) -> None:
    service = await serve("""
        from oocana import Context

        def handler(name, inputs, context: Context):
            print("hello")
            return {"out": [context.job_id, context.session_id, context.tmp_dir == context.session_dir,
                            context.node_id, isinstance(context, Context)]}

        def main(service):
            service.block_handler = handler
    """)
    job_id = service.start("a")
    assert await engine.end_of(job_id) == {"result": {"out": [job_id, "S", True, "node", True]}}
    assert [body["log"] for body in engine.of("report") if body["type"] == "BlockLog"] == ["hello"]


async def test_jobs_run_at_the_same_time(serve: Serve, engine: Engine) -> None:
    service = await serve("""
        import threading
        both = threading.Barrier(2, timeout=10)

        def handler(name, inputs, context):
            both.wait()

        def main(service):
            service.block_handler = handler
    """)
    jobs = [service.start("a"), service.start("a")]
    assert [await engine.end_of(job_id) for job_id in jobs] == [{}, {}]


async def test_handler_that_is_replaced_counts_for_later_jobs(serve: Serve) -> None:
    service = await serve("""
        def main(service):
            def second(name, inputs, context):
                return {"out": 2}

            def first(name, inputs, context):
                service.block_handler = second
                return {"out": 1}

            service.block_handler = first
    """)
    assert [await service.run("a"), await service.run("a")] == [{"result": {"out": 1}}, {"result": {"out": 2}}]


async def test_a_job_that_is_sent_twice_runs_once(serve: Serve, engine: Engine) -> None:
    service = await serve(DICTIONARY)
    await service.run("add", {"n": 1})
    (run,) = [body for topic, body in engine.seen if topic.endswith("action/run/I1")]
    engine.publish(service.topics.run("I1"), run)
    await service.run("get")
    assert len(engine.ends_of("J1")) == 1


async def test_block_ready_comes_before_the_inputs_and_the_end_is_told_to_the_executor(
    serve: Serve, engine: Engine
) -> None:
    service = await serve(DICTIONARY)
    job_id = service.start("add", {"n": 1})
    await engine.until(lambda: engine.of(service.topics.ended))
    order = [body.get("type", topic) for topic, body in engine.seen]
    assert order[-5:] == ["BlockReady", "BlockInputs", "BlockOutput", "BlockFinished", service.topics.ended]
    assert engine.of(service.topics.ended) == [{"instance": "I1", "job_ids": [job_id]}]


# --- readiness --------------------------------------------------------------------------------------------------------


async def test_jobs_wait_for_notify_ready(serve: Serve, engine: Engine) -> None:
    service = await serve("""
        import threading
        go = threading.Event()

        def main(service):
            service.waiting_ready_notify = True
            service.block_handler = lambda name, inputs, context: {"out": "late"}
            service.add_message_callback(lambda message: service.notify_ready())
    """)
    job_id = service.start("a")
    warning = await engine.until(lambda: [body for body in engine.of("report") if body["type"] == "BlockWarning"])
    assert "no block_handler is ready" in warning[0]["warning"]
    assert engine.ends_of(job_id) == []
    engine.publish("/service/message", {"job_id": job_id, "node_id": "n", "flow_path": "f", "payload": None})
    assert await engine.end_of(job_id) == {"result": {"out": "late"}}


async def test_job_of_a_flow_that_ends_does_not_wait_any_longer(serve: Serve, engine: Engine) -> None:
    service = await serve("def main(service): pass")
    job_id = service.start("a")
    await engine.until(lambda: [body for body in engine.of("report") if body["type"] == "BlockWarning"])
    engine.finish_flow("F")
    assert await engine.end_of(job_id) == {"error": "Cancelled: its flow has ended"}


# --- failures ---------------------------------------------------------------------------------------------------------


async def test_unknown_block_is_answered(serve: Serve) -> None:
    service = await serve(DICTIONARY)
    assert await service.run("multiply") == {"error": "block multiply not found"}


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_exception_of_a_handler_is_answered_without_our_frames(serve: Serve, kind: str) -> None:
    service = await serve(f"""
        {kind} handler(name, inputs, context):
            raise LookupError("no such row")

        def main(service):
            service.block_handler = handler
    """)
    error = (await service.run("a"))["error"]
    assert error.endswith("LookupError: no such row")
    assert "oocana_async" not in error
    assert error.count("File ") == 1


async def test_sys_exit_of_a_handler_ends_only_its_job(serve: Serve) -> None:
    service = await serve("""
        import sys

        def handler(name, inputs, context):
            return sys.exit(3) if name == "exit" else {"out": 1}

        def main(service):
            service.block_handler = handler
    """)
    assert await service.run("exit") == {"error": "block call exit with message: 3"}
    assert await service.run("go on") == {"result": {"out": 1}}


async def test_result_that_is_no_dictionary_is_answered(serve: Serve) -> None:
    service = await serve("def main(service):\n        service.block_handler = lambda name, inputs, context: 7")
    error = "return object needs to be a dictionary, but get type: <class 'int'>"
    assert await service.run("a") == {"error": error}


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def main(service):\n    raise OSError('port in use')", "OSError: port in use"),
        ("async def main(service):\n    raise OSError('port in use')", "OSError: port in use"),
        ("import no_such_module_here", "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("x = 1", "function main not found in main.py"),
        ("def main(service):\n    service.block_handler = 5", "a dictionary or a function, but got int"),
        ("import sys\ndef main(service):\n    sys.exit('bye')", "block call exit with message: bye"),
    ],
    ids=["exception", "async exception", "import", "no function", "bad handler", "exit"],
)
async def test_main_that_fails_is_the_error_of_the_jobs_and_the_end_of_the_service(
    serve: Serve, engine: Engine, source: str, error: str
) -> None:
    clock = ManualClock()
    engine.write(source)
    service = await serve(source, clock=clock)
    assert (await service.run("a"))["error"].endswith(error)
    await engine.until(lambda: engine.of(service.topics.ended))
    clock.advance(0)
    assert await service.over() == "its main function failed"
    assert service.service.has_failed


async def test_main_that_fails_after_its_handlers_are_there_does_not_end_the_service(serve: Serve) -> None:
    service = await serve("""
        def main(service):
            service.block_handler = lambda name, inputs, context: {"out": 1}
            raise OSError("late")
    """)
    assert await service.run("a") == {"result": {"out": 1}}
    assert not service.service.has_failed


async def test_a_message_that_cannot_be_read_is_skipped(serve: Serve, engine: Engine) -> None:
    service = await serve(DICTIONARY)
    engine.bus.publish_nowait(service.topics.run("I1"), b'{"half')
    assert await service.run("add", {"n": 1}) == {}


# --- messages of front ends -------------------------------------------------------------------------------------------


async def test_message_of_a_front_end_reaches_all_callbacks_in_order(serve: Serve, engine: Engine) -> None:
    service = await serve("""
        import queue
        seen = queue.Queue()

        async def second(message):
            seen.put(["second", message])

        def fails(message):
            raise ValueError("of the callback")

        def main(service):
            service.add_message_callback(lambda message: seen.put(["first", message]))
            service.add_message_callback(fails)
            service.add_message_callback(second)
            service.block_handler = handler

        def handler(name, inputs, context):
            context.output("out", "up")
            return {"out": seen.get(timeout=10)}
    """)
    job_id = service.start("a")
    await engine.until(lambda: outputs(engine, job_id))
    message = {"job_id": job_id, "node_id": "n", "flow_path": "f", "payload": {"x": 1}}
    engine.publish("/service/message", {**message, "job_id": "somebody else's"})
    engine.publish("/service/message", message)
    assert await engine.end_of(job_id) == {"result": {"out": ["first", message]}}
    assert await service.run("b") == {"result": {"out": ["second", message]}}


# --- life -------------------------------------------------------------------------------------------------------------


async def test_status_comes_at_the_start_and_every_five_seconds(serve: Serve, engine: Engine) -> None:
    clock = ManualClock()
    await serve(DICTIONARY, clock=clock)
    status = {"service_hash": "HASH", "session_id": "S", "executor": "python", "instance": "I1"}
    await engine.until(lambda: engine.of("service/report/status") == [status])
    clock.advance(5)
    await engine.until(lambda: engine.of("service/report/status") == [status] * 2)


async def test_a_service_says_that_it_is_up_and_answers_pings(serve: Serve, engine: Engine) -> None:
    service = await serve(DICTIONARY)
    assert await engine.until(lambda: engine.of("/S/service/python/HASH/report/prepare")) == [{"instance": "I1"}]
    engine.publish("/S/service/python/HASH/action/ping", {})
    assert await engine.until(lambda: engine.of("/S/service/python/HASH/report/pong")) == [{"instance": "I1"}]
    assert service.topics.ping == "/S/service/python/HASH/action/ping"


@pytest.mark.parametrize("topic", ["/S/service/python/HASH/action/shutdown", "service/global/action/shutdown"])
async def test_shutdown_ends_a_service_with_an_exit_report(serve: Serve, engine: Engine, topic: str) -> None:
    service = await serve(DICTIONARY)
    await service.run("add", {"n": 1})
    engine.publish(topic, "whatever")
    assert await service.over() == "it was asked to shut down"
    await service.service.aclose()
    await engine.until(lambda: engine.of("service/report/exit"))


async def test_end_of_its_session_ends_a_session_service_and_cancels_its_jobs(serve: Serve, engine: Engine) -> None:
    service = await serve("""
        import asyncio

        async def handler(name, inputs, context):
            context.output("out", 1)
            await asyncio.sleep(600)

        def main(service):
            service.block_handler = handler
    """)
    job_id = service.start("a")
    await engine.until(lambda: outputs(engine, job_id))
    engine.finish_session("another")
    engine.finish_session()
    assert await service.over() == "its session is over"
    assert await engine.end_of(job_id) == {"error": "Cancelled: the session is over"}


async def test_global_service_serves_session_after_session(serve: Serve, engine: Engine) -> None:
    service = await serve(DICTIONARY, stop_at=StopAt.NEVER)
    assert service.topics.prepare == "service/python/HASH/report/prepare"
    await service.run("add", {"n": 1})
    engine.finish_session()
    assert await service.run("add", {"n": 1}, session_id="S2") == {}
    totals = [body["output"] for body in engine.of("session/S2") if body["type"] == "BlockOutput"]
    assert totals == [2]


async def test_global_service_forgets_a_session_whose_executor_leaves(serve: Serve, engine: Engine) -> None:
    service = await serve(
        """
        import asyncio

        def main(service):
            async def handler(name, inputs, context):
                context.output("out", 1)
                await asyncio.sleep(600)

            service.block_handler = handler
    """,
        stop_at=StopAt.APP_END,
    )
    job_id = service.start("a")
    await engine.until(lambda: outputs(engine, job_id))
    engine.publish("service/python/HASH/action/end_session", {"session_id": "S"})
    assert await engine.end_of(job_id) == {"error": "Cancelled: the session is over"}
    assert not service.service.is_over


async def test_block_end_counts_from_the_last_job(serve: Serve, engine: Engine) -> None:
    clock = ManualClock()
    service = await serve(DICTIONARY, stop_at=StopAt.BLOCK_END, keep_alive=3, clock=clock)
    for number in (1, 2):
        await service.run("add", {"n": 1})
        await engine.until(lambda: len(engine.of(service.topics.ended)) == number)  # noqa: B023 - called at once
        clock.advance(2.9)
        assert not service.service.is_over
    clock.advance(0.2)
    assert await service.over() == "it is no longer needed"


async def test_environment_of_the_process_is_that_of_the_context(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OO_HOST_ENDPOINT", "here")
    service = await serve("""
        def main(service):
            service.block_handler = lambda name, inputs, context: {"out": context.host_endpoint}
    """)
    assert await service.run("a") == {"result": {"out": os.environ["OO_HOST_ENDPOINT"]}}


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_main_that_returns_without_a_handler_is_warned_about(serve: Serve, engine: Engine, kind: str) -> None:
    service = await serve(f"{kind} main(service): pass")
    service.start("a")
    (warning,) = await engine.until(lambda: [body for _, body in engine.seen if body.get("type") == "BlockWarning"])
    assert "has returned, but no block_handler is ready" in warning["warning"]


async def test_service_that_is_leaving_takes_no_job(serve: Serve, engine: Engine) -> None:
    service = await serve(DICTIONARY)
    service.service.leave("of the test")
    service.start("add", {"n": 1})
    engine.publish(service.topics.ping, {})
    await engine.until(lambda: engine.of(service.topics.pong))  # it has read the job, which came before
    assert engine.of("session/S") == []
