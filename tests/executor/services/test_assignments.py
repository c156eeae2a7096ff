"""Which job is held, which one has a process, and what becomes of both when that is gone."""

from __future__ import annotations

from oocana_async.executor.services.assignments import Assignments
from oocana_async.executor.services.service_messages import ServiceJob
from oocana_async.wire.messages.dispatch import ServiceBlockPayload, ServiceExecutor


def job(job_id: str) -> ServiceJob:
    payload = ServiceBlockPayload("S", job_id, [], "python", "/d", "b", ServiceExecutor(), "H")
    return ServiceJob(payload, "/s")


def ids(jobs: list[ServiceJob]) -> list[str]:
    return [one.job_id for one in jobs]


def test_jobs_are_held_until_there_is_a_process() -> None:
    jobs = Assignments()
    assert jobs.take(job("1")) == []
    assert jobs.take(job("2")) == []
    assert ids(jobs.found("A")) == ["1", "2"]
    assert ids(jobs.take(job("3"))) == ["3"]
    assert len(jobs) == 3


def test_jobs_of_a_process_that_dies_fail_but_those_it_has_ended() -> None:
    jobs = Assignments()
    jobs.found("A")
    jobs.take(job("1"))
    jobs.take(job("2"))
    jobs.ended(["1", "never heard of"])
    assert ids(jobs.gone(orderly=False)) == ["2"]
    assert len(jobs) == 0


def test_jobs_that_a_leaving_process_has_not_taken_go_to_the_next_one_once() -> None:
    jobs = Assignments()
    jobs.found("A")
    jobs.take(job("1"))
    assert jobs.gone(orderly=True) == []
    assert jobs.has_held
    assert ids(jobs.found("B")) == ["1"]
    assert ids(jobs.gone(orderly=True)) == ["1"]


def test_only_held_jobs_can_be_dropped() -> None:
    jobs = Assignments()
    jobs.found("A")
    jobs.take(job("1"))
    jobs.gone(orderly=True)
    jobs.take(job("2"))
    assert ids(jobs.drop(lambda one: one.job_id == "2")) == ["2"]
    assert ids(jobs.found("B")) == ["1"]
    assert jobs.drop() == []


def test_all_jobs_can_be_failed() -> None:
    jobs = Assignments()
    jobs.found("A")
    jobs.take(job("1"))
    assert ids(jobs.fail_all()) == ["1"]
    assert jobs.instance is None
