"""A stub engine: does with executors what the engine does, and drops what it drops (protocol.md 2 and 3)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.publishing import PublishingConnection
from tests.stub.answers import answer
from tests.stub.jobs import Block, Job
from tests.stub.parsing import (
    BlockError,
    BlockFinished,
    BlockOutput,
    BlockOutputs,
    BlockReady,
    ExecutorReady,
    RejectedError,
    SessionMessage,
    read,
)
from tests.stub.process import ExecutorProcess, ExecutorState, argument_list
from tests.stub.wire import Consumer

__all__ = ["Block", "Job", "StubEngine"]

Json = dict[str, Any]


class StubEngine:
    """One session on a broker; use it as an async context manager.

    Args:
        address: `HOST:PORT` of the broker.
        directory: an empty directory for the session, the temporary files and the home of executors.
        command: what to start as executor, with arguments that go before the engine's own.
        reporter: whether events go to `report`; in real life off by default.
        pace: messages of the session topic a second that are taken, None for as fast as it goes.
        front: read `report` as a front end would, into `reports`.
        session_id: None for a new one.
        environment: variables for executors besides HOME and those of the engine.
        repeat_after: seconds without BlockReady after which run_block is sent again.
        ready_within: seconds that executors have until ExecutorReady.
        executor_address: where executors reach the broker, if not at `address`.

    Attributes:
        blocks: what `run_block` of a scriptlet finds by name; a function plays a subflow: it gets the engine and the
            child's job id.
        credentials: what `query_auth` finds by id; None when there is no vault.
        rejected: messages that the engine would not have understood.
        dropped: messages of jobs that the engine does not know (any more).
        foreign: number of messages of other sessions.
        deaf_to_readies: number of BlockReady messages to lose, which may happen to them at QoS 0.
    """

    def __init__(
        self,
        address: str,
        directory: Path,
        *,
        command: Sequence[str] = ("python-executor",),
        reporter: bool = True,
        pace: float | None = None,
        front: bool = True,
        session_id: str | None = None,
        environment: Mapping[str, str] | None = None,
        repeat_after: float = 3.0,
        ready_within: float = 5.0,
        executor_address: str | None = None,
    ) -> None:
        self.address = address
        self.session_id = session_id or str(uuid.uuid4())
        self.directory = directory
        self.home = directory / "home"
        self.session_dir = directory / "session"
        self.tmp_dir = directory / "tmp"
        self.workspace = directory / "workspace"
        self.flow_job_id = str(uuid.uuid4())
        self.reporter = reporter
        self.blocks: dict[str, Block | Callable[[StubEngine, str], object]] = {}
        self.credentials: dict[str, dict[str, str]] | None = None
        self.rejected: list[str] = []
        self.dropped: list[SessionMessage] = []
        self.foreign = 0
        self.deaf_to_readies = 0
        self.readies: list[tuple[float, ExecutorReady]] = []
        self.reports: list[Json] = []
        self.jobs: dict[str, Job] = {}
        self.executors: dict[str, ExecutorProcess | ExecutorState] = {}
        self.processes: list[ExecutorProcess] = []
        self.command = list(command)
        self._environment = dict(environment or {})
        self._executor_address = executor_address or address
        self._repeat_after = repeat_after
        self._ready_within = ready_within
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        where = Broker.parse(address)
        self._publishing = PublishingConnection(where, client_id=f"oocana-scheduler-{self.session_id}-out")
        topic = f"session/{self.session_id}"
        self._consumer = Consumer(
            where.host,
            where.port,
            client_id=f"oocana-scheduler-{self.session_id}",
            topic=topic,
            take=self._take,
            pace=pace,
        )
        self._front = Consumer(
            where.host, where.port, client_id=f"front-{self.session_id}", topic="report", take=self._see, qos=0
        )
        self._stack = contextlib.AsyncExitStack()
        self._has_front = front
        self._closing = False

    async def __aenter__(self) -> Self:
        for directory in (self.home, self.session_dir, self.tmp_dir / self.workspace.name, self.workspace):
            directory.mkdir(parents=True, exist_ok=True)
        await self._stack.enter_async_context(self._publishing)
        await self._stack.enter_async_context(self._consumer)
        if self._has_front:
            await self._stack.enter_async_context(self._front)
        self.report("SessionStarted", create_at=_now(), path=str(self.workspace), partial=False, cache=False)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing = True
        for timer in self._timers:
            timer.cancel()
        while tasks := set(self._tasks):
            for process in self.processes:
                await process.aclose()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks -= tasks  # their callbacks may not have run: gathering finished tasks gives the loop no turn
        await self._stack.aclose()

    async def until(self, condition: Callable[[], bool], within: float = 20.0) -> None:
        """Wait until a condition holds; it is looked at whenever the engine has taken something."""
        async with asyncio.timeout(within):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    # --- messages out -------------------------------------------------------------------------------------------------

    def publish(self, topic: str, body: Json | bytes) -> None:
        """Publish at QoS 1."""
        payload = body if isinstance(body, bytes) else msgspec.json.encode(body)
        self._publishing.publish_nowait([(topic, payload, 1)])

    def report(self, kind: str, job: Job | None = None, **fields: Any) -> None:
        """Publish an event to `report`, if the reporter is on."""
        if not self.reporter:
            return
        about = {} if job is None else {"job_id": job.job_id, "stacks": job.payload["stacks"]}
        self.publish("report", {"session_id": self.session_id, **about, **fields, "type": kind})

    async def flush(self) -> None:
        """Wait until the broker has all that was published."""
        await self._publishing.flush()

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def write_block(self, source: str, *, name: str = "block.py", **options: Any) -> Block:
        """Write a scriptlet into the workspace; options are those of `Block`."""
        path = self.workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        outputs = options.pop("outputs", {"out": {"handle": "out"}})
        return Block(path.name, path.parent, outputs=outputs, **options)

    def start(
        self,
        block: Block,
        inputs: Mapping[str, Any] | None = None,
        *,
        node: str = "node",
        job_id: str | None = None,
        stacks: list[Json] | None = None,
        identifier: str | None = None,
    ) -> Job:
        """Let a job be due; its executor is started when there is none."""
        if stacks is None:
            flow = str(self.workspace / "flow.oo.yaml")
            stacks = [{"flow_job_id": self.flow_job_id, "flow": flow, "node_id": node}]
        identifier = identifier or self.identifier()
        job = Job(self.session_id, job_id or str(uuid.uuid4()), identifier, block, dict(inputs or {}), stacks)
        self.jobs[job.job_id] = job
        self.report("BlockStarted", job, inputs=dict(inputs or {}), create_at=_now())
        executor = self.executors.get(identifier)
        if executor is None:
            self.spawn(identifier)
        elif _state(executor) is ExecutorState.TIMED_OUT:
            self._fail(job, f"Executor python identifier {identifier} timed out while starting")
        else:
            self._run_block(job)
        return job

    async def run(self, source: str, inputs: Mapping[str, Any] | None = None, **options: Any) -> Job:
        """Write a scriptlet, run it, wait for its end."""
        job = self.start(self.write_block(source, **options), inputs)
        await job.end()
        return job

    def _run_block(self, job: Job) -> None:
        job.sends += 1
        self.publish("executor/python/run_block", job.payload)
        self._later(self._repeat_after, self._repeat, job)

    def _repeat(self, job: Job) -> None:
        if job.job_id in self.jobs and not job.readies:
            self._run_block(job)

    def _later(self, delay: float, action: Callable[..., None], *arguments: Any) -> None:
        def act() -> None:
            self._timers.discard(timer)
            action(*arguments)

        if not self._closing:
            timer = asyncio.get_running_loop().call_later(delay, act)
            self._timers.add(timer)

    # --- messages in --------------------------------------------------------------------------------------------------

    def _see(self, payload: bytes) -> None:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            event = msgspec.json.decode(payload, type=dict[str, Any])
            if event.get("session_id") == self.session_id:
                self.reports.append(event)
                self._changed.set()

    def _take(self, payload: bytes) -> None:
        try:
            message = read(payload)
        except RejectedError as error:
            self.rejected.append(str(error))
        else:
            if message.session_id != self.session_id:
                self.foreign += 1
            elif isinstance(message, ExecutorReady):
                self._executor_ready(message)
            elif (job := self.jobs.get(message.job_id)) is None:
                self.dropped.append(message)
            else:
                self._take_from(job, message)
        self._changed.set()

    def _take_from(self, job: Job, message: Any) -> None:
        if isinstance(message, BlockReady):
            if self.deaf_to_readies:
                self.deaf_to_readies -= 1
                return
            job.readies += 1
            self.publish(f"inputs/{self.session_id}/{job.job_id}", job.take_inputs())
            return
        job.messages.append(message)
        match message:
            case BlockOutput():
                self.report("BlockOutput", job, handle=message.handle, output=message.output)
            case BlockOutputs():
                self.report("BlockOutputs", job, outputs=message.outputs)
            case BlockError():
                self.report("BlockError", job, error=message.error)
            case BlockFinished():
                self._block_finished(job, message)
            case _:
                answer(self, job, message)

    def _block_finished(self, job: Job, end: BlockFinished) -> None:
        found = {"result": end.result} if end.error is None and end.result is not None else {}
        error = {} if end.error is None else {"error": end.error}
        self.report("BlockFinished", job, **found, **error, finish_at=_now())
        if end.error is not None and job.is_child:
            job.hopeless = True
        else:
            job.hopeless = False
            del self.jobs[job.job_id]
        job.finish(end)

    def _fail(self, job: Job, error: str) -> None:
        """End a job on the engine's own account; it says so on the session topic and hears its own echo."""
        body = {"type": "BlockFinished", "session_id": self.session_id, "job_id": job.job_id, "error": error}
        self.publish(f"session/{self.session_id}", body)

    # --- executors ----------------------------------------------------------------------------------------------------

    def identifier(self, scope: str | None = None) -> str:
        """Return the identifier of a scope, by default that of the workspace."""
        digest = hashlib.sha256((scope or str(self.workspace)).encode()).hexdigest()
        return f"{self.session_id}-{digest[:16]}"

    def arguments(self, identifier: str) -> list[str]:
        """Return the argument list for an executor."""
        known = argument_list(
            self.session_id, self._executor_address, identifier, session_dir=self.session_dir, tmp_dir=self.tmp_dir
        )
        return [*known, "--package", str(self.workspace)]

    def spawn(self, identifier: str | None = None, *arguments: str) -> None:
        """Start an executor; nothing is sent to it before its ExecutorReady."""
        identifier = identifier or self.identifier()
        self.executors[identifier] = ExecutorState.SPAWNED
        task = asyncio.create_task(self._spawn(identifier, arguments), name=f"stub engine owns {identifier}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _spawn(self, identifier: str, arguments: tuple[str, ...]) -> None:
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        own = {"HOME": str(self.home), "IS_FORKED": "1", "OOCANA_PKG_DIR": str(data)}
        command = [*self.command, *self.arguments(identifier), *arguments]
        process = await ExecutorProcess.spawn(identifier, command, {**own, **self._environment}, self.workspace)
        self.executors[identifier] = process
        self.processes.append(process)
        watch = asyncio.create_task(self._watch(process), name=f"stub engine watches {identifier}")
        self._tasks.add(watch)
        watch.add_done_callback(self._tasks.discard)
        self._later(self._ready_within, self._not_ready, process)
        self._changed.set()

    def _executor_ready(self, message: ExecutorReady) -> None:
        self.readies.append((time.monotonic(), message))
        identifier = message.identifier
        if message.executor_name != "python" or identifier is None:
            return
        executor = self.executors.get(identifier)
        if _state(executor) is ExecutorState.TIMED_OUT:
            return
        if isinstance(executor, ExecutorProcess):
            executor.state = ExecutorState.READY
        else:
            self.executors[identifier] = ExecutorState.READY
        for job in list(self.jobs.values()):
            if job.identifier == identifier and not job.hopeless:
                self._run_block(job)

    def _not_ready(self, process: ExecutorProcess) -> None:
        if process.state is not ExecutorState.SPAWNED:
            return
        process.state = ExecutorState.TIMED_OUT
        text = f'identifier Some("{process.identifier}") for package None timeout after {self._ready_within:g}s'
        self._fail_all(process.identifier, f"Executor python-executor {text}")

    async def _watch(self, process: ExecutorProcess) -> None:
        """Forget a process that ended; only an exit code other than 0 ends its jobs."""
        with contextlib.suppress(asyncio.CancelledError):
            code = await process.wait(within=600)
            process.state = ExecutorState.EXITED
            if self.executors.get(process.identifier) is process:
                del self.executors[process.identifier]
            if code:
                self._fail_all(process.identifier, f"Executor python-executor exit with code {max(code, -1)}")
        self._changed.set()

    def _fail_all(self, identifier: str, error: str) -> None:
        for job in self.jobs.values():
            if job.identifier == identifier and not job.hopeless:
                self._fail(job, error)

    @property
    def process(self) -> ExecutorProcess:
        """The executor that was started last."""
        return self.processes[-1]

    async def ready(self, count: int = 1) -> ExecutorProcess:
        """Wait for a number of ExecutorReady; starts an executor when there is none. Returns the last process."""
        if not self.executors:
            self.spawn()
        await self.until(lambda: len(self.readies) >= count)
        return self.process

    # --- ends ---------------------------------------------------------------------------------------------------------

    def finish_flow(self, flow_job_id: str | None = None, error: str | None = None) -> None:
        """Report the end of the flow."""
        self.report(
            "FlowFinished",
            job_id=flow_job_id or self.flow_job_id,
            flow_path="",
            stacks=[],
            error=error,
            finish_at=_now(),
        )

    def time_out(self, job: Job, seconds: float = 1) -> None:
        """End a job because it took too long; the executor is not told but through the report."""
        self.report("BlockError", job, error=f"{job.job_id} timeout after {seconds:g}s")
        self.report("BlockFinished", job, error="Timeout", finish_at=_now())
        del self.jobs[job.job_id]

    async def finish_session(self, terminate_after: float = 0.6) -> list[int]:
        """End the session: SessionFinished, SIGTERM a little later; returns the exit codes of all executors."""
        self.report("SessionFinished", finish_at=_now(), path=str(self.workspace), partial=False, cache=False)
        self._later(terminate_after, self.terminate)
        return [await process.wait() for process in self.processes]

    def terminate(self) -> None:
        """Send SIGTERM to every executor."""
        for process in self.processes:
            process.terminate()

    async def die(self) -> None:
        """Die as the engine does when its broker connection breaks: nothing is said, nobody is killed."""
        for process in self.processes:
            process.stop_reading()


def _state(executor: ExecutorProcess | ExecutorState | None) -> ExecutorState | None:
    return executor.state if isinstance(executor, ExecutorProcess) else executor


def _now() -> int:
    return int(time.time() * 1000)
