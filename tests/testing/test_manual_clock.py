"""The manual clock."""

from __future__ import annotations

import pytest

from oocana_async.testing import ManualClock


def test_now_changes_only_by_advance() -> None:
    clock = ManualClock(5)
    assert clock.now() == 5
    clock.advance(0.3)
    assert clock.now() == 5.3


def test_calls_are_made_in_the_order_in_which_they_are_due() -> None:
    clock, calls = ManualClock(), list[tuple[str, float]]()
    clock.call_later(2, lambda: calls.append(("late", clock.now())))
    clock.call_later(1, lambda: calls.append(("early", clock.now())))
    clock.call_later(9, lambda: calls.append(("never", clock.now())))
    clock.advance(3)
    assert calls == [("early", 1), ("late", 2)]
    assert clock.now() == 3
    assert clock.waiting == 1


def test_a_call_that_sets_the_next_one_is_served_within_one_advance() -> None:
    clock, calls = ManualClock(), list[float]()

    def tick() -> None:
        calls.append(clock.now())
        clock.call_later(1, tick)

    clock.call_later(1, tick)
    clock.advance(3.5)
    assert calls == [1, 2, 3]


def test_a_cancelled_call_is_not_made() -> None:
    clock, calls = ManualClock(), list[int]()
    timer = clock.call_later(1, lambda: calls.append(1))
    timer.cancel()
    clock.advance(2)
    assert calls == []
    assert clock.waiting == 0


def test_going_back_is_refused() -> None:
    with pytest.raises(ValueError, match="got -1"):
        ManualClock().advance(-1)
