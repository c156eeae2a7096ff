"""`import oocana` gives every official name, without and beside the official package, for as long as it is wanted."""

from __future__ import annotations

import importlib
import inspect
import json
import pickle
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import oocana_async
from oocana_async import compat
from oocana_async.compat import install_alias, uninstall_alias
from oocana_async.testing import run_scriptlet_sync

TABLE: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "official.json").read_text(encoding="utf-8"))
TOP_LEVEL = sorted(TABLE["oocana"])
ONLY_IN_SUBMODULES = ["CsvPreviewPayload", "DataFrame", "InternalAPI", "OnlyEqualSelf", "throttle"]
SUBMODULES = [name.removeprefix("oocana.") for name in TABLE if name != "oocana"]

OFFICIAL = "class Context: ...\nclass Mainframe: ...\nORIGIN = 'official'\n"
"""Stands for the official package: same name, other classes."""


def forget_oocana() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name == "oocana" or name.startswith("oocana.")]
    return {name: sys.modules.pop(name) for name in names}


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a package `oocana` that is not ours."""
    before = forget_oocana()
    package = tmp_path / "site" / "oocana"
    package.mkdir(parents=True)
    for name in ("__init__", *SUBMODULES):
        (package / f"{name}.py").write_text(OFFICIAL)
    monkeypatch.syspath_prepend(str(package.parent))
    yield package
    forget_oocana()
    sys.modules.update(before)


@pytest.fixture(params=["alone", "beside the official package", "after the official package was imported"])
def oocana(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The module that scriptlets get."""
    if request.param != "alone":
        request.getfixturevalue("official")
    if request.param.startswith("after"):
        importlib.import_module("oocana.data")
    install_alias()
    try:
        yield importlib.import_module("oocana")
    finally:
        uninstall_alias()


def run_code(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def test_every_top_level_name_is_ours(oocana: ModuleType) -> None:
    assert {name for name in TOP_LEVEL if not hasattr(oocana, name)} == set()
    assert oocana.Context is oocana_async.Context
    assert oocana.EXECUTOR_NAME == "python"


def test_names_of_submodules_are_not_at_the_top(oocana: ModuleType) -> None:
    assert [name for name in ONLY_IN_SUBMODULES if hasattr(oocana, name)] == []


@pytest.mark.parametrize("name", SUBMODULES)
def test_every_submodule_has_every_name(oocana: ModuleType, name: str) -> None:
    submodule = importlib.import_module(f"oocana.{name}")
    assert {one for one in (*TOP_LEVEL, *ONLY_IN_SUBMODULES) if not hasattr(submodule, one)} == set()
    assert submodule.Mainframe is oocana.Mainframe


@pytest.mark.usefixtures("oocana")
@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import oocana\nfound = oocana.data.StoreKey", "StoreKey"),
        ("import oocana.data\nfound = oocana.data.BlockInfo", "BlockInfo"),
        ("import oocana.handle as handle\nfound = handle.InputHandleDef", "InputHandleDef"),
        ("from oocana import data\nfound = data.BlockInfo", "BlockInfo"),
        ("from oocana.data import BlockInfo as found, StoreKey, JobDict, EXECUTOR_NAME", "BlockInfo"),
        ("from oocana.mainframe import Mainframe as found", "Mainframe"),
        ("from oocana.preview import DataFrame as found", "DataFrame"),
        ("from oocana.internal import InternalAPI as found", "InternalAPI"),
        ("from oocana import *\nfound = Context", "Context"),
        ("from oocana.throttler import throttle as found", "throttle"),
    ],
)
def test_import_forms_give_our_names(code: str, name: str) -> None:
    assert run_code(code)["found"] is getattr(compat, name)


@pytest.mark.usefixtures("oocana")
def test_star_import_gives_the_names_of_the_top() -> None:
    names = run_code("from oocana import *")
    assert set(TOP_LEVEL) <= names.keys()
    assert not set(ONLY_IN_SUBMODULES) & names.keys()


