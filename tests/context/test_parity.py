"""Context and SyncContext have the same members, and all that the API page and protocol.md 8.2 name."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from oocana_async.compat import BlockInfo
from oocana_async.context import Context
from oocana_async.context.block_job import BlockJob
from oocana_async.context.questions import InternalAPI
from oocana_async.context.sync import SyncContext

PROPERTIES = [
    "inputs",
    "inputs_def",
    "outputs_def",
    "session_id",
    "job_id",
    "job_info",
    "block_info",
    "node_id",
    "session_dir",
    "tmp_dir",
    "tmp_pkg_dir",
    "pkg_data_dir",
    "pkg_dir",
    "keepAlive",
    "logger",
    "oomol_fusion_api_url",
    "oomol_llm_env",
    "host_info",
    "host_endpoint",
    "is_cancelled",
    "stacks",
    "block_path",
    "package_name",
    "internal",
]

METHODS = {
    "output": ["key", "value", "done", "to_node", "to_flow"],
    "outputs": ["outputs"],
    "finish": ["result", "error"],
    "done": ["error"],
    "preview": ["payload", "id"],
    "report_progress": ["progress"],
    "report_log": ["line", "stdio"],
    "log_json": ["payload"],
    "send_message": ["payload"],
    "send_warning": ["warning"],
    "error": ["error"],
    "send_error": ["error"],
    "oomol_token": [],
    "query_block": ["block", "deadline"],
    "query_downstream": ["handles", "deadline"],
    "query_auth": ["credential", "deadline"],
    "run_block": ["block", "inputs", "additional_inputs_def", "additional_outputs_def", "strict"],
    "flush": ["timeout"],
    "check_cancelled": [],
}

KINDS = [Context, SyncContext]


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_both_have_the_same_public_members() -> None:
    assert public(Context) - {"register"} == public(SyncContext) - {"register"}


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_those_that_are_documented(kind: type) -> None:
    assert public(kind) - {"register"} == {*PROPERTIES, *METHODS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", METHODS)
def test_method_takes_the_documented_parameters(kind: type, name: str) -> None:
    parameters = inspect.signature(getattr(kind, name)).parameters
    assert list(parameters)[1:] == METHODS[name]


@pytest.mark.parametrize("name", METHODS)
def test_signatures_agree_but_for_what_they_return(name: str) -> None:
    one, other = (inspect.signature(getattr(kind, name)).parameters.values() for kind in KINDS)
    assert list(one) == list(other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PROPERTIES)
def test_property_is_documented(kind: type, name: str) -> None:
    found = inspect.getattr_static(kind, name)
    assert isinstance(found, property)
    assert found.__doc__


def test_child_and_internals_have_their_members() -> None:
    assert {"add_output_callback", "add_progress_callback", "finish"} <= public(BlockJob)
    assert list(inspect.signature(InternalAPI.update_node_weight).parameters)[1:] == ["node_id", "weight", "deadline"]


PAGE_ARGUMENTS = ["inputs", "blockInfo", "mainframe", "store", "outputs", "session_dir"]
KEYWORDS = ["inputs_def", "outputs_def", "tmp_dir", "package_name", "pkg_dir"]


@pytest.mark.parametrize("kind", KINDS)
def test_constructor_takes_those_of_the_page_in_order_and_those_of_the_sdk_by_name(kind: type) -> None:
    parameters = inspect.signature(kind).parameters
    assert list(parameters) == [*PAGE_ARGUMENTS, *KEYWORDS]
    positional = [name for name, one in parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert positional == PAGE_ARGUMENTS


@pytest.mark.parametrize("kind", KINDS)
def test_both_send_the_same_when_they_are_made_by_hand(kind: type[Any], tmp_path: Path) -> None:
    mainframe = Mock(spec=["send", "report"])
    outputs = {"out": {"handle": "out", "json_schema": {"contentMediaType": "oomol/var"}}}
    context = kind({}, BlockInfo(session_id="S1", job_id="J1", stacks=[]), mainframe, {}, outputs, str(tmp_path))
    context.output("out", [1], done=False)
    context.preview({"type": "text", "data": "a"})
    context.send_error("bad")
    context.done()
    context.log_json({})
    assert [name for name, _, _ in mainframe.mock_calls] == ["send", "report", "send", "send", "report"]
    types = ["BlockOutput", "BlockPreview", "BlockError", "BlockFinished", "BlockWarning"]
    assert [arguments[1]["type"] for _, arguments, _ in mainframe.mock_calls] == types


PAGE = Path(__file__).parents[3] / "shared" / "seed-python-api.txt"


@pytest.mark.skipif(not PAGE.exists(), reason="the API page is not beside this repository")
def test_every_member_of_the_api_page_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    made_of = re.search(r"def __init__\(\s*self, (.*?)\s*\)", text, re.DOTALL)
    assert made_of is not None
    assert [one.partition(":")[0] for one in re.split(r", (?=\w+(?::|,|$))", made_of.group(1))] == PAGE_ARGUMENTS
    names = set(re.findall(r"^def (\w+)\(self", text[text.index("class Context:") :], re.MULTILINE))
    assert {name for name in names if not name.startswith("_")} <= {*PROPERTIES, *METHODS}
