"""A Context that is made by hand around a mainframe: each member is one call of it, with the documented dict."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from oocana_async import BlockExecuteException, ClosedError, Context, EncodingError, RequestError, SyncContext
from oocana_async.compat import BlockInfo, HandleDef, StoreKey
from oocana_async.context.by_hand import job
from oocana_async.testing.manual_clock import ManualClock

FRAME = {"flow_job_id": "F1", "flow": "/w/flow.oo.yaml", "node_id": "resize"}
INFO = BlockInfo(session_id="S1", job_id="J1", stacks=[FRAME], block_path="/w/task.oo.yaml")
JOB = {"session_id": "S1", "job_id": "J1"}
BLOCK = {**JOB, "stacks": [FRAME], "block_path": "/w/task.oo.yaml"}

OUTPUTS: dict[str, dict[str, Any]] = {
    "out": {"handle": "out"},
    "var": {"handle": "var", "json_schema": {"contentMediaType": "oomol/var"}},
    "bin": {"handle": "bin", "json_schema": {"contentMediaType": "oomol/bin"}},
}
BOTH = pytest.mark.parametrize("kind", [Context, SyncContext])


class Mainframe:
    """Keeps the calls that it gets, in order; answers requests as the test says."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, Any]] = []
        self.threads: set[int] = set()
        self.answers: dict[str, Callable[[Any], object]] = {}
        self.watchers: list[Callable[[Any], object]] = []
        self.at_report: Callable[[], object] = dict

    def send(self, job_info: Any, message: Any) -> None:
        self.calls.append(("send", job_info, message))
        self.threads.add(threading.get_ident())

    def report(self, block_info: Any, message: Any) -> None:
        self.calls.append(("report", block_info, message))
        self.threads.add(threading.get_ident())
        self.at_report()

    def add_request_response_callback(self, session_id: str, request_id: str, callback: Callable[[Any], Any]) -> None:
        assert session_id == "S1"
        self.answers[request_id] = callback

    def remove_request_response_callback(
        self, session_id: str, request_id: str, callback: Callable[[Any], Any]
    ) -> None:
        assert session_id == "S1"
        assert self.answers.pop(request_id) is callback

    def add_report_callback(self, fn: Callable[[Any], object]) -> None:
        self.watchers.append(fn)

    def remove_report_callback(self, fn: Callable[[Any], object]) -> None:
        self.watchers.remove(fn)

    @property
    def messages(self) -> list[Any]:
        return [message for _, _, message in self.calls]

    @property
    def listening(self) -> int:
        return len(self.answers) + len(self.watchers)

    def answer(self, **fields: Any) -> None:
        request_id = self.messages[-1]["request_id"]
        self.answers[request_id]({**JOB, "request_id": request_id, **fields})

    def tell(self, **event: Any) -> None:
        for watcher in tuple(self.watchers):
            watcher(event)


@pytest.fixture
def mainframe() -> Mainframe:
    """A mainframe of the test's own."""
    return Mainframe()


def older(kind: type[Any], mainframe: Any, directory: Path, store: Any = None) -> Any:
    """Make a Context as the API page prints it."""
    return kind({"width": 1}, INFO, mainframe, store, OUTPUTS, str(directory))


def newer(kind: type[Any], mainframe: Any, directory: Path, store: Any = None) -> Any:
    """Make a Context with the keywords of today's SDK."""
    return kind(
        inputs={"width": 1},
        blockInfo=INFO,
        mainframe=mainframe,
        store=store,
        inputs_def={"width": {"handle": "width"}},
        outputs_def=OUTPUTS,
        session_dir=str(directory),
        tmp_dir="/tmp/flow",
        package_name="tools",
        pkg_dir="/data/tools",
    )


FORMS = pytest.mark.parametrize("make", [older, newer])

