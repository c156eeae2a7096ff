"""The analysis behind `oocana-async check`: everything that can be said about a target without running it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from oocana_async.engine.checks.runnable import check_running
from oocana_async.engine.checks.schemas import check_defaults, check_values
from oocana_async.engine.checks.scriptlets import check_service_code, check_task_code
from oocana_async.engine.checks.subject import Subject, subjects, task_of
from oocana_async.engine.checks.unsupported import unsupported
from oocana_async.engine.checks.wiring import check_wiring
from oocana_async.engine.graph.graph import Graph
from oocana_async.engine.manifests.blocks import ServiceBlock, TaskBlock
from oocana_async.engine.manifests.findings import Finding, from_fault
from oocana_async.engine.manifests.packages import dependencies_of, find_package, find_package_file
from oocana_async.engine.target import LoadedTarget, load_target
from oocana_async.errors import LoadError

__all__ = ["Finding", "check_target"]


def check_target(
    target: str | os.PathLike[str],
    *,
    search_paths: Sequence[str | os.PathLike[str]] = (),
    base_dir: str | os.PathLike[str] | None = None,
    nodes_inputs: Mapping[str, Mapping[str, object]] | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Return everything that is wrong or odd about a target and all that it refers to.

    Nothing is imported or run. A target that cannot be loaded has its load faults only.

    Args:
        target: as for `load_target`.
        search_paths: package search paths, in order.
        base_dir: what a relative target starts from, the current directory when None.
        nodes_inputs: values that would be given with `--nodes-inputs`.
        environment: environment variables of the run, those of this process when None.

    Returns:
        Findings by file and line, each once.
    """
    try:
        loaded = load_target(target, search_paths=search_paths, base_dir=base_dir, nodes_inputs=nodes_inputs)
    except LoadError as error:
        return _ordered(from_fault(fault) for fault in error.faults)
    warnings = [warning for warning in loaded.warnings if warning.code != "never-runs"]  # said with more by `_analyse`
    return _ordered((*warnings, *_analyse(loaded, os.environ if environment is None else environment)))


def _analyse(loaded: LoadedTarget, environment: Mapping[str, str]) -> Iterator[Finding]:
    if isinstance(loaded.root, TaskBlock):
        yield from _check_task(loaded.root, environment)
        return
    yield from _check_dependencies(loaded.root)
    for subject in subjects(loaded.root, loaded.flows):
        yield from check_running(subject)
        yield from check_wiring(subject)
        yield from check_values(subject)
        yield from check_defaults(subject.graph)
        yield from _check_blocks(subject, environment)


def _check_blocks(subject: Subject, environment: Mapping[str, str]) -> Iterator[Finding]:
    checked: set[int] = set()
    for node in subject.graph.nodes.values():
        task = task_of(node)
        if task is not None and id(task) not in checked:
            checked.add(id(task))
            yield from _check_task(task, environment)
        elif isinstance(node.block, ServiceBlock):
            yield from unsupported(node.block, node.source, environment)
            yield from check_service_code(node.block, node.source)


def _check_task(task: TaskBlock, environment: Mapping[str, str]) -> Iterator[Finding]:
    yield from unsupported(task, task.source, environment)
    yield from check_task_code(task)
    yield from check_defaults(task)


def _check_dependencies(root: Graph) -> Iterator[Finding]:
    """Yield the dependencies of the target's package that no search path has."""
    path = find_package_file(root.package_path)
    for name, version in dependencies_of(root.package_path).items():
        if find_package(name, root.search) is None:
            message = f'the dependency "{name}" {version} is in no search path'
            hint = f'expected a directory "{name}-{version}" in one of the search paths'
            yield Finding("warning", "unknown-package", path, None, None, message, hint)
    for name in root.injection:
        if find_package(name, root.search) is None:
            message = f'the package "{name}", named in "injection", is in no search path'
            yield Finding("warning", "unknown-package", root.path, None, None, message)


def _ordered(findings: Iterable[Finding]) -> list[Finding]:
    unique = dict.fromkeys(findings)
    return sorted(unique, key=lambda found: (str(found.path or ""), found.line or 0, found.column or 0))
