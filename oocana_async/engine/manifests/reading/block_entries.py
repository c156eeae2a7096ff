"""Reading what a block is made of: executors, tasks, conditions, services (flow-format.md 1.1, 4, 5.9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from yaml.nodes import MappingNode, Node, ScalarNode

from oocana_async.engine.manifests.blocks import (
    ConditionBlock,
    ConditionCase,
    ConnectorExecutor,
    Expression,
    NodeExecutor,
    PythonExecutor,
    RustExecutor,
    ServiceExecutor,
    ShellExecutor,
    TaskExecutor,
)
from oocana_async.engine.manifests.findings import listed
from oocana_async.engine.manifests.manifest import ServiceEntry, ServiceManifest, TaskManifest
from oocana_async.engine.manifests.operators import OPERATORS
from oocana_async.engine.manifests.reading.fields import Fields, Keys
from oocana_async.engine.manifests.reading.handle_entries import read_inputs, read_outputs
from oocana_async.engine.manifests.yaml import place_of
from oocana_async.suggestions import ask_for, suggest

TASK_KEYS: Final = Keys(
    "executor", "inputs_def", "outputs_def", "description", "additional_inputs", "additional_outputs"
)
SERVICE_KEYS: Final = Keys("executor", "blocks")
CONDITION_KEYS: Final = Keys("cases", "default", "description")

_EXECUTOR_KEYS: Final = Keys("name", "options", ignored=("entry", "function"))
_LANGUAGE_KEYS: Final = Keys("entry", "function", "spawn", ignored=("source",))
_RUST_KEYS: Final = Keys("bin", "args")
_CONNECTOR_KEYS: Final = Keys("action")
_SERVICE_EXECUTOR_KEYS: Final = Keys("name", "entry", "function", "start_at", "stop_at", "keep_alive")
_SERVICE_BLOCK_KEYS: Final = Keys("name", "inputs_def", "outputs_def", "description")
_CASE_KEYS: Final = Keys("handle", "logical", "expressions", "description")
_EXPRESSION_KEYS: Final = Keys("input_handle", "operator", "value", "description")
_DEFAULT_KEYS: Final = Keys("handle", "description")

_EXECUTORS: Final = ("python", "nodejs", "shell", "rust", "connector")
_START_AT: Final = ("block_start", "session_start", "app_start")
_STOP_AT: Final = ("session_end", "block_end", "app_end", "never")


def read_task(fields: Fields) -> TaskManifest | None:
    """Read a task block, None after a fault that leaves nothing to run."""
    node = fields.require("executor")
    strict = fields.strictly()
    inputs_def = read_inputs(strict, "inputs_def", groups=True)
    outputs_def = read_outputs(strict, "outputs_def", groups=True)
    executor = None if node is None else _read_executor(fields, node)
    if executor is None:
        return None
    return TaskManifest(
        executor,
        place_of(fields.node),
        inputs_def,
        outputs_def,
        _additional(fields, "additional_inputs"),
        _additional(fields, "additional_outputs"),
        fields.optional_text("description"),
    )


def _additional(fields: Fields, key: str) -> bool:
    node = fields.option(key)
    if node is None:
        return False
    value: Any = fields.doc.scalar(node) if isinstance(node, ScalarNode) else fields.doc.json(node)
    return value if isinstance(value, bool) else True


def _read_executor(fields: Fields, node: Node) -> TaskExecutor | None:
    if not isinstance(node, MappingNode):
        fields.wrong("executor", node, f"a mapping with the key name, one of {listed(_EXECUTORS)}")
        return None
    executor = Fields(fields.doc, node, _EXECUTOR_KEYS)
    name_node = executor.require("name")
    name = executor.as_text("name", name_node) if name_node is not None else None
    if name is None or name_node is None:
        return None
    if name not in _EXECUTORS:
        reason = f'there is no executor "{name}", expected {listed(_EXECUTORS)}'
        fields.doc.fault(name_node, reason, suggest(name, _EXECUTORS))
        return None
    return _read_options(executor, name)


def _read_options(executor: Fields, name: str) -> TaskExecutor | None:
    match name:
        case "shell":
            return ShellExecutor()
        case "rust":
            return _read_rust(executor)
        case "connector":
            return _read_connector(executor)
    node = executor.option("options")
    kind = PythonExecutor if name == "python" else NodeExecutor
    options = executor.mapping("options", node, _LANGUAGE_KEYS) if node is not None else None
    if options is None:
        if "entry" in executor:
            executor.doc.warn(
                executor.node, "entry-without-options", '"entry" beside "name" is ignored', 'write it under "options"'
            )
        return kind()
    return kind(options.optional_text("entry"), options.optional_text("function"), options.flag("spawn"))


def _read_rust(executor: Fields) -> RustExecutor | None:
    node = executor.get("options")
    if node is None:
        return RustExecutor()
    options = executor.mapping("options", node, _RUST_KEYS)
    return RustExecutor(options.text("bin"), tuple(options.texts("args"))) if options is not None else None


def _read_connector(executor: Fields) -> ConnectorExecutor | None:
    node = executor.require("options")
    options = executor.mapping("options", node, _CONNECTOR_KEYS) if node is not None else None
    return ConnectorExecutor(options.text("action")) if options is not None else None


def read_conditions(fields: Fields) -> ConditionBlock:
    """Read the `conditions` of a condition node."""
    cases = fields.each("cases", _CASE_KEYS, _read_case) or ()
    node = fields.option("default")
    default = fields.mapping("default", node, _DEFAULT_KEYS) if node is not None else None
    return ConditionBlock(tuple(cases), default.text("handle") if default is not None else None)


def _read_case(case: Fields) -> ConditionCase:
    expressions: list[Expression] = []
    node = case.require("expressions")
    for item in case.items("expressions", node):
        entry = case.mapping("an entry of expressions", item, _EXPRESSION_KEYS)
        if entry is not None:
            expressions.append(Expression(entry.text("input_handle"), _read_operator(entry), entry.json("value")))
    handle = case.text("handle")
    return ConditionCase(handle, tuple(expressions), "AND" if _read_logical(case) == "AND" else "OR")


def _read_logical(case: Fields) -> str:
    logical = case.optional_text("logical")
    if logical not in (None, "AND", "OR"):
        node = case.get("logical")
        assert node is not None
        hint = f'write "{logical.upper()}"' if logical.upper() in ("AND", "OR") else ""
        case.doc.fault(node, f'"logical" must be "AND" or "OR", found "{logical}"', hint)
    return logical or "OR"


def _read_operator(entry: Fields) -> str:
    node = entry.require("operator")
    operator = entry.as_text("operator", node) if node is not None else None
    if operator is None or node is None:
        return "=="
    if operator not in OPERATORS:
        reason = f'there is no operator "{operator}", expected {listed(tuple(OPERATORS))}'
        slip = _COMMON_SLIPS.get(operator)
        entry.doc.fault(node, reason, ask_for(slip) if slip else suggest(operator, OPERATORS))
    return operator


_COMMON_SLIPS: Final = {"=": "==", "===": "==", "<>": "!=", "=>": ">=", "=<": "<=", "!==": "!="}


def read_service(fields: Fields, path: Path) -> ServiceManifest:
    """Read a service file; outside of `nodes` plain scalars count as text."""
    node = fields.option("executor")
    executor = fields.mapping("executor", node, _SERVICE_EXECUTOR_KEYS) if node is not None else None
    entries = fields.each("blocks", _SERVICE_BLOCK_KEYS, _read_service_block) or ()
    read = _read_service_executor(executor) if executor is not None else None
    return ServiceManifest(path, read, {entry.name: entry for entry in entries})


def _read_service_executor(fields: Fields) -> ServiceExecutor | None:
    name = fields.optional_text("name")
    executor = ServiceExecutor(
        name or "",
        fields.optional_text("entry"),
        fields.optional_text("function"),
        _choice(fields, "start_at", _START_AT),
        _choice(fields, "stop_at", _STOP_AT),
        fields.seconds("keep_alive"),
    )
    return executor if name else None


def _choice(fields: Fields, key: str, possible: tuple[str, ...]) -> str:
    value = fields.optional_text(key)
    if value is not None and value not in possible:
        node = fields.get(key)
        assert node is not None
        message = f'"{key}" must be {listed(possible)}, found "{value}"; "{possible[0]}" is used'
        fields.doc.warn(node, "unknown-choice", message, suggest(value, possible))
        return possible[0]
    return value or possible[0]


def _read_service_block(entry: Fields) -> ServiceEntry:
    return ServiceEntry(entry.text("name"), read_inputs(entry, "inputs_def"), read_outputs(entry, "outputs_def"))
