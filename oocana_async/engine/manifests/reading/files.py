"""Reading manifest files: flows, tasks, services, packages (flow-format.md 1.1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from yaml.nodes import MappingNode, Node, SequenceNode

from oocana_async.engine.manifests.findings import Finding
from oocana_async.engine.manifests.manifest import (
    FlowManifest,
    NodeManifest,
    PackageManifest,
    ServiceManifest,
    TaskManifest,
)
from oocana_async.engine.manifests.reading.block_entries import SERVICE_KEYS, TASK_KEYS, read_service, read_task
from oocana_async.engine.manifests.reading.fields import Fields, Keys
from oocana_async.engine.manifests.reading.handle_entries import read_inputs, read_inputs_from, read_outputs
from oocana_async.engine.manifests.reading.node_entries import read_node
from oocana_async.engine.manifests.yaml import Document, is_blank, read_document
from oocana_async.errors import ManifestError

_FLOW_KEYS: Final = Keys(
    "nodes", "inputs_def", "outputs_def", "outputs_from", "description", "injection", "forward_previews"
)
_PACKAGE_KEYS: Final = Keys(
    "name", "version", "dependencies", "scripts", "exports", ignored=("displayName", "license", "repository")
)


class Faults:
    """All that was found while the files of one target were read.

    Attributes:
        errors: what makes files unreadable or references empty.
        warnings: what is ignored but hardly meant.
    """

    __slots__ = ("errors", "warnings")

    def __init__(self) -> None:
        self.errors: list[ManifestError] = []
        self.warnings: list[Finding] = []

    def take(self, document: Document) -> None:
        """Add what one file has to say, in the order of its lines."""
        self.errors += sorted(document.faults, key=lambda fault: (fault.line or 0, fault.column or 0))
        self.warnings += document.warnings


def _open(path: Path, faults: Faults) -> Document | None:
    try:
        return read_document(path)
    except OSError as error:
        faults.errors.append(ManifestError(f"cannot be read: {error.strerror or error}", path=path))
        return None


def _top(document: Document, keys: Keys, what: str) -> Fields | None:
    """Return the fields of the whole file; an empty file is an empty mapping."""
    root = document.root
    if document.faults:
        return None
    if root is None or is_blank(root):
        root = _empty(document)
    if isinstance(root, MappingNode):
        document.untagged(root)
        return Fields(document, root, keys, strict=False)
    document.fault(root, f"a {what} file must hold a mapping")
    return None


def _empty(document: Document) -> MappingNode:
    filled = Document(document.path, "{}").root
    assert isinstance(filled, MappingNode)
    return filled


def read_flow_file(path: Path, faults: Faults) -> FlowManifest:
    """Read a flow, subflow or slotflow; after faults what could be read of it."""
    document = _open(path, faults)
    if document is None:
        return FlowManifest(path)
    fields = _top(document, _FLOW_KEYS, "flow")
    manifest = FlowManifest(path) if fields is None else _read_flow(fields, path)
    faults.take(document)
    return manifest


def _read_flow(fields: Fields, path: Path) -> FlowManifest:
    strict = fields.strictly()
    return FlowManifest(
        path,
        tuple(_unique(fields.doc, _read_nodes(fields))),
        read_inputs(strict, "inputs_def", groups=True),
        read_outputs(strict, "outputs_def", groups=True),
        read_inputs_from(fields, "outputs_from"),
        fields.optional_text("description"),
        fields.text_map("injection"),
        tuple(fields.texts("forward_previews")),
    )


def _read_nodes(fields: Fields) -> Iterator[NodeManifest]:
    node = fields.get("nodes")
    if node is None or is_blank(node):
        return
    if not isinstance(node, SequenceNode):
        fields.wrong("nodes", node, "a list", "leave it blank for no nodes" if fields.option("nodes") is None else "")
        return
    found = (read_node(fields.doc, item) for item in node.value)
    yield from (entry for entry in found if entry is not None)


def _unique(doc: Document, nodes: Iterator[NodeManifest]) -> Iterator[NodeManifest]:
    """Refuse a second node of the same id: the reference loses connections then (flow-format.md 10)."""
    seen: dict[str, NodeManifest] = {}
    for node in nodes:
        if node.node_id and not node.ignore and node.node_id in seen:
            line, column = node.at
            reason = f'the node id "{node.node_id}" is used twice, first in line {seen[node.node_id].at[0]}'
            doc.faults.append(ManifestError(reason, path=doc.path, line=line, column=column))
        elif not node.ignore:
            seen[node.node_id] = node
        yield node


def has_executor(path: Path) -> bool:
    """Tell whether a file of any name looks like a task: a mapping with the key `executor`."""
    try:
        root: Node | None = read_document(path).root
    except OSError:
        return False
    return isinstance(root, MappingNode) and any(key.value == "executor" for key, _ in root.value)


def read_task_file(path: Path, faults: Faults) -> TaskManifest | None:
    """Read a task, None after faults."""
    document = _open(path, faults)
    if document is None:
        return None
    fields = _top(document, TASK_KEYS, "task")
    manifest = read_task(fields) if fields is not None else None
    faults.take(document)
    return manifest


def read_service_file(path: Path, faults: Faults) -> ServiceManifest | None:
    """Read a service, None after faults."""
    document = _open(path, faults)
    if document is None:
        return None
    fields = _top(document, SERVICE_KEYS, "service")
    manifest = read_service(fields, path) if fields is not None else None
    faults.take(document)
    return manifest


def read_package_file(path: Path) -> PackageManifest | None:
    """Read a package file, None when it cannot be read: it is then as if it were not there."""
    try:
        document = read_document(path)
    except OSError:
        return None
    fields = _top(document, _PACKAGE_KEYS, "package")
    if fields is None:
        return None
    package = PackageManifest(
        fields.optional_text("name"), fields.optional_text("version"), fields.text_map("dependencies")
    )
    fields.text_map("exports")
    return None if document.faults else package


def hides_source(package_path: Path) -> bool:
    """Tell whether `.metadata.oo.json` says that the package's tasks run elsewhere only; one that is broken does."""
    try:
        text = (package_path / ".metadata.oo.json").read_text("utf-8")
        metadata: Any = json.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    hidden = metadata.get("hide_source", False) if isinstance(metadata, dict) else True
    return hidden if isinstance(hidden, bool) else True
