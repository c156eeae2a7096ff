"""When a service leaves, by what its manifest says."""

from __future__ import annotations

import pytest

from oocana_async.executor.services.lifetime import Lifetime, StopAt


@pytest.mark.parametrize("text", ["never", "Never"])
def test_never_has_two_spellings(text: str) -> None:
    assert StopAt.parse(text) is StopAt.NEVER


@pytest.mark.parametrize(
    ("text", "is_global"),
    [("block_end", False), ("session_end", False), ("app_end", True), ("Never", True), ("tomorrow", False)],
)
def test_stop_at_says_whether_a_service_outlives_its_session(text: str, is_global: bool) -> None:
    assert StopAt.parse(text).is_global is is_global


@pytest.mark.parametrize(("keep_alive", "leave_at"), [(None, 15.0), (0, 5.0), (2.5, 7.5), (-1, 5.0)])
def test_block_end_leaves_keep_alive_seconds_after_the_last_job(keep_alive: float | None, leave_at: float) -> None:
    lifetime = Lifetime(StopAt.BLOCK_END, keep_alive)
    lifetime.job_began()
    lifetime.job_began()
    lifetime.job_ended(3)
    assert lifetime.leave_at() is None
    lifetime.job_ended(5)
    assert lifetime.leave_at() == leave_at


def test_new_job_stops_the_countdown() -> None:
    lifetime = Lifetime(StopAt.BLOCK_END)
    lifetime.job_began()
    lifetime.job_ended(1)
    lifetime.job_began()
    assert lifetime.leave_at() is None


def test_block_end_service_without_any_job_stays() -> None:
    assert Lifetime(StopAt.BLOCK_END).leave_at() is None


@pytest.mark.parametrize("stop_at", [StopAt.SESSION_END, StopAt.APP_END, StopAt.NEVER])
def test_other_services_stay_when_idle(stop_at: StopAt) -> None:
    lifetime = Lifetime(stop_at, 1)
    lifetime.job_began()
    lifetime.job_ended(1)
    assert lifetime.leave_at() is None


def test_failed_main_leaves_as_soon_as_all_jobs_know() -> None:
    lifetime = Lifetime(StopAt.NEVER)
    lifetime.job_began()
    lifetime.main_failed(1)
    assert lifetime.leave_at() is None
    lifetime.job_ended(2)
    assert lifetime.leave_at() == 2
