"""What ends a job, a flow or a session, as read from `report`."""

from __future__ import annotations

import msgspec
import pytest

from oocana_async.wire.messages.ends import EndKind, read_cancellation, read_end

FLOW_ENDS = ["FlowFinished", "SubflowBlockFinished", "SlotflowFinished"]


@pytest.mark.parametrize("kind", FLOW_ENDS)
def test_end_of_a_flow_ends_and_cancels(kind: str) -> None:
    payload = f'{{"session_id":"S","job_id":"F","error":{{"a":1}},"type" : "{kind}"}}'.encode()
    assert read_end(payload) == read_cancellation(payload) == (EndKind.FLOW, "S", "F")


def test_end_of_a_job_cancels_nothing() -> None:
    payload = b'{"session_id":"S","job_id":"J","result":{"a":"timeout after "},"type":"BlockFinished"}'
    assert read_end(payload) == (EndKind.JOB, "S", "J")
    assert read_cancellation(payload) is None


def test_end_of_the_session_has_no_job() -> None:
    payload = b'{"type":"SessionFinished","session_id":"S"}'
    assert read_end(payload) == read_cancellation(payload) == (EndKind.SESSION, "S", "")


def test_end_of_a_remote_session_ends_nothing_here() -> None:
    payload = b'{"type":"SessionFinished","session_id":"S","job_id":"remote"}'
    assert read_end(payload) is read_cancellation(payload) is None


def test_job_that_the_engine_has_given_up() -> None:
    payload = b'{"type":"BlockError","session_id":"S","job_id":"J","error":"J timeout after 5s"}'
    assert read_cancellation(payload) == (EndKind.TIMED_OUT_JOB, "S", "J")


@pytest.mark.parametrize("error", ['"other timeout after 5s"', '"said: J timeout after 5s"', '["J timeout after 5s"]'])
def test_other_errors_give_up_no_job(error: str) -> None:
    assert read_cancellation(f'{{"type":"BlockError","session_id":"S","job_id":"J","error":{error}}}'.encode()) is None


@pytest.mark.parametrize(
    "payload",
    [
        b'{"type":"BlockLog","log":"BlockFinished"}',
        b'{"type":"BlockOutput","output":"x Finished"}',
        b'{"type":"BlockMessage","payload":{"type":"FlowFinished"}}',
    ],
)
def test_everything_else_is_no_end(payload: bytes) -> None:
    assert read_end(payload) is read_cancellation(payload) is None


def test_message_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        read_end(b'Finished"')
    with pytest.raises(msgspec.DecodeError):
        read_cancellation(b'{"type":"FlowFinished"')
