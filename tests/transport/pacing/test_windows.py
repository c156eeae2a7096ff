"""The windows by themselves: what they count, and that they forget it."""

from __future__ import annotations

from oocana_async.transport.pacing.windows import SessionWindow


def test_void_barriers_are_forgotten_once_they_prove_nothing_new() -> None:
    """Each job that ends while it carries a barrier leaves one; a session may have any number of them."""
    window = SessionWindow(250, 100, 30.0)
    for number in range(10):
        window.barrier_sent(f"R{number}", "J", 0.0)
        window.job_over("J")
    window.confirm(window.sent)
    assert [window.answered(f"R{number}") for number in range(10)] == [False] * 10


def test_late_answer_of_a_void_barrier_confirms() -> None:
    window = SessionWindow(250, 100, 30.0)
    window.sent = 150
    window.barrier_sent("R", "J", 0.0)
    window.job_over("J")
    assert window.answered("R")
    assert window.unconfirmed == 0
