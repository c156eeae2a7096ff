"""Every public name, parameter and attribute of the official package is here, or it is written down why not.

`official.json` is what `introspect.py` said about the official package; a test makes it anew where that is installed.
"""

from __future__ import annotations

import importlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oocana_async.compat import install_alias, uninstall_alias
from tests.compat import introspect

HERE = Path(__file__).parent
TABLE: dict[str, dict[str, Any]] = json.loads((HERE / "official.json").read_text(encoding="utf-8"))
OPPONENT = HERE.parents[1] / ".benchmarks-venv" / "oocana" / "bin" / "python"

INSTALLED = pytest.mark.skipif(not OPPONENT.exists(), reason="the official package is not installed (make bench)")


_DEADLINE = "a wait has an end here, which can be chosen"
_POSITIONAL = "the same keywords, and they may be given by position, too"
_PAHO = "the connection is no paho client here"
_FRAME = "a frame needs no more than what a preview reads, so more kinds of frames fit"
_SIMPLEJSON = "it stands on the encoder of the standard library, not on that of simplejson"
_HELPER = "a helper of the official package's own code"

EXCEPTIONS = {
    "BlockInfo.made with": _POSITIONAL,
    "BlockJob.made with": "run_block makes it",
    "Context.made with": "the same keywords, and the API page's older form by position, too",
    "Context.output": "the API page has `done`",
    "Context.query_auth": _DEADLINE,
    "Context.query_block": _DEADLINE,
    "Context.query_downstream": _DEADLINE,
    "CredentialInput.made with": "the SDK for Node has the name, too",
    "DataDict": _HELPER,
    "DataFrame.index": _FRAME,
    "DataFrame.to_csv": _FRAME,
    "DataFrame.to_dict": _FRAME,
    "DataFrame.to_json": _FRAME,
    "DataFrameIndex": _FRAME,
    "DataclassJSONEncoder.iterencode": _SIMPLEJSON,
    "DataclassJSONEncoder.made with": _SIMPLEJSON,
    "InternalAPI.made with": "a Context makes it",
    "InternalAPI.update_node_weight": _DEADLINE,
    "Mainframe.client": _PAHO,
    "Mainframe.made with": "how long to try to connect can be chosen",
    "Mainframe.notify_block_ready": _DEADLINE,
    "Mainframe.notify_executor_ready": "what is not known may be left out",
    "Mainframe.on_connect": _PAHO,
    "Mainframe.on_connect_fail": _PAHO,
    "Mainframe.on_disconnect": _PAHO,
    "PartialDataFrame.head": _FRAME,
    "PartialDataFrame.index": _FRAME,
    "PartialDataFrame.tail": _FRAME,
    "PartialDataFrame.to_csv": _FRAME,
    "PartialDataFrame.to_dict": _FRAME,
    "PartialDataFrame.to_json": _FRAME,
    "ShapeDataFrame.index": _FRAME,
    "ShapeDataFrame.to_csv": _FRAME,
    "ShapeDataFrame.to_dict": _FRAME,
    "ShapeDataFrame.to_json": _FRAME,
    "StoreKey.made with": _POSITIONAL,
    "random_string": _HELPER,
    "string_hash": _HELPER,
}
"""What is another thing here, and why."""

