"""Pacing decided message by message, with an engine that answers when the test says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oocana_async.transport.pacing.decisions import Pacing
from oocana_async.transport.pacing.notices import NoticeKind
from oocana_async.transport.pacing.settings import PacingSettings
from oocana_async.wire.envelope import Delivery, Outgoing

SESSION = "session/S"


def message(delivery: Delivery, job: str = "J", body: str = "", session: str = "S") -> Outgoing:
    topic = "report" if delivery is Delivery.REPORT else f"session/{session}"
    payload = json.dumps({"delivery": delivery.name, "job_id": job, "body": body}).encode()
    return Outgoing(topic, payload, delivery, session, job)


def data(count: int, job: str = "J", start: int = 0) -> list[Outgoing]:
    return [message(Delivery.DATA, job, str(number)) for number in range(start, start + count)]


class Desk:
    """A pacing with a clock in the hand of the test."""

    def __init__(self, **changes: Any) -> None:
        self.pacing = Pacing("T", PacingSettings(**changes))
        self.now = 0.0
        self.barriers: list[dict[str, Any]] = []

    def take(self) -> list[tuple[str, bytes, int]]:
        """Take what goes out; barriers are kept aside."""
        out = []
        for publication in self.pacing.take(self.now):
            body = json.loads(publication[1])
            if body.get("action") == "QueryDownstream":
                self.barriers.append(body)
            else:
                out.append(publication)
        return out

    def send(self, *messages: Outgoing) -> list[tuple[str, bytes, int]]:
        self.pacing.submit(messages, self.now)
        return self.take()

    def start(self, *jobs: str) -> None:
        for job in jobs:
            self.send(message(Delivery.HANDSHAKE, job))
            self.pacing.inputs_arrived("S", job, {"F"})

    def answer(self) -> list[tuple[str, bytes, int]]:
        assert self.pacing.answered("S", self.barriers.pop(0)["request_id"])
        return self.take()

    def wait(self, seconds: float) -> list[tuple[str, bytes, int]]:
        self.now += seconds
        self.pacing.on_time(self.now)
        return self.take()


@pytest.fixture
def desk() -> Desk:
    return Desk(nudges=())


# --- the session topic ------------------------------------------------------------------------------------------------


def test_small_sessions_never_send_a_barrier(desk: Desk) -> None:
    desk.start("J")
    assert len(desk.send(*data(99), message(Delivery.FINISH))) == 100
    assert desk.barriers == []


def test_barrier_from_100_on_window_of_250(desk: Desk) -> None:
    desk.start("J")
    assert len(desk.send(*data(400))) == 249  # the barrier is the 250th
    assert desk.barriers == [
        {
            "type": "BlockRequest",
            "action": "QueryDownstream",
            "session_id": "S",
            "job_id": "J",
            "request_id": "barrier-T-1",
            "outputs": [],
            "handles": [],
        }
    ]
    assert desk.pacing.held == 151
    assert len(desk.answer()) == 100  # 101 confirmed, a new barrier takes one place
    assert len(desk.barriers) == 1
    assert len(desk.answer()) == 51
    assert desk.pacing.held == 0


def test_order_is_kept_over_holding(desk: Desk) -> None:
    desk.start("J")
    bodies = data(1_000)
    sent = desk.send(*bodies[:500])
    for start in range(500, 1_000, 50):
        sent += desk.send(*bodies[start : start + 50])
    while desk.barriers:
        sent += desk.answer()
    assert [payload for _, payload, _ in sent] == [body.payload for body in bodies]


def test_last_finish_waits_for_room(desk: Desk) -> None:
    desk.start("J")
    desk.send(*data(249))
    assert desk.send(message(Delivery.FINISH)) == []
    assert desk.answer() == [(SESSION, message(Delivery.FINISH).payload, 1)]


def test_one_session_does_not_hold_another(desk: Desk) -> None:
    desk.start("J")
    desk.send(*data(300))
    assert len(desk.send(message(Delivery.DATA, "K", session="other"))) == 1


def test_barrier_is_void_when_its_job_is_over(desk: Desk) -> None:
    desk.start("J", "K")
    desk.send(*data(300))
    assert desk.barriers[0]["job_id"] == "J"
    desk.pacing.finish_seen("S", "J")
    desk.take()
    assert desk.barriers[1]["job_id"] == "K"


def test_second_finish_of_a_child_does_not_bring_it_back(desk: Desk) -> None:
    """It heals the engine; a barrier in the name of a job that has ended would never be answered."""
    desk.start("child")
    desk.send(*data(1, "child"), message(Delivery.FINISH, "child"), message(Delivery.CONTROL, "child"))
    desk.send(*data(300, ""))
    assert desk.barriers == []


def test_late_answer_of_a_void_barrier_still_counts(desk: Desk) -> None:
    desk.start("J", "K")
    desk.send(*data(300))
    desk.pacing.finish_seen("S", "J")
    desk.take()
    assert len(desk.answer()) > 0


def test_nothing_is_held_when_nobody_can_confirm(desk: Desk) -> None:
    desk.start("J")
    desk.send(*data(300))
    desk.pacing.flow_over("S", "F")
    assert len(desk.take()) == 51
    assert desk.pacing.held == 0


def test_engine_that_does_not_answer_is_asked_once(desk: Desk) -> None:
    """It costs one deadline and one warning, then its session is not paced any more."""
    desk.start("J")
    desk.send(*data(600))
    assert desk.pacing.next_deadline() == 30
    assert len(desk.wait(30)) == 351
    (notice,) = desk.pacing.notices()
    assert (notice.kind, notice.session_id, notice.job_id) == (NoticeKind.NOT_CONFIRMED, "S", "J")
    assert "within 30 s" in notice.text
    assert len(desk.send(*data(1_000))) == 1_000
    assert len(desk.barriers) == 1
    assert desk.pacing.next_deadline() is None
    assert desk.pacing.notices() == []


def test_engine_that_did_not_answer_is_told_of_when_it_first_matters(desk: Desk) -> None:
    desk.start("J")
    desk.send(*data(120))
    desk.wait(30)
    assert desk.pacing.notices() == []
    desk.send(*data(250))
    assert desk.pacing.notices() == []
    desk.send(*data(2))
    assert [notice.kind for notice in desk.pacing.notices()] == [NoticeKind.NOT_CONFIRMED]


def test_other_sessions_stay_paced_when_one_is_not_answered(desk: Desk) -> None:
    desk.start("J")
    desk.send(*data(600))
    desk.wait(30)
    assert len(desk.send(*[message(Delivery.DATA, "K", session="other")] * 400)) == 249


def test_answer_that_a_cut_has_swallowed_is_asked_for_again(desk: Desk) -> None:
    """Nothing is asked as long as no answer can come back, and nobody concludes that the engine does not answer."""
    desk.start("J")
    desk.send(*data(400))
    desk.pacing.subscriptions_cut()
    assert desk.wait(30) == []
    assert len(desk.barriers) == 1
    desk.pacing.subscriptions_again()
    desk.take()
    desk.barriers.pop(0)
    assert len(desk.answer()) > 0


def test_late_answer_of_a_barrier_is_no_news_for_subscribers(desk: Desk) -> None:
    desk.start("J")
    desk.send(*data(400))
    (barrier,) = desk.barriers
    assert desk.answer() != []
    assert desk.pacing.answered("S", barrier["request_id"])
    assert desk.pacing.answered("never heard of", barrier["request_id"])


def test_seen_finish_answers_a_barrier_before_it(desk: Desk) -> None:
    desk.start("J", "K")
    desk.send(*data(120, "J"))
    assert desk.pacing.next_deadline() == 30
    desk.send(*data(1, "K"), message(Delivery.FINISH, "K"))
    desk.pacing.finish_seen("S", "K")
    assert desk.pacing.next_deadline() is None
    desk.send(*data(101, "J"))
    assert len(desk.barriers) == 2


def test_barrier_spares_a_job_whose_finish_may_still_go_at_qos0(desk: Desk) -> None:
    desk.start("clean", "dirty")
    desk.send(*data(1, "dirty"), *[message(Delivery.PROGRESS, "clean")] * 120)
    assert [barrier["job_id"] for barrier in desk.barriers] == ["dirty"]
    assert desk.send(message(Delivery.FINISH, "clean"))[0][2] == 0


def test_end_of_the_session_ends_pacing(desk: Desk) -> None:
    desk.start("J")
    desk.send(*data(900))
    desk.pacing.session_over("S")
    assert len(desk.take()) == 651
    assert len(desk.send(*data(900))) == 900


def test_release_lets_everything_go(desk: Desk) -> None:
    desk.start("J")
    desk.pacing.report.watched = True
    desk.send(*data(300), *[message(Delivery.REPORT)] * 600, message(Delivery.FINISH))
    bodies = [json.loads(payload)["delivery"] for _, payload, _ in desk.pacing.release(0.0)]
    assert bodies == ["REPORT"] * 100 + ["DATA"] * 51 + ["FINISH"]


def test_pacing_can_be_switched_off() -> None:
    desk = Desk(enabled=False)
    sent = desk.send(*data(1_000), message(Delivery.HANDSHAKE), message(Delivery.FINISH))
    assert [qos for _, _, qos in sent] == [1] * 1_000 + [0, 1]


def test_foreign_answer_is_not_ours(desk: Desk) -> None:
    desk.start("J")
    assert not desk.pacing.answered("S", "R1")
    assert not desk.pacing.answered("unknown", "R1")


# --- quality of service of BlockFinished ------------------------------------------------------------------------------


def test_finish_of_a_job_without_outputs_goes_at_qos0(desk: Desk) -> None:
    desk.start("J")
    assert desk.send(message(Delivery.PROGRESS), message(Delivery.FINISH))[-1][2] == 0


@pytest.mark.parametrize("delivery", [Delivery.DATA, Delivery.CONTROL])
def test_finish_after_qos1_goes_at_qos1(desk: Desk, delivery: Delivery) -> None:
    desk.start("J")
    assert [qos for _, _, qos in desk.send(message(delivery), message(Delivery.FINISH))] == [1, 1]


def test_finish_of_the_carrier_of_a_barrier_goes_at_qos1(desk: Desk) -> None:
    desk.start("J")
    desk.send(*[message(Delivery.PROGRESS)] * 100)
    desk.send(message(Delivery.PROGRESS))
    assert len(desk.barriers) == 1
    assert desk.send(message(Delivery.FINISH))[0][2] == 1


def test_second_finish_goes_at_qos1(desk: Desk) -> None:
    desk.start("J")
    assert [qos for _, _, qos in desk.send(message(Delivery.FINISH), message(Delivery.FINISH))] == [0, 1]


def test_finish_that_is_not_seen_is_sent_again(desk: Desk) -> None:
    desk.start("J")
    finish = message(Delivery.FINISH)
    desk.send(finish)
    assert desk.pacing.next_deadline() == 1
    assert desk.wait(1) == [(SESSION, finish.payload, 1)]
    assert desk.wait(10) == []


def test_finish_that_is_seen_is_not_sent_again(desk: Desk) -> None:
    desk.start("J")
    desk.send(message(Delivery.FINISH))
    desk.pacing.finish_seen("S", "J")
    assert desk.pacing.next_deadline() is None
    assert desk.wait(10) == []


def test_trivial_jobs_never_cause_a_barrier(desk: Desk) -> None:
    for number in range(1_000):
        desk.start(f"J{number}")
        assert desk.send(message(Delivery.FINISH, f"J{number}"))[0][2] == 0
        desk.pacing.finish_seen("S", f"J{number}")
    assert desk.barriers == []


def test_unseen_finishes_are_limited(desk: Desk) -> None:
    jobs = [f"J{number}" for number in range(150)]
    desk.start(*jobs)
    levels = [desk.send(message(Delivery.FINISH, job))[0][2] for job in jobs]
    assert levels == [0] * 100 + [1] * 50


def test_seen_finish_at_qos1_confirms_what_was_before_it(desk: Desk) -> None:
    for number in range(100):
        desk.start(f"J{number}")
        desk.send(*data(90, f"J{number}"), message(Delivery.FINISH, f"J{number}"))
        desk.pacing.finish_seen("S", f"J{number}")
    assert desk.barriers == []
    assert desk.pacing.held == 0


# --- nudges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delivery", [Delivery.FINISH, Delivery.CONTROL])
def test_two_nudges_follow_what_the_engine_answers(delivery: Delivery) -> None:
    desk = Desk()
    desk.start("J")
    desk.send(message(Delivery.DATA), message(delivery))
    assert desk.pacing.next_deadline() == 0.0005
    for seconds in (0.0005, 0.0005):
        ((topic, payload, qos),) = desk.wait(seconds)
        assert (topic, qos) == (SESSION, 0)
        assert json.loads(payload)["session_id"] != "S"
    assert desk.wait(1) == []


def test_no_nudge_after_a_finish_at_qos0() -> None:
    desk = Desk()
    desk.start("J")
    desk.send(message(Delivery.FINISH))
    desk.pacing.finish_seen("S", "J")
    assert desk.pacing.next_deadline() is None


# --- BlockReady -------------------------------------------------------------------------------------------------------


def ready(*numbers: int) -> list[Outgoing]:
    return [message(Delivery.HANDSHAKE, f"J{number}") for number in numbers]


def test_at_most_200_jobs_wait_for_inputs(desk: Desk) -> None:
    assert len(desk.send(*ready(*range(300)))) == 200
    assert desk.pacing.held_ready == 100
    assert desk.pacing.held == 0  # whoever publishes does not wait for them
    desk.pacing.inputs_arrived("S", "J7")
    assert [payload for _, payload, _ in desk.take()] == [ready(200)[0].payload]


def test_block_ready_goes_at_qos0_past_a_full_window(desk: Desk) -> None:
    desk.start("J")
    desk.send(*data(300))
    assert desk.send(*ready(1)) == [(SESSION, ready(1)[0].payload, 0)]


def test_job_that_ends_before_its_inputs_makes_room(desk: Desk) -> None:
    desk.send(*ready(*range(202)))
    assert len(desk.send(message(Delivery.FINISH, "J3"))) == 2
    assert len(desk.send(message(Delivery.FINISH, "J201"))) == 1  # it was never announced, and is not any more
    assert desk.pacing.held_ready == 0


def test_repeated_block_ready_goes_once_in_2_5_s(desk: Desk) -> None:
    assert len(desk.send(*ready(1))) == 1
    desk.now = 2.4
    assert desk.send(*ready(1)) == []
    desk.now = 3.0
    assert len(desk.send(*ready(1))) == 1
    desk.pacing.inputs_arrived("S", "J1")
    desk.now = 9.0
    assert desk.send(*ready(1)) == []


def test_repeated_block_ready_that_is_held_stays_one(desk: Desk) -> None:
    desk.send(*ready(*range(201)))
    desk.now = 9.0
    desk.send(*ready(200))
    assert desk.pacing.held_ready == 1


def test_no_inputs_within_60_s(desk: Desk) -> None:
    desk.send(*ready(1))
    assert desk.pacing.next_deadline() == 60
    desk.wait(60)
    (notice,) = desk.pacing.notices()
    assert (notice.kind, notice.job_id) == (NoticeKind.NO_INPUTS, "J1")
    assert "within 60 s" in notice.text


def test_cut_while_waiting_for_inputs(desk: Desk) -> None:
    desk.start("has-them")
    desk.send(*ready(1))
    desk.pacing.subscriptions_cut()
    (notice,) = desk.pacing.notices()
    assert (notice.kind, notice.job_id) == (NoticeKind.NO_INPUTS, "J1")
    assert "cut" in notice.text


# --- reports ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def watching(desk: Desk) -> Desk:
    desk.pacing.report.watched = True
    return desk


def report(number: int) -> Outgoing:
    return message(Delivery.REPORT, body=str(number))


def test_500_reports_without_echo(watching: Desk) -> None:
    assert len(watching.send(*map(report, range(600)))) == 500
    assert not watching.pacing.echo(b"of somebody else", 0.0)
    assert watching.pacing.echo(report(0).payload, 0.0)
    assert [payload for _, payload, _ in watching.take()] == [report(500).payload]


def test_equal_reports_need_an_echo_each(watching: Desk) -> None:
    assert len(watching.send(*[report(0)] * 600)) == 500
    watching.pacing.echo(report(0).payload, 0.0)
    assert len(watching.take()) == 1


def test_missing_echo_opens_the_window_after_100_ms(watching: Desk) -> None:
    watching.send(*map(report, range(600)))
    assert watching.pacing.next_deadline() == 0.1
    assert len(watching.wait(0.1)) == 100


def test_idle_time_does_not_count_as_a_missing_echo(watching: Desk) -> None:
    watching.send(report(0))
    watching.pacing.echo(report(0).payload, 0.0)
    watching.now = 60.0
    watching.send(*map(report, range(600)))
    assert watching.pacing.next_deadline() == pytest.approx(60.1)
    assert watching.wait(0.05) == []


def test_echoes_put_the_release_off(watching: Desk) -> None:
    watching.send(*map(report, range(700)))
    watching.pacing.echo(report(0).payload, 0.09)
    assert watching.pacing.next_deadline() == pytest.approx(0.19)


def test_reports_are_not_held_when_nobody_watches(desk: Desk) -> None:
    assert len(desk.send(*map(report, range(2_000)))) == 2_000
    assert desk.pacing.next_deadline() is None


def test_finish_stays_behind_the_reports_of_its_job(watching: Desk) -> None:
    watching.start("J")
    assert len(watching.send(*map(report, range(501)), message(Delivery.FINISH))) == 500
    watching.pacing.echo(report(0).payload, 0.0)
    assert [topic for topic, _, _ in watching.take()] == ["report", SESSION]


def test_messages_keep_their_order_across_topics(watching: Desk) -> None:
    watching.start("J")
    mixed = [report(1), *data(1), report(2), *data(1, start=1)]
    assert [payload for _, payload, _ in watching.send(*mixed)] == [one.payload for one in mixed]


def test_other_topics_are_not_paced(desk: Desk) -> None:
    desk.start("J")
    desk.send(*data(300))
    other = Outgoing("service/report/status", b"{}", Delivery.CONTROL, "S")
    assert desk.send(other) == [("service/report/status", b"{}", 1)]


# --- an engine that takes its time ------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("data"), st.integers(0, 3), st.integers(1, 80)),
            st.tuples(st.just("finish"), st.integers(0, 3), st.just(0)),
            st.tuples(st.just("engine"), st.just(0), st.integers(1, 120)),
        ),
        max_size=60,
    )
)
def test_engine_never_has_more_than_the_window_before_it(plan: list[tuple[str, int, int]]) -> None:
    desk = Desk(nudges=(), window=50, barrier_from=20)
    queue: list[dict[str, Any]] = []  # what the broker holds for the engine
    taken: list[dict[str, Any]] = []
    submitted: dict[str, list[str]] = {}
    done: set[str] = set()

    def move(out: list[tuple[str, bytes, int]]) -> None:
        queue.extend(json.loads(payload) for topic, payload, qos in out if topic == SESSION and qos)

    def engine(count: int) -> None:
        for _ in range(min(count, len(queue))):
            body = queue.pop(0)
            if "request_id" in body:
                desk.pacing.answered("S", body["request_id"])
            else:
                taken.append(body)
            move(desk.pacing.take(0.0))

    jobs = ["A", "B", "C", "D"]
    desk.start(*jobs)
    for action, which, count in plan:
        job = jobs[which]
        if action == "engine":
            engine(count)
        elif job not in done:
            batch = (
                data(count, job, len(submitted.get(job, []))) if action == "data" else [message(Delivery.FINISH, job)]
            )
            submitted.setdefault(job, []).extend(json.loads(one.payload)["body"] for one in batch)
            done |= {job} if action == "finish" else set()
            desk.pacing.submit(batch, 0.0)
            move(desk.pacing.take(0.0))
        assert len(queue) <= 51  # a barrier may be on top
    while queue:
        engine(10)
    assert desk.pacing.held == 0
    for job, bodies in submitted.items():
        clean = bodies == [""]  # its end went at QoS 0, past this queue
        assert clean or [body["body"] for body in taken if body["job_id"] == job] == bodies
