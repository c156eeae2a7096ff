"""All manifests that one load needs: each file read once, each reference looked up once."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from oocana_async.engine.manifests.blocks import Place, SearchContext, ServiceBlock, TaskBlock
from oocana_async.engine.manifests.findings import listed
from oocana_async.engine.manifests.lookup import Form, Kind, explain, find, parse_reference
from oocana_async.engine.manifests.manifest import (
    FlowManifest,
    Reference,
    ServiceManifest,
    ServicePart,
    Spot,
    SubflowPart,
    TaskManifest,
    TaskPart,
)
from oocana_async.engine.manifests.packages import dependencies_of, package_root
from oocana_async.engine.manifests.reading.files import (
    Faults,
    hides_source,
    read_flow_file,
    read_service_file,
    read_task_file,
)
from oocana_async.errors import LoadError, ManifestError
from oocana_async.suggestions import suggest

_SLOT_KINDS: Mapping[str, Kind] = {"task": Kind.TASK, "subflow": Kind.SUBFLOW, "slotflow": Kind.SLOTFLOW}


class Sources:
    """The files of one load.

    Attributes:
        flows: every flow file that was read.
        faults: everything that was found wrong so far.
    """

    def __init__(self, search_paths: Sequence[Path], installed: Mapping[str, str]) -> None:
        self.flows: dict[Path, FlowManifest] = {}
        self.faults = Faults()
        self._search_paths = tuple(search_paths)
        self._installed = installed
        self._contexts: dict[Path, SearchContext] = {}
        self._tasks: dict[Path, TaskBlock | None] = {}
        self._services: dict[Path, ServiceManifest | None] = {}
        self._found: dict[tuple[Path, Kind, str], Path | None] = {}

    def raise_faults(self) -> None:
        """Raise all faults at once, if there are any: file by file as they were reached, line by line in each.

        Raises:
            LoadError: There are.
        """
        if self.faults.errors:
            reached = list(dict.fromkeys(fault.path for fault in self.faults.errors))
            order = {path: number for number, path in enumerate(reached)}
            raise LoadError(sorted(self.faults.errors, key=lambda f: (order[f.path], f.line or 0, f.column or 0)))

    def fault(self, path: Path, at: Spot, reason: str, hint: str = "") -> None:
        """Record a fault at a place of a file."""
        self.faults.errors.append(ManifestError(reason, path=path, line=at[0], column=at[1], hint=hint))

    def context(self, flow: Path) -> SearchContext:
        """Return what the references of one flow file are looked up with."""
        context = self._contexts.get(flow)
        if context is None:
            versions = {**self._installed, **dependencies_of(package_root(flow))}
            context = SearchContext(flow.parent, self._search_paths, versions, self._installed)
            self._contexts[flow] = context
        return context

    def read_flows(self, root: Path) -> None:
        """Read a flow file and, from there, every file that it needs."""
        waiting = deque([root])
        while waiting:
            path = waiting.popleft()
            if path in self.flows:
                continue
            self.flows[path] = read_flow_file(path, self.faults)
            waiting.extend(self._reach(self.flows[path]))

    def _reach(self, flow: FlowManifest) -> Iterator[Path]:
        """Look up all references of a flow; tasks and services are read at once, flows are yielded."""
        for node in flow.live():
            part = node.part
            if isinstance(part, TaskPart) and isinstance(part.task, Reference):
                self.referred_task(flow.path, part.task)
            elif isinstance(part, ServicePart):
                self.service_block(flow.path, part.service)
            elif isinstance(part, SubflowPart):
                yield from self._reach_subflow(flow.path, part)

    def _reach_subflow(self, flow: Path, part: SubflowPart) -> Iterator[Path]:
        references = [(Kind.SUBFLOW, part.subflow), *((_SLOT_KINDS[s.kind], s.reference) for s in part.slots)]
        for kind, reference in references:
            if kind is Kind.TASK:
                self.referred_task(flow, reference)
            elif (found := self.find(flow, kind, reference)) is not None:
                yield found

    def find(self, flow: Path, kind: Kind, reference: Reference, text: str | None = None) -> Path | None:
        """Return the file that a reference means; None, and a fault the first time, when there is none."""
        text = reference.text if text is None else text
        key = (flow.parent, kind, text)
        if key not in self._found:
            self._found[key] = self._look_up(flow, kind, reference, text)
        return self._found[key]

    def _look_up(self, flow: Path, kind: Kind, reference: Reference, text: str) -> Path | None:
        if kind is Kind.SLOTFLOW and parse_reference(text).form is not Form.SELF:
            self.fault(flow, reference.at, f'a slotflow must be named as "self::name", found "{text}"')
            return None
        context = self.context(flow)
        search = find(kind, text, context)
        if search.path is None:
            self.fault(flow, reference.at, *explain(kind, text, context, search.places))
        return search.path

    def referred_task(self, flow: Path, reference: Reference) -> TaskBlock | None:
        """Return the task that a flow names, None after a fault."""
        path = self.find(flow, Kind.TASK, reference)
        return None if path is None else self.task(path)

    def task(self, path: Path) -> TaskBlock | None:
        """Return the task of a file, None after a fault."""
        if path not in self._tasks:
            manifest = read_task_file(path, self.faults)
            self._tasks[path] = None if manifest is None else task_block(manifest, path, inline=False)
        return self._tasks[path]

    def service_block(self, flow: Path, reference: Reference) -> ServiceBlock | None:
        """Return the block of a service that a flow names, None after a fault."""
        text, block_name = _service_reference(reference.text)
        path = self.find(flow, Kind.SERVICE, reference, text)
        if path is None:
            return None
        if path not in self._services:
            self._services[path] = read_service_file(path, self.faults)
        service = self._services[path]
        return None if service is None else self._block_of(service, flow, reference, block_name)

    def _block_of(
        self, service: ServiceManifest, flow: Path, reference: Reference, block_name: str
    ) -> ServiceBlock | None:
        entry = service.blocks.get(block_name)
        if entry is None:
            names = tuple(service.blocks)
            reason = (
                f'the service {service.path} has no block "{block_name}", expected {listed(names, "one; it has none")}'
            )
            self.fault(flow, reference.at, reason, suggest(block_name, names))
            return None
        if service.executor is None:
            self.fault(flow, reference.at, f'the service {service.path} names no executor, expected "executor.name"')
            return None
        directory = service.path.parent
        return ServiceBlock(
            service.path,
            directory,
            package_root(service.path),
            block_name,
            service.executor,
            hashlib.sha256(str(directory).encode()).hexdigest()[:16],
            entry.inputs_def,
            entry.outputs_def,
        )


def _service_reference(text: str) -> tuple[str, str]:
    """Split `package::service::block`, and `self::service::block`, into what to look up and the block's name."""
    head, _, block = text.rpartition("::")
    if text.startswith("self::") and head != "self":
        return head, block
    return text, block or text


def task_block(manifest: TaskManifest, path: Path, *, inline: bool) -> TaskBlock:
    """Return the task of a file, or the inline task of a flow file (flow-format.md 4.1)."""
    root = package_root(path)
    return TaskBlock(
        None if inline else path,
        path.parent,
        root,
        manifest.executor,
        manifest.inputs_def,
        manifest.outputs_def,
        manifest.additional_inputs,
        manifest.additional_outputs,
        manifest.description,
        hide_source=not inline and hides_source(root),
        source=Place(path, *manifest.at),
    )
