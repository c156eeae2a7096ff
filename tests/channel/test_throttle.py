"""Leading and trailing throttle: the figure of the API page, flushing, the end."""

from __future__ import annotations

from collections.abc import Callable

from oocana_async.channel.clock import Timer
from oocana_async.channel.throttle import Throttle
from oocana_async.testing.manual_clock import ManualClock


def make() -> tuple[Throttle[int], ManualClock, list[int]]:
    passed: list[int] = []
    clock = ManualClock()
    return Throttle(passed.append, 0.3, clock), clock, passed


def test_calls_pass_as_in_the_figure_of_the_api_page() -> None:
    throttle, clock, passed = make()
    throttle.offer(1)
    clock.advance(0.25)
    throttle.offer(2)
    clock.advance(0.05)
    assert passed == [1, 2]
    clock.advance(0.15)
    for call in (3, 4, 5, 6, 7):
        throttle.offer(call)
    clock.advance(0.149)
    assert passed == [1, 2]
    clock.advance(0.001)
    assert passed == [1, 2, 7]


def test_call_after_a_quiet_interval_passes_at_once() -> None:
    throttle, clock, passed = make()
    throttle.offer(1)
    clock.advance(0.3)
    throttle.offer(2)
    assert passed == [1, 2]
    assert clock.waiting == 0


def test_flush_passes_what_is_held_back_once() -> None:
    throttle, clock, passed = make()
    for call in (1, 2, 3):
        throttle.offer(call)
    throttle.flush()
    clock.advance(1)
    assert passed == [1, 3]


def test_closing_flushes_and_drops_what_comes_later() -> None:
    throttle, clock, passed = make()
    for call in (1, 2):
        throttle.offer(call)
    throttle.close()
    throttle.offer(3)
    clock.advance(1)
    assert passed == [1, 2]


def test_flush_starts_a_new_interval() -> None:
    throttle, clock, passed = make()
    throttle.offer(1)
    clock.advance(0.1)
    throttle.offer(2)
    throttle.flush()
    clock.advance(0.05)
    throttle.offer(3)
    clock.advance(0.24)
    assert passed == [1, 2]
    clock.advance(0.01)
    assert passed == [1, 2, 3]


def test_flush_leaves_no_timer_behind() -> None:
    throttle, clock, _ = make()
    for call in (1, 2):
        throttle.offer(call)
    throttle.flush()
    assert clock.waiting == 0


class TimersByHand(ManualClock):
    """A clock whose timers come when the test says so, cancelled or not."""

    def __init__(self) -> None:
        super().__init__()
        self.due: list[Callable[[], object]] = []

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        self.due.append(callback)
        return super().call_later(delay, callback)


def test_timer_that_was_due_while_another_thread_flushed_passes_nothing() -> None:
    passed: list[int] = []
    clock = TimersByHand()
    throttle = Throttle(passed.append, 0.3, clock)
    for call in (1, 2):
        throttle.offer(call)
    throttle.flush()
    throttle.offer(3)
    old, new = clock.due
    old()
    assert passed == [1, 2]
    new()
    assert passed == [1, 2, 3]


def test_value_offered_by_whoever_takes_one_is_held_back() -> None:
    clock, passed = ManualClock(), list[int]()

    def take(value: int) -> None:
        passed.append(value)
        if value == 1:
            throttle.offer(2)

    throttle = Throttle(take, 0.3, clock)
    throttle.offer(1)
    assert passed == [1]
    clock.advance(0.3)
    assert passed == [1, 2]
