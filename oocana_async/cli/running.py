"""`oocana-async run`: loads the target, runs it, shows it, and says with the exit code how it went."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import gc
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oocana_async.channel.bus import Bus
from oocana_async.cli.failures import ExitCode, UsageError, say
from oocana_async.cli.options import env_file
from oocana_async.cli.scriptlet import is_scriptlet, scriptlet_target
from oocana_async.cli.signals import Interrupted, Signals
from oocana_async.cli.sinks import JsonLines, LogSink, PlainSink, QuietSink, Sink, ViewSink
from oocana_async.cli.suiting import check_suits
from oocana_async.cli.writing import Writer, machine_stdout
from oocana_async.engine.api import RunResult, Session, Status, open_session
from oocana_async.engine.env_files import variables_on_top
from oocana_async.engine.events import RawEventStream
from oocana_async.engine.hosts.in_process import InProcessHost
from oocana_async.engine.target import LoadedTarget, load_target
from oocana_async.errors import EncodingError, LoadError
from oocana_async.testing.values import define_output
from oocana_async.transport.memory import MemoryTransport
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.report import SessionFinished, SessionStarted

__all__ = ["run_command"]

_DIRECTORIES = ("session_dir", "temp_root", "project_data", "pkg_data_root")
_TICK = 0.125
"""Seconds between two drawings of the live display."""


def run_command(options: argparse.Namespace, signals: Signals) -> int:
    """Run a target.

    Returns:
        0 when it succeeded, 1 when it failed, 2 when it cannot be loaded.

    Raises:
        UsageError: An option does not suit the target, or a directory cannot be made.
        Interrupted: A signal ended it; everything it had started is gone.
        BrokenPipeError: Nobody reads stdout any more; likewise.
    """
    variables = _environment(options)
    _make_directories(options)
    session_id = options.session or str(uuid.uuid4())
    with contextlib.ExitStack() as stack:
        records = _record_sinks(options, signals, stack)
        try:
            target = _load(options)
        except LoadError as error:
            _report_unreadable(records, options, session_id, error)
            return _say_faults(error)
        stack.enter_context(_collector_spared_of_what_is_loaded())
        for warning in (*target.warnings, *check_suits(options, target)):
            if not options.quiet:
                say(str(warning))
        stack.enter_context(_patched_environment(variables))
        views = _view_sinks(options, signals)
        for sink in views:
            sink.view.place_of = functools.partial(_place_of, target)
        return signals.run(_run(options, target, session_id, variables, [*records, *views]))


# -- before the run ---------------------------------------------------------------------------------------------------


def _environment(options: argparse.Namespace) -> Mapping[str, str]:
    given: Mapping[str, str] | None = options.env_file
    if given is None and os.environ.get("OOCANA_ENV_FILE"):
        try:
            given = env_file(os.environ["OOCANA_ENV_FILE"])
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"OOCANA_ENV_FILE: {error}") from error
    return variables_on_top(given, os.environ)


@contextlib.contextmanager
def _patched_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for everything in this process, and take them back."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _place_of(target: LoadedTarget, flow: str, node_id: str) -> str | None:
    """Return where a node is written, as file:line:column."""
    manifest = target.flows.get(Path(flow))
    spots = (node.at for node in manifest.nodes if node.node_id == node_id) if manifest is not None else ()
    return next((f"{flow}:{line}:{column}" for line, column in spots), None)


@contextlib.contextmanager
def _collector_spared_of_what_is_loaded() -> Iterator[None]:
    """Keep full garbage collections from walking the loaded graph again and again: it stays until the run is over."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _make_directories(options: argparse.Namespace) -> None:
    for name in _DIRECTORIES:
        path: Path | None = getattr(options, name)
        if path is not None:
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(f"{flag}: cannot make the directory {path}: {error.strerror}") from error


def _load(options: argparse.Namespace) -> LoadedTarget:
    if is_scriptlet(options.target):
        return scriptlet_target(options.target, options.inputs or (), search_paths=options.search_paths)
    return load_target(options.target, search_paths=options.search_paths, nodes_inputs=options.nodes_inputs)


def _say_faults(error: LoadError) -> int:
    for fault in error.faults:
        say(str(fault) if fault.place else f"error: {fault}")
    return ExitCode.USAGE


def _report_unreadable(sinks: Sequence[Sink], options: argparse.Namespace, session_id: str, error: LoadError) -> None:
    """Report a session that ends before anything runs (flow-format.md 7.5)."""
    path, partial, cache = str(options.target), bool(options.nodes), bool(options.use_cache)
    started = SessionStarted(session_id=session_id, create_at=_now(), path=path, partial=partial, cache=cache)
    finished = SessionFinished(
        session_id=session_id,
        finish_at=_now(),
        path=path,
        error=f"Failed to read block {error}",
        partial=partial,
        cache=cache,
    )
    for sink in sinks:
        sink.take([encode_message(started), encode_message(finished)])


