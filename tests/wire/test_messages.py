"""Messages of the wire: what is written, what is read, and what is passed over."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.dispatch import decode_block_inputs, decode_block_payload, decode_response
from oocana_async.wire.messages.report import BlockFinishedEvent, BlockLog, SessionFinished, decode_report
from oocana_async.wire.messages.session import BlockOutput, Preview, decode_session

SESSION: list[dict[str, Any]] = [
    {"type": "ExecutorReady", "session_id": "S1", "executor_name": "python", "package": "/w", "identifier": "I",
     "debug_port": None},
    {"type": "BlockReady", "session_id": "S1", "job_id": "J1"},
    {"type": "BlockOutput", "session_id": "S1", "job_id": "J1", "handle": "image", "output": {"a": None}},
    {"type": "BlockOutput", "session_id": "S1", "job_id": "J1", "handle": "image", "output": 42,
     "options": {"target": {"to_node": [{"node_id": "save", "input_handle": "img"}], "to_flow": None}}},
    {"type": "BlockOutputs", "session_id": "S1", "job_id": "J1", "outputs": {"image": 1, "log": "ok"}},
    {"type": "BlockProgress", "session_id": "S1", "job_id": "J1", "progress": 37.5},
    {"type": "BlockFinished", "session_id": "S1", "job_id": "J1", "result": {"image": 1}},
    {"type": "BlockFinished", "session_id": "S1", "job_id": "J1", "error": "Traceback"},
    {"type": "BlockFinished", "session_id": "S1", "job_id": "J1"},
    {"type": "BlockError", "session_id": "S1", "job_id": "J1", "error": "could not parse row 7"},
    {"type": "BlockRequest", "action": "RunBlock", "session_id": "S1", "job_id": "J1", "request_id": "R1",
     "block": "self::crop", "block_job_id": "C1", "strict": False,
     "payload": {"inputs": {"w": 10}, "additional_inputs_def": None, "additional_outputs_def": [{"handle": "extra"}]},
     "stacks": [{"flow_job_id": "F1", "flow": "/f", "node_id": "resize"}]},
    {"type": "BlockRequest", "action": "QueryBlock", "session_id": "S1", "job_id": "J1", "request_id": "R1",
     "block": "pkg::name"},
    {"type": "BlockRequest", "action": "QueryDownstream", "session_id": "S1", "job_id": "J1", "request_id": "R2",
     "outputs": ["image"], "handles": ["image"]},
    {"type": "BlockRequest", "action": "Preview", "session_id": "S1", "job_id": "J1", "request_id": "R3",
     "payload": {"type": "text", "data": "hi"}},
    {"type": "BlockRequest", "action": "QueryAuth", "session_id": "S1", "job_id": "J1", "request_id": "R4",
     "payload": "id"},
    {"type": "BlockRequest", "action": "UpdateNodeWeight", "session_id": "S1", "job_id": "J1", "request_id": "R5",
     "node_id": "resize", "weight": 2.0},
]  # fmt: skip


@pytest.mark.parametrize("message", SESSION, ids=lambda message: message.get("action", message["type"]))
def test_message_of_the_session_topic_reads_and_writes_alike(message: dict[str, Any]) -> None:
    decoded = decode_session(json.dumps(message).encode())
    assert decoded is not None
    assert json.loads(encode_message(decoded)) == message


def test_extra_keys_and_foreign_types_are_passed_over() -> None:
    extra = b'{"done":true,"type":"BlockOutput","session_id":"S","job_id":"J","handle":"h","output":"BlockRequest"}'
    assert isinstance(decode_session(extra), BlockOutput)
    assert decode_session(b'{"type":"ListenerTimeout","session_id":"S","job_id":"J"}') is None
    assert decode_report(b'{"type":"SomethingNew","session_id":"S"}') is None


@pytest.mark.parametrize("body", [b"{", b"[]", b"7", b'{"type":7}', b'{"type":[]}', b'{"type":"BlockReady"}', b"\xff"])
def test_bad_message_raises_one_kind_of_error(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_session(body)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"type":7}', b'{"type":[]}', b'{"type":"BlockLog"}'])
def test_bad_event_raises_one_kind_of_error(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_report(body)


def test_bad_request_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError, match="Nope"):
        decode_session(b'{"type":"BlockRequest","action":"Nope","session_id":"S","job_id":"J","request_id":"R"}')


def test_values_stay_encoded() -> None:
    body = b'{"type":"BlockOutput","session_id":"S","job_id":"J","handle":"h","output":1.0000000000000001e0}'
    message = decode_session(body)
    assert isinstance(message, BlockOutput)
    assert bytes(message.output) == b"1.0000000000000001e0"
    assert encode_message(message) == body


def test_events_tell_absent_from_null() -> None:
    absent = decode_report(b'{"type":"BlockFinished","session_id":"S","job_id":"J"}')
    null = decode_report(b'{"type":"BlockFinished","session_id":"S","job_id":"J","result":null}')
    assert isinstance(absent, BlockFinishedEvent)
    assert isinstance(null, BlockFinishedEvent)
    assert (absent.result, null.result) == (msgspec.UNSET, None)


def test_forwarded_end_of_a_session_is_told_apart() -> None:
    forwarded = b'{"type":"SessionFinished","session_id":"S","finish_at":1,"path":"/f","job_id":"J"}'
    event = decode_report(forwarded)
    assert isinstance(event, SessionFinished)
    assert event.job_id == "J"


def test_log_of_the_official_sdk_is_read() -> None:
    event = decode_report(b'{"type":"BlockLog","session_id":"S","job_id":"J","stacks":[],"log":"a","stderr":"stderr"}')
    assert isinstance(event, BlockLog)
    assert (event.log, event.stderr) == ("a", "stderr")


def test_dispatch_messages_are_read_with_what_may_be_missing() -> None:
    body = (
        b'{"type":"BlockPayload","session_id":"S","executor_name":"python","job_id":"J","stacks":[],"dir":"/d",'
        b'"executor":{"name":"python"}}'
    )
    payload = decode_block_payload(body)
    assert (payload.executor.options, payload.outputs, payload.identifier) == (None, None, None)
    inputs = decode_block_inputs(
        b'{"type":"BlockInputs","session_id":"S","job_id":"J","stacks":[],"inputs":null,"inputs_def":null,'
        b'"inputs_def_patch":{"t":[{"path":["a",0],"schema":{}}]}}'
    )
    assert (inputs.inputs, inputs.block_path) == (None, None)
    assert inputs.inputs_def_patch is not None
    assert inputs.inputs_def_patch["t"][0].path == ["a", 0]


@pytest.mark.parametrize("result", ["null", "{}", '{"a":[1]}', "7"])
def test_answer_with_any_result_is_read(result: str) -> None:
    body = f'{{"session_id":"S","job_id":"J","request_id":"R","result":{result}}}'
    assert bytes(decode_response(body.encode()).result) == result.encode()


def test_preview_request_has_its_two_tags() -> None:
    request = Preview(session_id="S", job_id="J", request_id="R", payload=msgspec.Raw(b"{}"))
    assert encode_message(request).startswith(b'{"action":"Preview",')
    assert b'"type":"BlockRequest"' in encode_message(request)
