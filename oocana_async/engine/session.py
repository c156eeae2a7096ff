"""One session from load to end: directories, executors, the runner, the result."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread
from msgspec import Raw

from oocana_async.channel.bus import Bus, BusSubscription, Overflow
from oocana_async.engine.cache import InputCache
from oocana_async.engine.checks.unsupported import check_supported
from oocana_async.engine.directories import Directories, prepare_directories
from oocana_async.engine.env_files import variables_on_top
from oocana_async.engine.events import EventStream, RawEventStream
from oocana_async.engine.hosts.scopes import ExecutorHost, ScopeMap
from oocana_async.engine.manifests.blocks import TaskBlock
from oocana_async.engine.options import SessionOptions
from oocana_async.engine.running.child_start import fill_inputs
from oocana_async.engine.running.intake import Intake
from oocana_async.engine.running.launch import start_flow, start_task
from oocana_async.engine.running.records import RunRecord, RunResult, Status
from oocana_async.engine.running.report_events import Reporter
from oocana_async.engine.running.runner import SessionOutcome, SessionRunner
from oocana_async.engine.running.starting import Starter
from oocana_async.engine.running.tasks import TaskOwner
from oocana_async.engine.target import LoadedTarget, load_target, with_nodes_inputs
from oocana_async.errors import ClosedError, EncodingError, LoadError
from oocana_async.wire import topics
from oocana_async.wire.encoding import encode
from oocana_async.wire.messages.report import ErrorInfo

__all__ = ["CANCELLED", "Session"]

CANCELLED = "Cancelled"
"""Error of a session that was ended from outside."""


class Session:
    """A run of one target; made by `open_session`.

    Attributes:
        session_id: the session.
    """

    def __init__(self, options: SessionOptions) -> None:
        self.session_id = options.session_id or str(uuid.uuid4())
        self._options = options
        self._inputs = _encode_inputs(options.inputs or {})
        self._bus = Bus()
        self._record = RunRecord(options.keep)
        self._reporter: Reporter | None = None
        self._runner: SessionRunner | None = None
        self._loaded: LoadedTarget | None = None
        self._cancelled = False
        self._started_at = self._finished_at = 0
        self._over = asyncio.Event()
        self._result: asyncio.Future[RunResult] = asyncio.get_running_loop().create_future()
        self._streams: list[BusSubscription] = []
        self._is_reported = False
        self._path = self._argument()
        # A raw task, which `aclose` waits for: a task group around the `yield` of `open_session` would wrap the errors
        # of the caller's own block into groups, and cancel that block when the run fails.
        self._task = asyncio.create_task(self._run_to_end(), name=f"oocana session {self.session_id}")

    # -- for people --------------------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The target's manifest; as given until it is loaded, then as resolved."""
        return self._path

    @property
    def loaded(self) -> LoadedTarget | None:
        """What was loaded, with warnings; None before that and when loading failed."""
        return self._loaded

    def events(self, *, limit: int = 10_000, lossless: bool = False) -> EventStream:
        """Watch the session's events from now on; called before the first `await`, it misses none.

        Args:
            limit: events that may wait to be read; beyond it the oldest are dropped and counted.
            lossless: nothing is dropped, the engine waits instead; then the stream must be read to its end or closed.

        Raises:
            ClosedError: The session is over.
        """
        return EventStream(self._watch(limit, lossless=lossless))

    def raw_events(self, *, limit: int = 10_000, lossless: bool = False) -> RawEventStream:
        """Watch the session's events as JSON texts; otherwise like `events`."""
        return RawEventStream(self._watch(limit, lossless=lossless))

    async def result(self) -> RunResult:
        """Wait for the end and return how it went; may be called again.

        Waits until every block has ended and the executors have left. Cancelling it leaves the session running.

        Raises:
            LoadError: The target cannot be loaded, or needs executors that do not exist here.
        """
        return await asyncio.shield(self._result)

    def cancel(self) -> None:
        """End the session now with the error "Cancelled"; does nothing when it is over."""
        self._cancelled = True
        if self._runner is not None:
            self._runner.close(SessionOutcome(CANCELLED))

    async def aclose(self) -> None:
        """Cancel what still runs and wait until nothing of the session is left; may be called twice."""
        self.cancel()
        await asyncio.wait([self._task])
        if self._result.done() and not self._result.cancelled():
            self._result.exception()  # seen: leaving a session that could not be loaded is no failure of its own

    # -- life --------------------------------------------------------------------------------------------------------

    def _argument(self) -> Path:
        target = self._options.target
        return target.path if isinstance(target, LoadedTarget) else Path(target)

    def _watch(self, limit: int, *, lossless: bool) -> BusSubscription:
        if self._is_reported:
            raise ClosedError(f"the session {self.session_id} is over; watch it from its start")
        overflow = Overflow.WAIT if lossless else Overflow.DROP_OLDEST
        # Bound: `limit` and what the caller chose; drained by the caller; closed after SessionFinished.
        stream = self._bus.subscribe(topics.REPORT, limit=limit, overflow=overflow)
        self._streams.append(stream)
        return stream

    async def _run_to_end(self) -> None:
        try:
            result = await self._run()
        except BaseException as error:
            self._finish_report(SessionOutcome(_reason(error)))
            if not self._result.done():
                self._result.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            self._result.set_result(result)
        finally:
            self._over.set()
            self._bus.close()

    async def _run(self) -> RunResult:
        from time import time_ns

        def now_ms() -> int:
            return time_ns() // 1_000_000

        self._started_at = now_ms()
        self._reporter = Reporter(self.session_id, self._bus.publish_nowait, now_ms)
        options = self._options
        try:
            self._loaded = await anyio.to_thread.run_sync(self._load, abandon_on_cancel=True)
            self._path = self._loaded.path
            directories = self._directories(self._loaded.path)
        finally:
            self._reporter.session_started(str(self._path), partial=bool(options.nodes), cache=options.use_cache)
        outcome = SessionOutcome(_reason(None))
        try:
            outcome = await self._run_loaded(self._loaded, directories, now_ms)
        finally:
            directories.close(succeeded=outcome.error is None)
        self._finished_at = now_ms()
        return self._summary(outcome)

    def _load(self) -> LoadedTarget:
        options = self._options
        loaded = options.target
        if not isinstance(loaded, LoadedTarget):
            loaded = load_target(loaded, search_paths=options.search_paths, nodes_inputs=options.nodes_inputs)
        elif options.nodes_inputs:
            loaded = with_nodes_inputs(loaded, options.nodes_inputs)
        check_supported(loaded.root)
        return loaded

    def _directories(self, path: Path) -> Directories:
        options = self._options
        return prepare_directories(
            path,
            self.session_id,
            session_dir=options.session_dir,
            temp_root=options.temp_root,
            project_data=options.project_data,
            pkg_data_root=options.pkg_data_root,
        )

    async def _run_loaded(
        self, loaded: LoadedTarget, directories: Directories, now_ms: Callable[[], int]
    ) -> SessionOutcome:
        options = self._options
        env = variables_on_top(options.env, os.environ)
        scopes = ScopeMap(
            self.session_id,
            session_dir=directories.session,
            tmp_dir=directories.tmp,
            project_data=directories.project_data,
            pkg_data_root=directories.pkg_data_root,
            env=env,
        )
        host = (options.host or _default_host)(self._bus, options.max_threads)
        try:
            async with TaskOwner() as tasks:
                runner = SessionRunner(
                    self.session_id, self._bus, host, scopes, tasks, record=self._record, now_ms=now_ms
                )
                runner.on_outcome = self._on_outcome
                self._runner = runner
                await self._drive(Starter(runner, env=env), tasks, loaded)
                assert runner.outcome is not None
        finally:
            await host.aclose()
        return runner.outcome

    async def _drive(self, starter: Starter, tasks: TaskOwner, loaded: LoadedTarget) -> None:
        runner = starter.runner
        if self._cancelled:
            runner.close(SessionOutcome(CANCELLED))
            return
        intake = Intake(runner, self._bus, starter)
        tasks.start_soon(f"messages of {self.session_id}", intake.run)
        self._launch(starter, loaded)
        try:
            await self._over.wait()
        finally:
            intake.close()
            tasks.cancel_all()

    def _launch(self, starter: Starter, loaded: LoadedTarget) -> None:
        options, root = self._options, loaded.root
        inputs = fill_inputs(self._inputs, root.inputs_def) or None
        if isinstance(root, TaskBlock):
            start_task(starter, root, self._path, inputs, loaded.search)
        else:
            start_flow(
                starter,
                root,
                inputs,
                nodes=options.nodes,
                cached=InputCache().load(root) if options.use_cache else {},
                keep_latest=options.save_cache,
            )
        starter.runner.drain()

    def _on_outcome(self, outcome: SessionOutcome) -> None:
        self._finish_report(outcome)
        self._over.set()

    def _finish_report(self, outcome: SessionOutcome) -> None:
        """Report the end of the session, once, and end the streams."""
        if self._is_reported:
            return
        self._is_reported = True
        info = ErrorInfo(outcome.cause, outcome.stack) if outcome.stack else None
        if self._reporter is not None:
            self._reporter.session_finished(
                str(self._path),
                error=outcome.error,
                info=info,
                partial=bool(self._options.nodes),
                cache=self._options.use_cache,
            )
        for stream in self._streams:
            stream.close()
        self._save_cache()

    # -- end ---------------------------------------------------------------------------------------------------------

    def _save_cache(self) -> None:
        root = self._runner.root if self._runner is not None else None
        if root is not None and root.state.latest is not None:
            InputCache().save(root.plan.graph, root.state.latest)

    def _summary(self, outcome: SessionOutcome) -> RunResult:
        cancelled = outcome.error == CANCELLED and self._cancelled
        failed = Status.CANCELLED if cancelled else Status.FAILED
        record = self._record
        return RunResult(
            status=Status.SUCCEEDED if outcome.error is None else failed,
            session_id=self.session_id,
            path=self._path,
            outputs=record.outputs,
            output_counts=record.output_counts,
            runs=record.runs,
            run_count=record.run_count,
            error=outcome.error,
            cause=outcome.cause,
            stack=tuple(outcome.stack),
            started_at=self._started_at,
            finished_at=self._finished_at,
        )


def _encode_inputs(inputs: Mapping[str, Any]) -> dict[str, Raw]:
    encoded = {}
    for handle, value in inputs.items():
        try:
            encoded[handle] = Raw(encode(value))
        except EncodingError as error:
            raise error.about(f"input [{handle}]") from error
    return encoded


def _reason(error: BaseException | None) -> str:
    if isinstance(error, LoadError):
        return f"Failed to read block {error}"
    if isinstance(error, asyncio.CancelledError):
        return CANCELLED
    return f"The engine failed: {error!r}" if error is not None else "The engine failed"


def _default_host(bus: Bus, max_threads: int | None) -> ExecutorHost:
    from oocana_async.engine.hosts.in_process import InProcessHost
    from oocana_async.transport.memory import MemoryTransport

    return InProcessHost(MemoryTransport(bus), max_threads=max_threads)
