"""A run from the target to the exit code: load it, open a session, show it, tell how it went."""

from __future__ import annotations

import argparse
import contextlib
import functools
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from oocana_async.channel.bus import Bus
from oocana_async.cli.display.choosing import now_ms, record_sinks, view_sink
from oocana_async.cli.display.feeding import show_until_over
from oocana_async.cli.display.sinks import Sink
from oocana_async.cli.failures import ExitCode, UsageError, say
from oocana_async.cli.run_environment import (
    collector_spared_of_what_is_loaded,
    make_directories,
    patched_environment,
    variables,
)
from oocana_async.cli.scriptlet import is_scriptlet, scriptlet_target
from oocana_async.cli.signals import Signals
from oocana_async.cli.suiting import check_suits
from oocana_async.engine.api import FlowOptions, Status, open_session
from oocana_async.engine.hosts.in_process import InProcessHost
from oocana_async.engine.target import LoadedTarget, load_target
from oocana_async.errors import EncodingError, LoadError
from oocana_async.handles.output_values import define_output
from oocana_async.transport.memory import MemoryTransport
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.report import SessionFinished, SessionStarted

__all__ = ["run_target"]


def run_target(options: argparse.Namespace, signals: Signals) -> int:
    """Run a target.

    Returns:
        0 when it succeeded, 1 when it failed, 2 when it cannot be loaded.

    Raises:
        UsageError: An option does not suit the target, or a directory cannot be made.
        Interrupted: A signal ended it; everything it had started is gone.
        BrokenPipeError: Nobody reads stdout any more; likewise.
    """
    changed = variables(options)
    make_directories(options)
    session_id = options.session or str(uuid.uuid4())
    with contextlib.ExitStack() as stack:
        records = record_sinks(options, signals, stack)
        try:
            target = _load(options)
        except LoadError as error:
            _report_unreadable(records, options, session_id, error)
            return _say_faults(error)
        stack.enter_context(collector_spared_of_what_is_loaded())
        for warning in (*target.warnings, *check_suits(options, target)):
            if not options.quiet:
                say(str(warning))
        stack.enter_context(patched_environment(changed))
        view = view_sink(options, signals)
        view.view.place_of = functools.partial(_place_of, target)
        return signals.run(_run(options, target, session_id, changed, [*records, view]))


def _load(options: argparse.Namespace) -> LoadedTarget:
    if is_scriptlet(options.target):
        return scriptlet_target(options.target, options.inputs or (), search_paths=options.search_paths)
    return load_target(options.target, search_paths=options.search_paths, nodes_inputs=options.nodes_inputs)


def _place_of(target: LoadedTarget, flow: str, node_id: str) -> str | None:
    """Return where a node is written, as file:line:column."""
    manifest = target.flows.get(Path(flow))
    spots = (node.at for node in manifest.nodes if node.node_id == node_id) if manifest is not None else ()
    return next((f"{flow}:{line}:{column}" for line, column in spots), None)


def _say_faults(error: LoadError) -> int:
    for fault in error.faults:
        say(str(fault) if fault.place else f"error: {fault}")
    return ExitCode.USAGE


def _report_unreadable(sinks: Sequence[Sink], options: argparse.Namespace, session_id: str, error: LoadError) -> None:
    """Report a session that ends before anything runs (flow-format.md 7.5)."""
    path, partial, cache = str(options.target), bool(options.nodes), bool(options.use_cache)
    started = SessionStarted(session_id=session_id, create_at=now_ms(), path=path, partial=partial, cache=cache)
    finished = SessionFinished(
        session_id=session_id,
        finish_at=now_ms(),
        path=path,
        error=f"Failed to read block {error}",
        partial=partial,
        cache=cache,
    )
    for sink in sinks:
        sink.take([encode_message(started), encode_message(finished)])


async def _run(
    options: argparse.Namespace,
    target: LoadedTarget,
    session_id: str,
    changed: Mapping[str, str],
    sinks: Sequence[Sink],
) -> int:
    more = _flow_options(options, session_id, changed)
    try:
        async with open_session(target, inputs=options.inputs, nodes=options.nodes, **more) as session:
            result = await show_until_over(session, sinks)
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


def _flow_options(options: argparse.Namespace, session_id: str, changed: Mapping[str, str]) -> FlowOptions:
    return FlowOptions(
        search_paths=options.search_paths,
        session_id=session_id,
        session_dir=options.session_dir,
        temp_root=options.temp_root,
        project_data=options.project_data,
        pkg_data_root=options.pkg_data_root,
        env=changed,
        max_threads=options.max_threads,
        use_cache=options.use_cache,
        save_cache=True,
        host=_scriptlet_host if is_scriptlet(options.target) else None,
    )


def _scriptlet_host(bus: Bus, max_threads: int | None) -> InProcessHost:
    """Take whatever a bare scriptlet puts out: nothing declares its outputs, and names may be computed."""
    return InProcessHost(MemoryTransport(bus), max_threads=max_threads, undeclared=define_output)