CALLS: list[tuple[Callable[[Any], object], str, dict[str, Any]]] = [
    (lambda c: c.output("out", [1]), "send", {"type": "BlockOutput", "handle": "out", "output": [1], "done": False}),
    (
        lambda c: c.output("out", 1, to_node=[{"node_id": "a", "input_handle": "b"}]),
        "send",
        {
            "type": "BlockOutput",
            "handle": "out",
            "output": 1,
            "done": False,
            "options": {"target": {"to_node": [{"node_id": "a", "input_handle": "b"}], "to_flow": None}},
        },
    ),
    (lambda c: c.outputs({"out": 1}), "send", {"type": "BlockOutputs", "outputs": {"out": 1}}),
    (lambda c: c.finish(), "send", {"type": "BlockFinished"}),
    (lambda c: c.finish(result={"out": 1}), "send", {"type": "BlockFinished", "result": {"out": 1}}),
    (lambda c: c.done("bad"), "send", {"type": "BlockFinished", "error": "bad"}),
    (lambda c: c.error("bad"), "send", {"type": "BlockError", "error": "bad"}),
    (lambda c: c.send_error("bad"), "send", {"type": "BlockError", "error": "bad"}),
    (lambda c: c.report_progress(40), "report", {"type": "BlockProgress", "progress": 40, "rate": 40}),
    (
        lambda c: c.report_log("a", "stderr"),
        "report",
        {"type": "BlockLog", "log": "a", "stdio": "stderr", "stderr": "stderr"},
    ),
    (lambda c: c.log_json({"a": 1}), "report", {"type": "BlockLogJSON", "json": {"a": 1}}),
    (lambda c: c.send_message([1]), "report", {"type": "BlockMessage", "payload": [1]}),
    (lambda c: c.send_warning("a"), "report", {"type": "BlockWarning", "warning": "a"}),
    (
        lambda c: c.preview({"type": "text", "data": "a"}, id="p"),
        "report",
        {"type": "BlockPreview", "payload": {"type": "text", "data": "a", "id": "p"}},
    ),
    (
        lambda c: c.preview([{"a": 1}, {"a": 2}]),
        "report",
        {
            "type": "BlockPreview",
            "payload": {"type": "table", "data": {"columns": ["a"], "rows": [[1], [2]], "row_count": 2}},
        },
    ),
]


@BOTH
@FORMS
@pytest.mark.parametrize(("act", "method", "message"), CALLS)
def test_member_is_one_call_of_the_mainframe(
    kind: type[Context],
    make: Callable[..., Context],
    mainframe: Mainframe,
    tmp_path: Path,
    act: Callable[[Any], object],
    method: str,
    message: dict[str, Any],
) -> None:
    act(make(kind, mainframe, tmp_path))
    assert mainframe.calls == [(method, JOB if method == "send" else BLOCK, message)]


@BOTH
def test_a_mock_is_a_mainframe(kind: type[Context], tmp_path: Path) -> None:
    mainframe = Mock(spec=["send", "report"])
    older(kind, mainframe, tmp_path).done()
    mainframe.send.assert_called_once_with(JOB, {"type": "BlockFinished"})
    mainframe.report.assert_not_called()


@BOTH
def test_calls_come_in_order_in_the_thread_of_the_block(
    kind: type[Context], mainframe: Mainframe, tmp_path: Path
) -> None:
    context = older(kind, mainframe, tmp_path)
    before = threading.active_count()
    for number in range(3):
        context.output("out", number)
        context.send_message(number)
    context.finish()
    told = [message.get("output", message.get("payload")) for message in mainframe.messages]
    assert told == [0, 0, 1, 1, 2, 2, None]
    assert mainframe.threads == {threading.get_ident()}
    assert threading.active_count() == before


@pytest.mark.anyio
async def test_awaiting_is_as_good_as_not_awaiting(mainframe: Mainframe, tmp_path: Path) -> None:
    context = older(Context, mainframe, tmp_path)
    await context.output("out", 1)
    context.output("out", 2)
    await asyncio.gather(context.outputs({}), context.finish())
    assert await context.flush()
    assert [message["type"] for message in mainframe.messages] == ["BlockOutput"] * 2 + [
        "BlockOutputs",
        "BlockFinished",
    ]


