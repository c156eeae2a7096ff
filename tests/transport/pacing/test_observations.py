"""What the pacing reads out of incoming messages."""

from __future__ import annotations

import pytest

from oocana_async.transport.pacing.observations import read_inputs, read_response_topic


def test_inputs_with_the_flows_around_the_job() -> None:
    payload = b'{"type":"BlockInputs","inputs":{"stacks":[1]},"stacks":[{"flow_job_id":"F","flow":"f","node_id":"n"}]}'
    assert read_inputs("inputs/S/J", payload) == ("S", "J", ("F",))


@pytest.mark.parametrize("payload", [b"", b"no json", b"[]", b'{"stacks":null}', b'{"stacks":[{"flow_job_id":1}]}'])
def test_poisoned_inputs_still_count_as_arrived(payload: bytes) -> None:
    assert read_inputs("inputs/S/J", payload) == ("S", "J", ())


def test_other_topics_are_no_inputs() -> None:
    assert read_inputs("executor/python/run_block", b"{}") is None


def test_response_topic() -> None:
    assert read_response_topic("session/S/request/R/response") == ("S", "R")
    assert read_response_topic("session/S/request/R") is None
