"""What scriptlets get as `oocana` besides names: text of values, compression, `throttle`, the context of a service."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oocana_async import Context, compat
from oocana_async.errors import EncodingError
from oocana_async.testing.manual_clock import ManualClock


@pytest.mark.parametrize("value", [float("nan"), (1,), compat.BlockInfo("S1", "J1", []), 2**70])
def test_dumps_writes_what_would_be_sent(value: Any) -> None:
    assert compat.dumps({"a": value}) == compat.dumps({"a": json.loads(compat.dumps(value))})


def test_dumps_refuses_what_cannot_travel() -> None:
    with pytest.raises(EncodingError):
        compat.dumps(object())


def test_encoder_takes_dataclasses() -> None:
    text = json.dumps([compat.BlockInfo("S1", "J1", [])], cls=compat.DataclassJSONEncoder)
    assert json.loads(text)[0]["job_id"] == "J1"


def test_compression_is_what_was_chosen(tmp_path: Path) -> None:
    context = Context(inputs={}, blockInfo=INFO, mainframe=Silent(), session_dir=tmp_path, pkg_dir=str(tmp_path))
    assert (compat.compression_options(context), compat.compression_suffix(context)) == (None, ".pkl")
    compat.setup_dataframe_serialization(context, compression={"method": "gzip"})
    assert (compat.compression_options(context), compat.compression_suffix(context)) == ({"method": "gzip"}, ".gz")


INFO = compat.BlockInfo(session_id="S1", job_id="J1", stacks=[])


class Silent:
    """A mainframe that says nothing to anybody."""

    def send(self, job_info: Any, message: Any) -> None:
        """Do nothing."""

    def report(self, block_info: Any, message: Any) -> None:
        """Do nothing."""


# -- throttle ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The time by which `throttle` goes."""
    clock = ManualClock()
    monkeypatch.setattr("oocana_async.compat.throttler.ThreadClock", lambda: clock)
    return clock


def reporter(heard: list[Any]) -> Callable[[str], Any]:
    @dataclass
    class Reporter:
        """Equal to others of the same name, and not hashable."""

        name: str

        @compat.throttle(0.3)
        def report(self, value: int, *, times: int = 1) -> None:
            """Take a value."""
            heard.append((self.name, value * times))

    return Reporter


def test_throttle_keeps_a_state_for_each_instance(clock: ManualClock) -> None:
    heard: list[Any] = []
    kind = reporter(heard)
    one, equal, other = kind("one"), kind("one"), kind("other")
    for value in range(3):
        one.report(value)
        equal.report(10 + value)
        other.report(100, times=value)
    assert heard == [("one", 0), ("one", 10), ("other", 0)]
    clock.advance(0.3)
    assert heard[3:] == [("one", 2), ("one", 12), ("other", 200)]
    assert one.report.__doc__ == "Take a value."


def test_instance_that_is_gone_leaves_no_state_to_the_next_one(clock: ManualClock) -> None:
    heard: list[Any] = []
    kind = reporter(heard)
    for value in range(20):
        kind("passing").report(value)
        gc.collect()
    assert [value for _, value in heard] == list(range(20))


def test_throttle_takes_functions(clock: ManualClock) -> None:
    heard: list[Any] = []

    @compat.throttle(0.3)
    def report(value: int, *, times: int = 1) -> None:
        """Take a value."""
        heard.append(value * times)

    @compat.throttle(0.3)
    def other() -> None:
        heard.append("other")

    for value in range(3):
        report(value, times=2)
    other()
    assert heard == [0, "other"]
    clock.advance(0.3)
    assert heard == [0, "other", 4]
    assert (report.__name__, report.__doc__) == ("report", "Take a value.")


def test_throttle_takes_methods_of_classes_with_slots(clock: ManualClock) -> None:
    heard: list[int] = []

    class Slots:
        __slots__ = ()

        @compat.throttle(0.3)
        def report(self, value: int) -> None:
            heard.append(value)

    Slots().report(1)
    clock.advance(0.3)
    assert heard == [1]


# -- services ---------------------------------------------------------------------------------------------------------


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


def test_stand_in_for_a_service_may_leave_out_what_it_does_not_need() -> None:
    class Service(compat.ServiceContextAbstractClass):
        block_handler: Any = None
        waiting_ready_notify = True

    service = Service()
    service.notify_ready()
    service.add_message_callback(print)