@BOTH
def test_output_with_done_says_so_and_ends_the_block(kind: type[Context], mainframe: Mainframe, tmp_path: Path) -> None:
    older(kind, mainframe, tmp_path).output("out", 1, True)
    assert mainframe.messages == [
        {"type": "BlockOutput", "handle": "out", "output": 1, "done": True},
        {"type": "BlockFinished"},
    ]


@BOTH
@FORMS
def test_facts_are_those_that_were_given(
    kind: type[Context], make: Callable[..., Context], mainframe: Mainframe, tmp_path: Path
) -> None:
    context = make(kind, mainframe, tmp_path)
    assert isinstance(context, Context)
    assert (context.session_id, context.job_id, context.node_id) == ("S1", "J1", "resize")
    assert (context.job_info, context.block_info) == (JOB, BLOCK)
    assert (context.inputs, context.outputs_def) == ({"width": 1}, OUTPUTS)
    assert context.session_dir == str(tmp_path)
    if make is newer:
        assert context.inputs_def == {"width": {"handle": "width"}}
        assert (context.tmp_dir, context.tmp_pkg_dir, context.pkg_dir) == (
            "/tmp/flow",
            "/tmp/flow/tools",
            "/data/tools",
        )


def test_what_is_left_out_has_a_default(mainframe: Mainframe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOCANA_PKG_DIR", "/data/mine")
    context = Context(blockInfo=INFO, mainframe=mainframe, session_dir=tmp_path)
    assert (context.inputs, context.inputs_def, context.outputs_def) == ({}, {}, {})
    assert (context.session_dir, context.tmp_dir, context.pkg_data_dir) == (str(tmp_path), str(tmp_path), "/data/mine")
    assert context.package_name == "workspace"


@BOTH
def test_every_handle_passes_without_outputs_in_the_form_of_the_page(
    kind: type[Context], mainframe: Mainframe, tmp_path: Path
) -> None:
    kind({}, INFO, mainframe, {}, None, str(tmp_path)).output("any", 1)
    assert [(call, body["type"]) for call, _, body in mainframe.calls] == [("send", "BlockOutput")]


def test_inputs_are_the_very_dict_that_was_given(mainframe: Mainframe, tmp_path: Path) -> None:
    inputs = {"a": object()}
    assert Context(inputs, INFO, mainframe, {}, None, str(tmp_path)).inputs is inputs


@BOTH
@pytest.mark.parametrize("name", ["inputs_def", "outputs_def"])
def test_definitions_are_read_only(kind: type[Context], name: str, mainframe: Mainframe, tmp_path: Path) -> None:
    context = newer(kind, mainframe, tmp_path)
    with pytest.raises(AttributeError):
        setattr(context, name, {})
    with pytest.raises(TypeError):
        getattr(context, name)["more"] = {}


@BOTH
@FORMS
def test_changed_schema_changes_nothing_about_the_output(
    kind: type[Context], make: Callable[..., Context], mainframe: Mainframe, tmp_path: Path
) -> None:
    store: dict[Any, Any] = {}
    context = make(kind, mainframe, tmp_path, store)
    context.outputs_def["var"]["json_schema"].pop("contentMediaType")
    context.output("var", [1])
    assert list(store.values()) == [[1]]
    assert OUTPUTS["var"]["json_schema"] == {"contentMediaType": "oomol/var"}


# -- values -----------------------------------------------------------------------------------------------------------


@BOTH
@FORMS
def test_var_goes_into_the_given_store_under_its_key(
    kind: type[Context], make: Callable[..., Context], mainframe: Mainframe, tmp_path: Path
) -> None:
    store: dict[StoreKey, Any] = {}
    value = object()
    make(kind, mainframe, tmp_path, store).output("var", value)
    key = StoreKey(executor="python", handle="var", job_id="J1", session_id="S1")
    assert store == {key: value}
    output = mainframe.messages[0]["output"]
    assert (output["__OOMOL_TYPE__"], output["serialize_path"]) == ("oomol/var", None)
    assert StoreKey(**output["value"]) == StoreKey(**output) == key


@pytest.mark.parametrize("value", [1, 0.5, "a", True])
def test_basic_value_of_a_var_handle_travels_as_it_is(mainframe: Mainframe, tmp_path: Path, value: Any) -> None:
    store: dict[Any, Any] = {}
    older(Context, mainframe, tmp_path, store).output("var", value)
    assert (mainframe.messages[0]["output"], store) == (value, {})


def test_result_goes_into_the_store_too(mainframe: Mainframe, tmp_path: Path) -> None:
    store: dict[StoreKey, Any] = {}
    older(Context, mainframe, tmp_path, store).finish(result={"var": [1], "out": 2})
    assert list(store.values()) == [[1]]
    assert mainframe.messages[0]["result"]["out"] == 2


def test_bytes_go_into_a_file(mainframe: Mainframe, tmp_path: Path) -> None:
    context = older(Context, mainframe, tmp_path)
    context.output("bin", b"abc")
    context.output("bin", "abc")
    wrapper, warning = mainframe.messages
    assert Path(wrapper["output"]["value"]).read_bytes() == b"abc"
    assert Path(wrapper["output"]["value"]).is_relative_to(tmp_path)
    assert warning["warning"] == "Output handle key: [bin] is defined as binary, but the value is not bytes."


def test_undeclared_handle_is_warned_about(mainframe: Mainframe, tmp_path: Path) -> None:
    Context({}, INFO, mainframe, {}, {}, str(tmp_path)).output("out", 1)
    Context(blockInfo=INFO, mainframe=mainframe, session_dir=tmp_path).output("out", 1)
    text = "Output handle key: [out] is not defined in Block outputs schema."
    assert mainframe.messages == [{"type": "BlockWarning", "warning": text}] * 2


def test_handle_definitions_may_be_objects(mainframe: Mainframe, tmp_path: Path) -> None:
    store: dict[Any, Any] = {}
    definition = HandleDef(**OUTPUTS["var"])
    Context({}, INFO, mainframe, store, {"var": definition}, str(tmp_path)).output("var", [1])
    assert list(store.values()) == [[1]]


def test_value_that_cannot_travel_is_refused(mainframe: Mainframe, tmp_path: Path) -> None:
    with pytest.raises(EncodingError):
        older(Context, mainframe, tmp_path).output("out", [object()])
    assert mainframe.calls == []


# -- the end, and the throttle ----------------------------------------------------------------------------------------


@BOTH
def test_second_end_and_later_calls_are_warned_about(kind: type[Context], mainframe: Mainframe, tmp_path: Path) -> None:
    context = older(kind, mainframe, tmp_path)
    context.done()
    context.done()
    context.output("out", 1)
    context.send_message(1)
    assert [message.get("warning") for message in mainframe.messages] == [
        None,
        "done has been called multiple times and will be ignored.",
        "output was called after the block had finished and is ignored, like all further calls.",
    ]


@BOTH
def test_progress_is_throttled_without_a_loop(
    kind: type[Context], mainframe: Mainframe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    monkeypatch.setattr(job, "NearbyClock", lambda: clock)
    context = older(kind, mainframe, tmp_path)
    for progress in range(4):
        context.report_progress(progress)
    assert [message["rate"] for message in mainframe.messages] == [0]
    clock.advance(0.3)
    assert [message["rate"] for message in mainframe.messages] == [0, 3]


def test_held_back_progress_comes_by_itself_in_a_script(mainframe: Mainframe, tmp_path: Path) -> None:
    came = threading.Event()
    context = older(SyncContext, mainframe, tmp_path)
    context.report_progress(1)
    mainframe.at_report = came.set
    context.report_progress(2)
    assert came.wait(5)


@pytest.mark.anyio
async def test_held_back_progress_comes_on_the_loop_of_the_caller(mainframe: Mainframe, tmp_path: Path) -> None:
    came = asyncio.Event()
    context = older(Context, mainframe, tmp_path)
    context.report_progress(1)
    mainframe.at_report = came.set
    before = threading.active_count()
    context.report_progress(2)
    assert threading.active_count() == before
    await asyncio.wait_for(came.wait(), 5)


def test_held_back_progress_comes_before_the_end(mainframe: Mainframe, tmp_path: Path) -> None:
    context = older(Context, mainframe, tmp_path)
    for progress in range(3):
        context.report_progress(progress)
    context.finish()
    assert [message.get("rate") for message in mainframe.messages] == [0, 2, None]


# -- questions --------------------------------------------------------------------------------------------------------


def test_query_is_answered_through_the_mainframe(mainframe: Mainframe, tmp_path: Path) -> None:
    reply = older(SyncContext, mainframe, tmp_path).query_block("self::a")
    method, info, request = mainframe.calls[-1]
    assert (method, info, request["action"], request["block"]) == ("send", JOB, "QueryBlock", "self::a")
    mainframe.answer(result={"type": "task"})
    assert reply.result(5) == {"type": "task"}
    assert mainframe.listening == 0


def test_refusal_is_raised(mainframe: Mainframe, tmp_path: Path) -> None:
    reply = older(SyncContext, mainframe, tmp_path).query_block("self::a")
    mainframe.answer(error="Failed to find self::a")
    with pytest.raises(RequestError, match="Failed to find self::a"):
        reply.result(5)


@pytest.mark.anyio
async def test_answer_within_the_call_of_send_is_awaited_like_others(tmp_path: Path) -> None:
    class Prompt(Mainframe):
        def send(self, job_info: Any, message: Any) -> None:
            super().send(job_info, message)
            self.answer(result={})

    mainframe = Prompt()
    assert await older(Context, mainframe, tmp_path).query_downstream() == {}
    assert mainframe.listening == 0


def test_query_that_cannot_be_sent_leaves_nothing_behind(tmp_path: Path) -> None:
    class Deaf(Mainframe):
        def add_request_response_callback(self, *_: Any) -> None:
            raise OSError("no line")

    mainframe = Deaf()
    with pytest.raises(OSError, match="no line"):
        older(Context, mainframe, tmp_path).query_block("self::a")
    assert mainframe.calls == []


def test_child_is_run_through_the_mainframe(mainframe: Mainframe, tmp_path: Path) -> None:
    child = older(SyncContext, mainframe, tmp_path).run_block("self::a", inputs={"w": 1})
    request = mainframe.messages[-1]
    assert (request["action"], request["payload"]["inputs"], request["stacks"]) == ("RunBlock", {"w": 1}, [FRAME])
    heard: list[Any] = []
    child.add_output_callback(heard.append)
    mainframe.tell(type="BlockOutput", job_id=child.job_id, handle="a", output=1)
    mainframe.tell(type="BlockOutput", job_id="another", handle="a", output=2)
    mainframe.tell(type="BlockFinished", job_id=child.job_id, result={"b": 3})
    child.finish().result(5)
    assert heard == [{"a": 1}, {"b": 3}]
    assert mainframe.listening == 0


def test_child_that_cannot_be_started_fails(mainframe: Mainframe, tmp_path: Path) -> None:
    child = older(SyncContext, mainframe, tmp_path).run_block("self::a", inputs={})
    mainframe.answer(error="Run block failed: no such block")
    with pytest.raises(BlockExecuteException, match="no such block"):
        child.finish().result(5)
    assert mainframe.listening == 0


def test_child_ends_with_the_block(mainframe: Mainframe, tmp_path: Path) -> None:
    context = older(SyncContext, mainframe, tmp_path)
    child = context.run_block("self::a", inputs={})
    context.finish()
    with pytest.raises(BlockExecuteException, match="the calling block has finished"):
        child.finish().result(5)
    assert mainframe.listening == 0


@BOTH
def test_mainframe_that_cannot_listen_is_named(kind: type[Context], tmp_path: Path) -> None:
    mainframe = Mock(spec=["send", "report"])
    context = older(kind, mainframe, tmp_path)
    lacks = "the mainframe, a Mock, has no add_request_response_callback and no remove_request_response_callback"
    with pytest.raises(ClosedError, match=lacks):
        context.query_block("self::a")
    with pytest.raises(ClosedError, match="has no add_request_response_callback"):
        context.run_block("self::a", inputs={})
    mainframe.send.assert_not_called()


def test_mainframe_that_hears_no_reports_runs_no_children(tmp_path: Path) -> None:
    names = ["send", "report", "add_request_response_callback", "remove_request_response_callback"]
    mainframe = Mock(spec=names)
    with pytest.raises(ClosedError, match="has no add_report_callback and no remove_report_callback"):
        older(Context, mainframe, tmp_path).run_block("self::a", inputs={})
    mainframe.send.assert_not_called()
    assert mainframe.add_request_response_callback.call_args == mainframe.remove_request_response_callback.call_args


# -- arguments --------------------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"blockInfo": INFO, "mainframe": Mock(), "session_dir": "/session"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"mainframe": None}, r"lacks blockInfo, mainframe, session_dir; it takes blockInfo=BlockInfo\(session_id"),
        ({"blockInfo": INFO, "session_dir": "/s"}, "lacks mainframe; it takes mainframe=an object with send"),
        ({"mainframe": Mock(), "session_dir": "/s"}, "lacks blockInfo; it takes blockInfo=BlockInfo"),
        ({"blockInfo": INFO, "mainframe": Mock()}, "lacks session_dir; it takes session_dir=the directory"),
        (
            {**GOOD, "mainframe": Mock(spec=["send"])},
            "mainframe is a Mock without report; it takes mainframe=",
        ),
        ({**GOOD, "mainframe": "localhost:1883"}, "mainframe is a str without send and report"),
        ({**GOOD, "outputs": {}, "outputs_def": {}}, "give outputs_def alone"),
        ({**GOOD, "outputs_def": ["a"]}, "outputs_def should be a dict of handle definitions, but got list"),
        ({**GOOD, "outputs": {"a": "b"}}, r"outputs\['a'\] should be a dict with the key 'handle', but got str"),
        ({**GOOD, "inputs": 7}, "inputs should be a dict of the block's inputs, but got int"),
        ({**GOOD, "session_dir": 7}, "session_dir should be the path of a directory, but got int"),
        ({**GOOD, "blockInfo": Mock()}, "session_id of blockInfo should be a str, but got Mock"),
        ({**GOOD, "blockInfo": {"session_id": "S1"}}, "job_id of blockInfo should be a str, but got NoneType"),
        ({"store": {}, "pkg_dir": "/p"}, "pkg_dir, store: only together with blockInfo and mainframe"),
        ({"inputs": [1]}, "inputs should be a dict"),
        ({"parts": 1}, "unexpected keyword argument 'parts'"),
    ],
)
@BOTH
def test_arguments_that_do_not_fit_are_named(kind: type[Any], arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        kind(**arguments)


def test_definition_without_handle_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"outputs\['a'\]: missing attr key: 'handle'"):
        Context({}, INFO, Mock(), {}, {"a": {}}, "/session")


@pytest.mark.parametrize("info", [BLOCK, Mock(**BLOCK), Mapping])
def test_block_info_may_be_a_dict_or_any_object_with_its_attributes(
    info: Any, mainframe: Mainframe, tmp_path: Path
) -> None:
    if info is Mapping:
        info = {**JOB, "stacks": [{"node_id": "resize"}]}
    context = Context({}, info, mainframe, {}, None, str(tmp_path))
    assert (context.job_id, context.node_id) == ("J1", "resize")
