"""Loading a target: files, references and everything they reach, with all faults raised together."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from oocana_async.engine.checks.runnable import check_unfed
from oocana_async.engine.checks.subject import subjects
from oocana_async.engine.graph.building import build_root
from oocana_async.engine.graph.graph import Graph
from oocana_async.engine.graph.overrides import NodesInputs, override_inputs
from oocana_async.engine.manifests.blocks import SearchContext, TaskBlock
from oocana_async.engine.manifests.findings import Finding
from oocana_async.engine.manifests.lookup import SUFFIXES, Kind, Search, clean, explain, find, find_flow
from oocana_async.engine.manifests.manifest import FlowManifest
from oocana_async.engine.manifests.packages import dependencies_of, installed_versions
from oocana_async.engine.manifests.reading.files import has_executor
from oocana_async.engine.manifests.sources import Sources
from oocana_async.errors import LoadError, ManifestError
from oocana_async.suggestions import suggest


@dataclass(frozen=True, slots=True)
class LoadedTarget:
    """What `load_target` found.

    Attributes:
        root: the graph or the task to run.
        path: the manifest as resolved, `path` of the session events.
        warnings: what is ignored but hardly meant, with places.
        flows: what is written in each flow file that was read, for `oocana-async check`.
        search: what the references that running blocks send are looked up with.
    """

    root: Graph | TaskBlock
    path: Path
    warnings: tuple[Finding, ...] = ()
    flows: Mapping[Path, FlowManifest] = field(default_factory=dict)
    search: SearchContext = field(default_factory=lambda: SearchContext(Path.cwd()))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the garbage collector still while many objects are made that all live: it would take most of the time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def load_target(
    target: str | os.PathLike[str],
    *,
    search_paths: Sequence[str | os.PathLike[str]] = (),
    base_dir: str | os.PathLike[str] | None = None,
    nodes_inputs: NodesInputs | None = None,
) -> LoadedTarget:
    """Load what `oocana-async run` is asked to run, and everything that it refers to (flow-format.md 1.8).

    Args:
        target: a manifest file, a directory that holds one, or a reference such as `self::name`.
        search_paths: package search paths, in order; `~` is expanded.
        base_dir: what a relative target and references start from, the current directory when None.
        nodes_inputs: node id -> handle -> value, for nodes of the root flow: replaces the static values of declared
            handles.

    Returns:
        The target, ready to run.

    Raises:
        LoadError: Something cannot be found or read; it carries all faults of the load.
    """
    base = clean(Path.cwd() if base_dir is None else Path(base_dir))
    paths = tuple(clean(base / Path(path).expanduser()) for path in search_paths)
    text = os.fspath(target)
    if (base / text).exists():
        text = str(clean(base / text))
    with _collector_paused():
        versions = installed_versions(paths)
        context = SearchContext(base, paths, {**versions, **dependencies_of(base)}, versions)
        sources = Sources(paths, versions)
        return _with_inputs(_load(text, context, base, sources), nodes_inputs or {})


def with_nodes_inputs(loaded: LoadedTarget, nodes_inputs: NodesInputs) -> LoadedTarget:
    """Return a loaded flow with other static values of its nodes; see `load_target`."""
    before = tuple(warning for warning in loaded.warnings if warning.code != "never-runs")
    return _with_inputs(replace(loaded, warnings=before), nodes_inputs)


def _with_inputs(loaded: LoadedTarget, nodes_inputs: NodesInputs) -> LoadedTarget:
    """Replace static values, then say which nodes lack one for ever (flow-format.md 5.2)."""
    if not isinstance(loaded.root, Graph):
        return loaded
    root, warnings = override_inputs(loaded.root, nodes_inputs)
    warnings += dict.fromkeys(found for subject in subjects(root, loaded.flows) for found in check_unfed(subject))
    return replace(loaded, root=root, warnings=(*loaded.warnings, *warnings))


def resolve_block(reference: str, where: Graph | SearchContext) -> TaskBlock | Graph:
    """Load the block that a running block names in RunBlock or QueryBlock (flow-format.md 6.1, 6.2).

    Args:
        reference: any reference; one that is a flow file relative to the current directory wins.
        where: the flow whose directory, search paths and dependencies count.

    Returns:
        The task, or the graph with its slots unfilled.

    Raises:
        LoadError: Nothing is found, it cannot be read, or it is a service.
    """
    context = where.search if isinstance(where, Graph) else where
    with _collector_paused():
        sources = Sources(context.search_paths, context.installed or installed_versions(context.search_paths))
        return _load(reference, context, Path.cwd(), sources).root


def _load(text: str, context: SearchContext, here: Path, sources: Sources) -> LoadedTarget:
    path, is_task = _locate(text, context, here)
    if is_task:
        task = sources.task(path)
        sources.raise_faults()
        assert task is not None, "a task that cannot be read leaves a fault"
        return LoadedTarget(task, path, tuple(sources.faults.warnings), search=sources.context(path))
    sources.read_flows(path)
    sources.raise_faults()
    graph = build_root(path, sources)
    sources.raise_faults()
    return LoadedTarget(graph, path, tuple(sources.faults.warnings), sources.flows, graph.search)


def _locate(text: str, context: SearchContext, here: Path) -> tuple[Path, bool]:
    """Return the manifest that a target means, and whether it is a task."""
    start = clean(here / text)
    flow = find_flow(start)
    if flow is not None:
        return flow, False
    kinds = _kinds(text, context, here)
    searches: list[Search] = []
    for kind in kinds:
        search = find(kind, text, context)
        searches.append(search)
        if search.path is None:
            continue
        if kind is Kind.SERVICE:
            raise _refused(search.path, "a service cannot be run by itself, expected a flow, a subflow or a task")
        if kind is Kind.SUBFLOW:
            return search.path, False
        if _is_task(search.path):
            return search.path, True
    if start.is_file():
        names = "a manifest such as flow.oo.yaml, task.oo.yaml or NAME.oo.yaml, or a scriptlet NAME.py"
        raise _refused(start, f"by its name this is no manifest, expected {names}")
    if "::" not in text:
        searches.append(Search(places=[start / f"flow{SUFFIXES[0]}"]))
    raise _not_found(text, context, searches)


def _kinds(text: str, context: SearchContext, here: Path) -> tuple[Kind, ...]:
    path = here / text
    if path.is_file():
        return _BY_STEM.get(path.stem, (Kind.TASK, Kind.SUBFLOW, Kind.SERVICE))
    if path.is_dir() and find(Kind.SUBFLOW, text, context).path is not None:
        return (Kind.SUBFLOW,)
    return (Kind.TASK, Kind.SUBFLOW, Kind.SERVICE)


_BY_STEM: Mapping[str, tuple[Kind, ...]] = {
    "task.oo": (Kind.TASK,),
    "block.oo": (Kind.TASK,),
    "flow.oo": (Kind.SUBFLOW,),
    "subflow.oo": (Kind.SUBFLOW,),
    "service.oo": (Kind.SERVICE,),
}


def _is_task(path: Path) -> bool:
    """A file with a task's own name is one; any other file is one when it has an executor."""
    return path.stem in ("task.oo", "block.oo") or has_executor(path)


def _refused(path: Path, reason: str) -> LoadError:
    return LoadError([ManifestError(reason, path=path)])


def _not_found(text: str, context: SearchContext, searches: Sequence[Search]) -> LoadError:
    if text.endswith(SUFFIXES):
        path = clean(context.base / text)
        names = [entry.name for entry in path.parent.glob("*.oo.*")] if path.parent.is_dir() else []
        reason = f"there is no file {path}" if path.parent.is_dir() else f"there is no directory {path.parent}"
        return LoadError([ManifestError(reason, hint=suggest(path.name, sorted(names)))])
    places = [place for search in searches for place in search.places]
    reason, hint = explain(Kind.TASK, text, context, places)
    hint = hint or explain(Kind.SUBFLOW, text, context, places)[1]
    return LoadError([ManifestError(reason.replace("the task", "the block", 1), hint=hint)])
