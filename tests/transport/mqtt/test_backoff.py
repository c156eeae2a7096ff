"""When to try again: delays that grow, their jitter, their bound, and the end of trying."""

from __future__ import annotations

from oocana_async.transport.mqtt.backoff import Backoff


def test_delays_double_up_to_their_bound() -> None:
    backoff = Backoff(0.0, give_up_after=100, first=1, longest=5, jitter=lambda: 1.0)
    assert [backoff.delay(0.0) for _ in range(5)] == [1, 2, 4, 5, 5]


def test_jitter_takes_up_to_half() -> None:
    backoff = Backoff(0.0, give_up_after=100, first=1, longest=5, jitter=lambda: 0.0)
    assert [backoff.delay(0.0) for _ in range(2)] == [0.5, 1]


def test_gives_up_after_a_last_attempt_at_the_limit() -> None:
    backoff = Backoff(10.0, give_up_after=3, first=5, jitter=lambda: 1.0)
    assert backoff.delay(12.0) == 1.0
    assert backoff.delay(13.0) is None


def test_delays_grow_from_a_twentieth_of_a_second_to_five_by_default() -> None:
    backoff = Backoff(0.0, give_up_after=100, jitter=lambda: 1.0)
    delays = [backoff.delay(0.0) for _ in range(9)]
    assert (delays[0], delays[1], delays[-1]) == (0.05, 0.1, 5.0)