@pytest.mark.usefixtures("oocana")
def test_unknown_submodule_is_an_import_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"oocana\.nothing"):
        importlib.import_module("oocana.nothing")
    with pytest.raises(ImportError, match="nothing"):
        run_code("from oocana import nothing")


@pytest.mark.usefixtures("official")
def test_official_package_comes_back_afterwards() -> None:
    before = importlib.import_module("oocana.data")
    install_alias()
    assert importlib.import_module("oocana.data") is not before
    uninstall_alias()
    assert importlib.import_module("oocana.data") is before
    assert importlib.import_module("oocana").ORIGIN == "official"


def test_alias_stays_until_the_last_user_has_gone() -> None:
    install_alias()
    install_alias()
    uninstall_alias()
    importlib.import_module("oocana.data")
    uninstall_alias()
    uninstall_alias()
    assert [name for name in sys.modules if name.partition(".")[0] == "oocana"] == []
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("oocana")


def test_installing_the_alias_imports_nothing() -> None:
    text = """
import sys
from oocana_async.compat import alias
before = set(sys.modules)
alias.install_alias()
assert set(sys.modules) == before
"""
    subprocess.run([sys.executable, "-c", text], timeout=20, check=True)


def test_classes_of_the_alias_can_be_pickled(oocana: ModuleType) -> None:
    values = [
        oocana.CredentialInput("custom", "id"),
        oocana.StoreKey("python", "handle", "job", "session"),
        oocana.BlockInfo("session", "job", []),
        oocana.Context,
    ]
    data = pickle.dumps(values)
    uninstall_alias()  # what was pickled can be read where there is no alias
    try:
        assert pickle.loads(data) == values
    finally:
        install_alias()


@pytest.mark.usefixtures("oocana")
def test_pickle_of_the_official_package_is_read_as_ours() -> None:
    named_by_module = b"coocana.credential\nCredentialInput\n(S'custom'\nS'id'\ntR."
    assert pickle.loads(named_by_module) == compat.CredentialInput("custom", "id")


def test_errors_of_the_alias_can_be_pickled_and_caught(oocana: ModuleType) -> None:
    error = pickle.loads(pickle.dumps(oocana.BlockExecuteException("run block a failed: b")))
    assert isinstance(error, oocana.BlockExecuteException)
    assert str(error) == "BlockExecuteException: run block a failed: b"


def test_every_class_and_function_is_documented(oocana: ModuleType) -> None:
    ours = [name for name in TOP_LEVEL if (inspect.isclass(one := getattr(oocana, name)) or inspect.isroutine(one))]
    assert [name for name in ours if not inspect.getdoc(getattr(oocana, name))] == []


def test_typed_dictionaries_have_resolvable_hints(oocana: ModuleType) -> None:
    dictionaries = [name for name in TOP_LEVEL if typing.is_typeddict(getattr(oocana, name))]
    assert len(dictionaries) > 20
    for name in dictionaries:
        assert typing.get_type_hints(getattr(oocana, name)), name


SCRIPTLETS = {
    "a class": "from oocana import Context\ndef main(ctx: Context):\n",
    "text": "from __future__ import annotations\nimport oocana\ndef main(ctx: oocana.Context):\n",
    "for type checkers only": (
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    from oocana import Context\ndef main(ctx: Context):\n"
    ),
    "from a submodule": "from oocana.context import Context\nasync def main(ctx: Context):\n",
    "optional": "import oocana\ndef main(ctx: 'oocana.Context | None'):\n",
}


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside the official package"])
@pytest.mark.parametrize("form", SCRIPTLETS)
def test_scriptlet_gets_the_context_that_it_asks_for(
    form: str, beside: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if beside:
        request.getfixturevalue("official")
        importlib.import_module("oocana")
    body = "    import oocana\n    return {'is_context': isinstance(ctx, oocana.Context)}\n"
    path = tmp_path / "main.py"
    path.write_text(SCRIPTLETS[form] + body)
    record = run_scriptlet_sync(path)
    assert record.result == {"is_context": True}, record.error
