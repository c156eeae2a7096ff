"""What scriptlets get as `oocana`."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from oocana_async import Context, compat
from oocana_async.testing.clock import ManualClock

NAMES = [
    "Context",
    "BlockJob",
    "BlockExecuteException",
    "CredentialInput",
    "BlockInfo",
    "StoreKey",
    "HandleDef",
    "InputHandleDef",
    "OutputHandleDef",
    "FieldSchema",
    "PrimitiveFieldSchema",
    "VarFieldSchema",
    "SecretFieldSchema",
    "ArrayFieldSchema",
    "ObjectFieldSchema",
    "ServiceContextAbstractClass",
    "setup_dataframe_serialization",
    "dumps",
    "is_bin_value",
    "is_var_value",
    "is_array_dict",
    "is_object_dict",
    "is_var_dict",
    "is_primitive_dict",
    "is_secret_dict",
    "EXECUTOR_NAME",
    "JobDict",
    "BlockDict",
    "BinValueDict",
    "VarValueDict",
    "HandleDefDict",
    "ToNode",
    "ToFlow",
    "QueryBlockResponse",
    "FlowDownstream",
    "NodeDownstream",
    "Downstream",
    "OOMOL_LLM_ENV",
    "HostInfo",
    "ServiceMessage",
    "BlockHandler",
    "ServiceExecutor",
    "ServiceExecutePayload",
    "StopAtOption",
    "PreviewPayload",
    "PreviewPayloadInternal",
    "TablePreviewPayload",
    "TextPreviewPayload",
    "JSONPreviewPayload",
    "ImagePreviewPayload",
    "MediaPreviewPayload",
    "PandasPreviewPayload",
    "DefaultPreviewPayload",
    "ContentMediaType",
    "CompressionOptions",
    "LLMModelOptions",
    "LLMMessage",
]
SUBMODULES = [
    "context",
    "credential",
    "data",
    "extra",
    "handle",
    "internal",
    "mainframe",
    "preview",
    "schema",
    "serialization",
    "service",
    "throttler",
]
PROTOCOL = Path(__file__).parents[3] / "shared" / "protocol.md"


@pytest.fixture
def oocana() -> Iterator[ModuleType]:
    """The alias, installed."""
    compat.install_alias()
    yield importlib.import_module("oocana")
    compat.uninstall_alias()


@pytest.mark.parametrize("name", NAMES)
def test_official_name_is_there(oocana: ModuleType, name: str) -> None:
    assert getattr(oocana, name) is getattr(compat, name)


@pytest.mark.skipif(not PROTOCOL.exists(), reason="the protocol is not beside this repository")
def test_names_are_those_of_the_protocol() -> None:
    text = PROTOCOL.read_text(encoding="utf-8")
    section = text[text.index("### 8.1") : text.index("(`CsvPreviewPayload`")]
    assert set(re.findall(r"`(\w+)`", section)) - {"python", "oocana"} == {*NAMES, "Mainframe"}


def test_context_is_the_own_class(oocana: ModuleType) -> None:
    assert oocana.Context is Context


@pytest.mark.parametrize("name", SUBMODULES)
def test_submodule_can_be_imported_and_has_the_names(oocana: ModuleType, name: str) -> None:
    module = importlib.import_module(f"oocana.{name}")
    assert module is getattr(oocana, name)
    assert module.DataFrame is compat.DataFrame


def test_internals_and_helpers_of_submodules_are_not_on_top(oocana: ModuleType) -> None:
    for name in ("CsvPreviewPayload", "DataFrame", "InternalAPI", "install_alias"):
        with pytest.raises(AttributeError, match=f"'oocana'.* has no attribute '{name}'"):
            getattr(oocana, name)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("oocana.nowhere")


def test_star_import_gives_the_names(oocana: ModuleType) -> None:
    names: dict[str, Any] = {}
    exec("from oocana import *", names)
    assert set(NAMES) <= names.keys()


def test_alias_stays_until_the_last_user_has_gone() -> None:
    compat.install_alias()
    compat.install_alias()
    compat.uninstall_alias()
    importlib.import_module("oocana.data")
    compat.uninstall_alias()
    compat.uninstall_alias()
    assert [name for name in sys.modules if name.partition(".")[0] == "oocana"] == []
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("oocana")


def test_official_package_steps_aside_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "oocana"
    package.mkdir()
    (package / "__init__.py").write_text("official = True\n")
    (package / "data.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    official = importlib.import_module("oocana.data")
    compat.install_alias()
    try:
        assert importlib.import_module("oocana").Context is Context
        assert importlib.import_module("oocana.data") is not official
    finally:
        compat.uninstall_alias()
    assert importlib.import_module("oocana").official
    assert importlib.import_module("oocana.data") is official
    for name in ("oocana", "oocana.data"):
        monkeypatch.delitem(sys.modules, name)


def test_installing_the_alias_imports_nothing() -> None:
    text = """
import sys
from oocana_async.compat import alias
before = set(sys.modules)
alias.install_alias()
assert set(sys.modules) == before
"""
    subprocess.run([sys.executable, "-c", text], timeout=20, check=True)


def test_dumps_writes_what_would_be_sent() -> None:
    assert compat.dumps({"a": float("nan"), "b": (1,)}) == '{"a":null,"b":[1]}'
    assert compat.dumps([1], indent=2) == "[\n  1\n]"


def test_block_info_gives_the_dictionaries_of_the_context() -> None:
    info = compat.BlockInfo("S1", "J1", [], "/task.oo.yaml")
    assert info.job_info() == {"session_id": "S1", "job_id": "J1"}
    assert info.block_dict() == {**info.job_info(), "stacks": [], "block_path": "/task.oo.yaml"}
    assert "block_path" not in compat.BlockInfo("S1", "J1").block_dict()


def test_throttle_keeps_a_state_for_each_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    monkeypatch.setattr("oocana_async.compat.throttler.ThreadClock", lambda: clock)
    heard: list[tuple[str, int]] = []

    class Reporter:
        def __init__(self, name: str) -> None:
            self.name = name

        @compat.throttle(0.3)
        def report(self, value: int) -> None:
            """Take a value."""
            heard.append((self.name, value))

    one, other = Reporter("one"), Reporter("other")
    for value in range(3):
        one.report(value)
        other.report(value)
    assert heard == [("one", 0), ("other", 0)]
    clock.advance(0.3)
    assert heard[2:] == [("one", 2), ("other", 2)]
    assert Reporter.report.__doc__ == "Take a value."


def test_service_context_sets_its_handler_by_subscript() -> None:
    class Service(compat.ServiceContextAbstractClass):
        block_handler: Any = None
        waiting_ready_notify = False

        def notify_ready(self) -> None:
            """Do nothing."""

        def add_message_callback(self, callback: Any) -> None:
            """Do nothing."""

    service = Service()
    service["other"] = 1
    service["block_handler"] = len
    assert service.block_handler is len
