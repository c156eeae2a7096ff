"""What a record tells."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from oocana_async.testing import Ended, Log, Output, Record, RunFailedError, StartedChild

OUTPUTS = [Output("a", 1), Output("b", 2), Output("a", 3)]


def test_outputs_are_equal_to_pairs() -> None:
    record = Record(outputs=OUTPUTS)
    assert record.outputs == [("a", 1), ("b", 2), ("a", 3)]
    assert (OUTPUTS[0].handle, OUTPUTS[0].value, OUTPUTS[0].target) == ("a", 1, None)


def test_all_and_last_take_the_result_as_the_last_value() -> None:
    record = Record(outputs=OUTPUTS, result={"a": 4})
    assert record.all("a") == [1, 3, 4]
    assert record.last("a") == 4
    assert record.last("b") == 2
    assert record.all("c") == []


def test_last_of_a_silent_handle_shows_the_record() -> None:
    with pytest.raises(LookupError, match=r"nothing was sent on \[c\]\nRecord: finished\n  outputs \(3\)"):
        Record(ended=Ended.FINISHED, outputs=OUTPUTS).last("c")


def test_raise_for_error_returns_a_finished_record() -> None:
    record = Record(ended=Ended.FINISHED)
    assert record.raise_for_error() is record


@pytest.mark.parametrize("ended", [Ended.FAILED, Ended.CANCELLED, Ended.RUNNING, Ended.TIMED_OUT])
def test_raise_for_error_raises_otherwise(ended: Ended) -> None:
    record = Record(ended=ended, error="it broke")
    with pytest.raises(RunFailedError, match=f"{ended}: it broke") as raised:
        record.raise_for_error()
    assert raised.value.record is record


def test_ended_is_equal_to_its_text() -> None:
    assert Record(ended=Ended.TIMED_OUT).ended == "timed out"


def test_log_text_joins_one_stream_or_both() -> None:
    record = Record(logs=[Log("a", "stdout"), Log("b", "stderr"), Log("c", "stdout")])
    assert record.log_text() == "a\nb\nc"
    assert record.log_text("stdout") == "a\nc"


def test_repr_shows_what_there_is_and_leaves_out_the_rest() -> None:
    record = Record(ended=Ended.FAILED, error="line 1\nline 2", outputs=OUTPUTS)
    assert repr(record) == "Record: failed\n  error: line 1\n    line 2\n  outputs (3): ('a', 1), ('b', 2), ('a', 3)"


def test_repr_stays_short_whatever_was_sent() -> None:
    frame = pd.DataFrame({"x": range(100)})
    many = [Output("n", number) for number in range(1000)]
    values = [Output("f", frame), Output("d", {"frame": frame}), Output("b", bytes(10_000)), Output("t", "x" * 10_000)]
    text = repr(Record(outputs=[*values, *many], children=[StartedChild("self::a", {"w": 1})]))
    assert "('f', <DataFrame of 100 x 1>)" in text
    assert "('d', {'frame': <DataFrame of 100 x 1>})" in text
    assert "<10000 bytes>" in text
    assert "... and 992 more" in text
    assert "StartedChild(block='self::a', inputs={'w': 1})" in text
    assert len(text) < 2000


def test_a_record_cannot_be_changed_by_assignment() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Record().error = "x"  # type: ignore[misc]
