"""Topics and their filters."""

from __future__ import annotations

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oocana_async.wire import topics

LEVELS = st.sampled_from(["a", "b", "session", "", "$SYS", "+"])
TOPICS = st.lists(LEVELS.filter(lambda level: level != "+"), min_size=1, max_size=5).map("/".join)
FILTERS = st.tuples(st.lists(LEVELS, min_size=1, max_size=5), st.booleans()).map(
    lambda drawn: "/".join([*drawn[0], "#"] if drawn[1] else drawn[0])
)


@given(FILTERS, TOPICS)
def test_matches_agrees_with_paho(pattern: str, topic: str) -> None:
    assert topics.matches(pattern, topic) == paho.topic_matches_sub(pattern, topic)


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        (topics.session("S1"), "session/S1"),
        (topics.inputs("S1", "J1"), "inputs/S1/J1"),
        (topics.run_block(), "executor/python/run_block"),
        (topics.run_service_block("nodejs"), "executor/nodejs/run_service_block"),
        (topics.response("S1", "R1"), "session/S1/request/R1/response"),
        (topics.service("S1", "H", "action/run"), "/S1/service/python/H/action/run"),
        (topics.service(None, "H", "action/run"), "service/python/H/action/run"),
    ],
)
def test_topics_are_those_of_the_wire(name: str, topic: str) -> None:
    assert name == topic


def test_filter_of_responses_takes_each_response() -> None:
    assert topics.matches(topics.responses("S1"), topics.response("S1", "R1"))
    assert not topics.matches(topics.responses("S1"), topics.response("S2", "R1"))