INFO = 'session_id="s", job_id="j", stacks=[]'
KEY = 'executor="python", handle="h", job_id="j", session_id="s"'
VAR = 'json_schema={"contentMediaType": "oomol/var"}'
CALLS = {
    f"BlockInfo({INFO})": "BlockInfo(session_id='s', job_id='j', stacks=[], block_path=None)",
    f"BlockInfo({INFO}, extra=1).extra": "1",
    f"BlockInfo({INFO}, extra=1) == BlockInfo({INFO})": "True",
    'BlockInfo(session_id="s", job_id="j")': "raises ValueError Exception: missing key stacks",
    'BlockInfo(session_id="s", stacks=[])': "raises ValueError Exception: missing key job_id",
    "BlockInfo()": "raises ValueError Exception: missing key session_id",
    f"BlockInfo({INFO}).job_info()": "{'session_id': 's', 'job_id': 'j'}",
    f"BlockInfo({INFO}).block_dict()": "{'session_id': 's', 'job_id': 'j', 'stacks': []}",
    f'BlockInfo({INFO}, block_path="p").block_dict()["block_path"]': "'p'",
    f"StoreKey({KEY})": "StoreKey(executor='python', handle='h', job_id='j', session_id='s')",
    f"StoreKey({KEY}, extra=1).extra": "1",
    f"StoreKey({KEY}) in {{StoreKey({KEY}, extra=1): 1}}": "True",
    'StoreKey(executor="python", handle="h", job_id="j")': "raises ValueError Exception: missing key session_id",
    "StoreKey()": "raises ValueError Exception: missing key executor",
    f"dataclasses.asdict(StoreKey({KEY}))": "{'executor': 'python', 'handle': 'h', 'job_id': 'j', 'session_id': 's'}",
    'HandleDef(handle="h")': "HandleDef(handle='h', description=None, json_schema=None, kind=None, is_additional=None)",
    "HandleDef()": "raises ValueError Exception: missing attr key: 'handle'",
    "InputHandleDef()": "raises ValueError Exception: missing attr key: 'handle'",
    "OutputHandleDef()": "raises ValueError Exception: missing attr key: 'handle'",
    'HandleDef(handle="h", extra=1).extra': "1",
    'HandleDef(handle="h")["description"]': "None",
    'HandleDef(handle="h")["nope"]': "raises KeyError LookupError Exception: \"'nope' not found\"",
    'HandleDef(handle="h").get("description", 3)': "None",
    'HandleDef(handle="h").get("nope", 3)': "3",
    '"description" in HandleDef(handle="h"), "nope" in HandleDef(handle="h")': "(True, False)",
    'HandleDef(handle="h") == HandleDef(handle="h")': "True",
    'HandleDef(handle="h", extra=1) == HandleDef(handle="h", extra=2)': "True",
    f'HandleDef(handle="h", {VAR}).json_schema': "VarFieldSchema(contentMediaType='oomol/var')",
    f'HandleDef(handle="h", {VAR}).json_schema_to_dict()': "{'contentMediaType': 'oomol/var'}",
    f'HandleDef(handle="h", {VAR}).is_var_handle()': "True",
    f'HandleDef(handle="h", {VAR}).check_handle_type("oomol/bin")': "False",
    'HandleDef(handle="h", is_additional=True).is_additional_handle()': "True",
    'HandleDef(handle="h").is_additional_handle()': "False",
    'setattr(HandleDef(handle="h"), "handle", "x")': (
        "raises FrozenInstanceError AttributeError Exception: cannot assign to field 'handle'"
    ),
    'InputHandleDef(handle="h", value=None).has_value(), InputHandleDef(handle="h").has_value()': "(True, False)",
    'InputHandleDef(handle="h").value, InputHandleDef(handle="h").nullable': "(None, None)",
    f'InputHandleDef(handle="h", {VAR}, _deserialize_from_cache=True).is_serializable_var()': "True",
    f'OutputHandleDef(handle="h", {VAR}, _serialize_for_cache=True).need_serialize_var_for_cache()': "True",
    'OutputHandleDef(handle="h").need_serialize_var_for_cache()': "False",
    "FieldSchema(a=1), FieldSchema(a=1).a": "(FieldSchema(contentMediaType=None), 1)",
    'ArrayFieldSchema(items={"type": "string"}).items': "PrimitiveFieldSchema(contentMediaType=None, type='string')",
    'ObjectFieldSchema(properties={"a": {"type": "array"}}).properties': (
        "{'a': ArrayFieldSchema(contentMediaType=None, type='array', items=None)}"
    ),
    'FieldSchema.generate_schema({"type": "integer"})': "FieldSchema(contentMediaType=None)",
    'FieldSchema.generate_schema({"contentMediaType": "oomol/bin"})': "FieldSchema(contentMediaType='oomol/bin')",
    'FieldSchema.generate_schema({"type": "string", "contentMediaType": "oomol/secret"})': (
        "SecretFieldSchema(contentMediaType='oomol/secret', type='string')"
    ),
    'is_bin_value({"__OOMOL_TYPE__": "oomol/bin"})': "False",
    'is_bin_value({"__OOMOL_TYPE__": "oomol/bin", "value": "x"}), is_bin_value(d=1)': "(True, False)",
    'is_var_value({"__OOMOL_TYPE__": "oomol/var", "value": {}}), is_var_value(d="x")': "(True, False)",
    'is_var_value({"__OOMOL_TYPE__": "oomol/var"})': "False",
    'is_array_dict(dict={"type": "array"}), is_array_dict({})': "(True, False)",
    'is_object_dict(dict={"type": "object"}), is_object_dict({})': "(True, False)",
    'is_var_dict(dict={"contentMediaType": "oomol/var"}), is_var_dict({})': "(True, False)",
    'is_secret_dict(dict={"type": "string", "contentMediaType": "oomol/secret"})': "True",
    'is_secret_dict({"contentMediaType": "oomol/secret"})': "False",
    'is_primitive_dict(dict={"type": "number"}), is_primitive_dict({"type": "integer"})': "(True, False)",
    'is_primitive_dict({"type": "string", "contentMediaType": "oomol/bin"})': "False",
    'dumps({"a": float("nan"), "b": (1,)})': """'{"a": null, "b": [1]}'""",
    "dumps([1, 2], indent=2)": "'[\\n  1,\\n  2\\n]'",
    'dumps({"b": 1, "a": 2}, sort_keys=True, separators=(",", ":"))': """'{"a":2,"b":1}'""",
    'dumps("é"), dumps("é", ensure_ascii=False)': """('"\\\\u00e9"', '"é"')""",
    f'dumps({{"a": StoreKey({KEY})}}, sort_keys=True)': (
        """'{"a": {"executor": "python", "handle": "h", "job_id": "j", "session_id": "s"}}'"""
    ),
    "dumps(object(), default=lambda o: 1)": "'1'",
    'CredentialInput("t", id="i").id': "'i'",
    'BlockExecuteException("m"), BlockExecuteException("m").message': "(BlockExecuteException('m'), 'm')",
    'str(BlockExecuteException("m"))': "'BlockExecuteException: m'",
    "sorted(ServiceContextAbstractClass.__abstractmethods__)": "['block_handler', 'waiting_ready_notify']",
    'Mainframe("localhost:1883", "me").address, Mainframe("localhost:1883", "me").client_id': (
        "('localhost:1883', 'me')"
    ),
    "OnlyEqualSelf() == OnlyEqualSelf()": "False",
    "SUPPORTED_COMPRESSION_METHODS, COMPRESSION_OPTIONS_FILE": (
        "(['zip', 'gzip', 'bz2', 'zstd', 'xz', 'tar'], '__compression_options.json')"
    ),
    "EXECUTOR_NAME": "'python'",
    'copy.deepcopy(HandleDef(handle="h")) == HandleDef(handle="h")': "True",
    'pickle.loads(pickle.dumps(HandleDef(handle="h"))).handle': "'h'",
}
"""Calls that need no broker, and what they give there and here."""


