"""Which jobs an executor remembers after their end."""

from __future__ import annotations

from oocana_async.executor.recent_jobs import RecentIds


def test_id_is_remembered() -> None:
    recent = RecentIds()
    recent.add("a")
    assert "a" in recent
    assert "b" not in recent


def test_oldest_ids_are_forgotten_and_still_counted() -> None:
    recent = RecentIds(limit=2)
    for job_id in "abc":
        recent.add(job_id)
    assert [job_id for job_id in "abc" if job_id in recent] == ["b", "c"]
    assert recent.count == 3
