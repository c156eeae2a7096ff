"""Blocks that the embedded engine cannot run on this machine (flow-format.md 1.1, 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from oocana_async.engine.checks.subject import at_place
from oocana_async.engine.manifests.blocks import (
    ConnectorExecutor,
    NodeExecutor,
    Place,
    RustExecutor,
    ServiceBlock,
    TaskBlock,
)
from oocana_async.engine.manifests.findings import Finding

CONNECTOR_URL = "OOCANA_CONNECTOR_BASE_URL"


def check_executor(task: TaskBlock, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield why a task cannot run here."""
    place, path = task.source, task.path or task.directory
    if task.hide_source:
        message = "the task's package hides its source and runs on OOMOL's servers only"
        yield at_place(place, path, "error", "hidden-source", message, "run this flow with the OOCANA engine")
    match task.executor:
        case NodeExecutor():
            yield at_place(place, path, "error", "executor", "a nodejs task cannot run here", _ENGINE)
        case RustExecutor():
            yield at_place(place, path, "error", "executor", "a rust task cannot run here", _ENGINE)
        case ConnectorExecutor(action=action) if not environment.get(CONNECTOR_URL):
            message = f'the connector action "{action}" cannot run, {CONNECTOR_URL} is not set'
            yield at_place(place, path, "error", "executor", message, "set it, or pass --connector-base-url")
        case _:
            pass


def check_service_executor(service: ServiceBlock, place: Place | None) -> Iterator[Finding]:
    """Yield why a service cannot run here."""
    if service.executor.name != "python":
        message = f'the service {service.path} has the executor "{service.executor.name}", only "python" runs here'
        yield at_place(place, service.path, "error", "executor", message, _ENGINE)


_ENGINE = "run this flow with the OOCANA engine"