@pytest.fixture(autouse=True)
def alias() -> Iterator[None]:
    """Let `oocana` be ours."""
    install_alias()
    yield
    uninstall_alias()


def differences() -> dict[str, str]:
    """Return where ours is another than the official package, and how."""
    found: dict[str, str] = {}
    for module, names in TABLE.items():
        ours = importlib.import_module(module)
        for name, theirs in names.items():
            if hasattr(ours, name):
                found.update(_compare(name, theirs, introspect.entry(getattr(ours, name))))
            else:
                found[name] = "missing"
    return found


def _compare(name: str, theirs: Any, ours: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(theirs, dict):
        if theirs != ours:
            yield name, f"{theirs} there, {ours} here"
        return
    for member, said in theirs.items():
        here = ours.get(member, "missing") if isinstance(ours, dict) else f"{ours}"
        if isinstance(said, list):
            here = sorted(set(here) & set(said))
        if said not in (here, "(*args, **kwargs)"):
            yield f"{name}.{member}", f"{said} there, {here} here"


def test_whatever_is_another_thing_here_is_written_down_with_a_reason() -> None:
    assert {name: how for name, how in differences().items() if name not in EXCEPTIONS} == {}


def test_no_reason_has_outlived_its_difference() -> None:
    assert set(EXCEPTIONS) - set(differences()) == set()


@pytest.mark.parametrize("expression", CALLS)
def test_call_gives_the_same_as_there(expression: str) -> None:
    assert introspect.call([expression]) == [CALLS[expression]]


def ask_opponent(*arguments: str, given: Any = None) -> Any:
    command = [str(OPPONENT), str(HERE / "introspect.py"), *arguments]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


@INSTALLED
def test_table_is_what_the_official_package_says() -> None:
    assert ask_opponent() == TABLE


@INSTALLED
def test_official_package_gives_what_the_calls_expect() -> None:
    assert dict(zip(CALLS, ask_opponent("--calls", given=list(CALLS)), strict=True)) == CALLS