# -- sinks ------------------------------------------------------------------------------------------------------------


def _record_sinks(options: argparse.Namespace, signals: Signals, stack: contextlib.ExitStack) -> list[Sink]:
    """Return the sinks for machines."""
    sinks: list[Sink] = []
    if options.report is not None:
        try:
            file = stack.enter_context(options.report.open("wb", buffering=0))
        except OSError as error:
            raise UsageError(f"--report: cannot write {options.report}: {error.strerror}") from error
        sinks.append(JsonLines(Writer(signals, descriptor=file.fileno())))
    if options.json:
        sinks.append(JsonLines(stack.enter_context(machine_stdout(signals))))
    return sinks


def _view_sinks(options: argparse.Namespace, signals: Signals) -> list[ViewSink]:
    """Return the sinks for people."""
    out = sys.stdout
    if options.quiet or out is None:
        return [QuietSink(_now)]
    if options.json:
        return [LogSink(_now)]
    if out.isatty() and os.environ.get("TERM") != "dumb":
        from oocana_async.cli.live_sink import LiveSink

        return [LiveSink(out, _now)]
    return [PlainSink(Writer.of(out, signals), _now)]


def _now() -> int:
    return time.time_ns() // 1_000_000


# -- the run ----------------------------------------------------------------------------------------------------------


async def _run(
    options: argparse.Namespace,
    target: LoadedTarget,
    session_id: str,
    variables: Mapping[str, str],
    sinks: Sequence[Sink],
) -> int:
    try:
        async with open_session(target, **_session_options(options, session_id, variables)) as session:
            result = await _watch(session, sinks)
    except EncodingError as error:
        raise UsageError(f"--inputs: {error}") from error
    except LoadError as error:
        return _say_faults(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        say(f"error: {error}")
        return ExitCode.FAILED
    finally:
        for sink in sinks:
            sink.close()
    return ExitCode.SUCCESS if result.status is Status.SUCCEEDED else ExitCode.FAILED


def _scriptlet_host(bus: Bus, max_threads: int | None) -> InProcessHost:
    """Take whatever a bare scriptlet puts out: nothing declares its outputs, and names may be computed."""
    return InProcessHost(MemoryTransport(bus), max_threads=max_threads, undeclared=define_output)


def _session_options(options: argparse.Namespace, session_id: str, variables: Mapping[str, str]) -> dict[str, Any]:
    names = ("inputs", "nodes", "search_paths", "max_threads", "use_cache", *_DIRECTORIES)
    return {
        **{name: getattr(options, name) for name in names},
        "session_id": session_id,
        "env": variables,
        "host": _scriptlet_host if is_scriptlet(options.target) else None,
        "save_cache": True,
    }


async def _watch(session: Session, sinks: Sequence[Sink]) -> RunResult:
    """Hand events to the sinks until the session is over; when that fails or is cancelled, the session is ended."""
    stream = session.raw_events(limit=1000, lossless=True)
    reader = asyncio.create_task(_read(stream, sinks, session.cancel), name="oocana-async events")
    ticker = asyncio.create_task(_tick(sinks), name="oocana-async display")
    result = asyncio.ensure_future(session.result())
    try:
        await asyncio.wait((reader, result), return_when=asyncio.FIRST_COMPLETED)
        if not reader.done():
            await asyncio.wait((reader,))
        reader.result()
        return await result
    except asyncio.CancelledError:
        for sink in sinks:
            sink.notify("interrupted, waiting for the blocks to end; Ctrl-C again leaves at once")
        raise
    finally:
        result.cancel()
        session.cancel()
        await asyncio.wait((reader,))
        stream.close()
        ticker.cancel()
        await asyncio.gather(reader, ticker, return_exceptions=True)


async def _read(stream: RawEventStream, sinks: Sequence[Sink], end: Callable[[], None]) -> None:
    """Hand events to the sinks; when one fails the run is ended, and only the others for machines get what is left.

    Raises:
        Interrupted: A signal came while nobody read what a sink writes.
        OSError: A sink cannot be written to.
    """
    failure: Interrupted | OSError | None = None
    able = list(sinks)
    while batch := await stream.receive_many():
        for sink in (one for one in sinks if one in able):
            try:
                sink.take(batch)
            except (Interrupted, OSError) as error:
                able = [one for one in able if one is not sink and isinstance(one, JsonLines)]
                failure = failure or error
                end()
    if failure is not None:
        raise failure


async def _tick(sinks: Sequence[Sink]) -> None:
    while True:
        await asyncio.sleep(_TICK)
        for sink in sinks:
            sink.tick()
