"""Which message goes when, and at which quality of service: pacing by the engine, not by the broker; no I/O, no clock.

A PUBACK says that the broker has a message, not that the engine got it: brokers silently drop what piles up in front of
a slow subscriber. So messages to the session topic are held while too many are unconfirmed by the *engine*, jobs are
announced only as fast as their inputs arrive, and reports go no faster than their echo comes back.

What it does: it takes messages (`submit()`) and what the wire tells (`inputs_arrived()`, `answered()`, `echo()`, ...)
and returns from `take()` what must be sent now. What it will not do: send, or look at a clock. Duties of whoever drives
it: call `take()` after each of these calls and at `next_deadline()`, send in order what it returns, act on `notices()`.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from oocana_async.transport.pacing.windows import ReadyWindow, ReportWindow, SessionWindow
from oocana_async.wire import topics
from oocana_async.wire.envelope import Delivery, Outgoing
from oocana_async.wire.messages.session import QueryDownstream

__all__ = ["Notice", "NoticeKind", "Pacing", "PacingSettings"]

_NUDGE = b'{"type":"BlockProgress","session_id":"~","job_id":"~","progress":0}'
"""A message of a session that cannot exist: the engine drops it, but receiving it makes its side acknowledge."""

_UNSEEN_FINISHES = 100  # BlockFinished at QoS 0 that may wait for their echo; beyond it they go at QoS 1


class PacingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Windows and deadlines of the pacing; the defaults were measured on the engine and mosquitto at its defaults.

    Attributes:
        enabled: False sends everything at once.
        window: messages to one session topic that the engine may not have confirmed.
        barrier_from: unconfirmed messages from which on the engine is asked how far it is.
        barrier_deadline: seconds to wait for that answer before the window opens again.
        ready_window: jobs that may be ready without having their inputs.
        inputs_deadline: seconds within which the inputs of a ready job must come.
        ready_repeat: seconds before which BlockReady of a job is not repeated.
        report_window: messages of ours to `report` that may be without echo.
        report_release: seconds without an echo after which those count as lost.
        finish_echo: seconds after which a BlockFinished at QoS 0 that was not seen on `report` is sent again at QoS 1.
        nudges: seconds after which a message that the engine answers is followed by a tiny one, see `_NUDGE`.
    """

    enabled: bool = True
    window: int = 250
    barrier_from: int = 100
    barrier_deadline: float = 30.0
    ready_window: int = 200
    inputs_deadline: float = 60.0
    ready_repeat: float = 2.5
    report_window: int = 500
    report_release: float = 0.1
    finish_echo: float = 1.0
    nudges: tuple[float, ...] = (0.0005, 0.001)


class NoticeKind(enum.Enum):
    """What a notice is about."""

    NOT_CONFIRMED = "the engine did not confirm"
    NO_INPUTS = "no inputs came"
    DOUBLED = "messages were sent twice"


class Notice(NamedTuple):
    """Something that the user should hear of; `job_id` is empty when no single job is meant."""

    kind: NoticeKind
    session_id: str
    job_id: str
    text: str


Publication = tuple[str, bytes, int]


class _Job(msgspec.Struct):
    """What the pacing knows of one job between its first message and its BlockFinished."""

    announced: bool = False
    has_inputs: bool = False
    dirty: bool = False  # something of it went to the session topic at QoS 1
    over: bool = False  # the engine has ended it
    flows: frozenset[str] = frozenset()


class _Session(msgspec.Struct):
    """State of one session."""

    session_id: str
    topic: str
    window: SessionWindow
    ready: ReadyWindow
    over: bool = False
    warned: bool = False
    jobs: dict[str, _Job] = {}
    # Unbounded: who publishes waits while `held` is not 0. Drained by take().
    queue: deque[tuple[Outgoing, int]] = msgspec.field(default_factory=deque)
    # Unbounded, one BlockReady per job that the engine has handed out; drained by take() as inputs arrive.
    ready_queue: dict[str, Outgoing] = {}
    # Bound: _UNSEEN_FINISHES; drained by echoes and by the deadline.
    unseen_finishes: dict[str, tuple[float, Outgoing]] = {}
    finish_positions: dict[str, int] = {}
    nudges: deque[float] = msgspec.field(default_factory=deque)


class Pacing:
    """Decides for all sessions that one connection publishes to.

    Args:
        token: makes the request ids of this process unique within a session.
        settings: windows and deadlines.
    """

    def __init__(self, token: str, settings: PacingSettings | None = None) -> None:
        self.settings = settings or PacingSettings()
        self.report = ReportWindow(self.settings.report_window, self.settings.report_release)
        self._token = token
        self._sessions: dict[str, _Session] = {}
        # Unbounded: who publishes waits while `held` is not 0. Drained by take().
        self._reports: deque[Outgoing] = deque()
        self._reports_in = 0
        self._reports_out = 0
        self._out: list[Publication] = []
        self._notices: list[Notice] = []
        self._requests = 0
        self._finishes_resent = 0

    # --- messages in, messages out ------------------------------------------------------------------------------------

    def submit(self, batch: Iterable[Outgoing], now: float) -> None:
        """Take messages in order; `take()` returns those that may go."""
        for message in batch:
            if not self.settings.enabled:
                self._out.append((message.topic, message.payload, _plain_qos(message)))
            elif message.delivery is Delivery.REPORT:
                self._submit_report(message, now)
            elif message.session_id and message.topic == topics.session(message.session_id):
                self._submit_session(message, now)
            else:
                self._out.append((message.topic, message.payload, 1))

    def take(self, now: float) -> list[Publication]:
        """Return (topic, payload, QoS) of all that must be sent now, in order."""
        while self._reports and self._offer_report(self._reports[0], now):
            self._reports.popleft()
        for session in self._sessions.values():
            self._drain(session, now)
        out, self._out = self._out, []
        return out

    def notices(self) -> list[Notice]:
        """Return what the user should hear of since the last call."""
        notices, self._notices = self._notices, []
        return notices

    @property
    def held(self) -> int:
        """Messages that wait for a window, other than BlockReady."""
        return len(self._reports) + sum(len(session.queue) for session in self._sessions.values())

    @property
    def held_ready(self) -> int:
        """BlockReady messages that wait for the inputs of other jobs."""
        return sum(len(session.ready_queue) for session in self._sessions.values())

    def release(self, now: float) -> list[Publication]:
        """Give up pacing for good and return everything that was held: better too fast than never."""
        for session in self._sessions.values():
            session.over = True
        self.report.watched = False
        self.report.clear()
        return self.take(now)

    # --- reports ------------------------------------------------------------------------------------------------------

    def _submit_report(self, message: Outgoing, now: float) -> None:
        self._reports_in += 1
        if self._reports or not self._offer_report(message, now):
            self._reports.append(message)

    def _offer_report(self, message: Outgoing, now: float) -> bool:
        if self.report.is_full:
            return False
        self.report.sent(message.payload, now)
        self._reports_out += 1
        self._out.append((message.topic, message.payload, 1))
        return True

    # --- the session topic --------------------------------------------------------------------------------------------

    def _session(self, session_id: str) -> _Session:
        session = self._sessions.get(session_id)
        if session is None:
            known = self.settings
            session = _Session(
                session_id,
                topics.session(session_id),
                SessionWindow(known.window, known.barrier_from, known.barrier_deadline),
                ReadyWindow(known.ready_window, known.inputs_deadline, known.ready_repeat),
            )
            self._sessions[session_id] = session
        return session

    def _submit_session(self, message: Outgoing, now: float) -> None:
        session = self._session(message.session_id)
        if message.delivery is Delivery.HANDSHAKE:
            self._submit_ready(session, message, now)
            return
        job_id = message.job_id
        ending = message.delivery is Delivery.FINISH or job_id in session.finish_positions
        if job_id and not ending and job_id not in session.jobs and job_id not in session.unseen_finishes:
            session.jobs[job_id] = _Job()
        if session.queue or not self._offer(session, message, self._reports_in, now):
            session.queue.append((message, self._reports_in))

    def _drain(self, session: _Session, now: float) -> None:
        while session.queue and self._offer(session, *session.queue[0], now):
            session.queue.popleft()
        while session.ready_queue and (session.over or not session.ready.is_full):
            job_id = next(iter(session.ready_queue))
            self._send_ready(session, session.ready_queue.pop(job_id), now)
        while session.nudges and now >= session.nudges[0]:
            session.nudges.popleft()
            self._out.append((session.topic, _NUDGE, 0))

    def _offer(self, session: _Session, message: Outgoing, reports_before: int, now: float) -> bool:
        """Send a message if the window lets it through."""
        finishing = message.delivery is Delivery.FINISH
        if finishing and self._reports_out < reports_before:
            return False  # what a block reported stands before its end
        window = session.window
        if not session.over:
            if window.wants_barrier and (carrier := _carrier(session, message.job_id)):
                self._send_barrier(session, carrier, now)
            if window.is_full and (window.barrier is not None or _carrier(session, message.job_id)):
                return False
        if finishing:
            self._send_finish(session, message, now)
        else:
            self._send(session, message, 0 if message.delivery is Delivery.PROGRESS else 1, now)
        return True

    def _send(self, session: _Session, message: Outgoing, qos: int, now: float) -> None:
        self._out.append((message.topic, message.payload, qos))
        if qos or message.delivery is Delivery.PROGRESS:  # all others are confirmed one by one, and limited elsewhere
            session.window.sent += 1
        job = session.jobs.get(message.job_id)
        if qos and job is not None:
            job.dirty = True
        if qos and message.delivery in (Delivery.FINISH, Delivery.CONTROL):
            session.nudges = deque(now + delay for delay in self.settings.nudges)

    def _send_barrier(self, session: _Session, job_id: str, now: float) -> None:
        self._requests += 1
        request_id = f"barrier-{self._token}-{self._requests}"
        request = QueryDownstream(
            session_id=session.session_id, job_id=job_id, request_id=request_id, outputs=[], handles=[]
        )
        session.window.barrier_sent(request_id, job_id, now)
        session.jobs[job_id].dirty = True
        self._out.append((session.topic, msgspec.json.encode(request), 1))

    def _send_finish(self, session: _Session, message: Outgoing, now: float) -> None:
        """Send BlockFinished at QoS 0 if nothing can be overtaken by it, else at QoS 1 with a nudge behind it."""
        job = session.jobs.pop(message.job_id, None)
        session.ready.done(message.job_id)
        session.ready_queue.pop(message.job_id, None)
        clean = job is not None and not job.dirty and not session.over
        if clean and len(session.unseen_finishes) < _UNSEEN_FINISHES:
            session.unseen_finishes[message.job_id] = (now + self.settings.finish_echo, message)
            self._send(session, message, 0, now)
            return
        self._send(session, message, 1, now)
        session.finish_positions[message.job_id] = session.window.sent

    # --- BlockReady ---------------------------------------------------------------------------------------------------

    def _submit_ready(self, session: _Session, message: Outgoing, now: float) -> None:
        job = session.jobs.setdefault(message.job_id, _Job())
        if job.has_inputs or message.job_id in session.ready_queue or session.ready.is_fresh(message.job_id, now):
            return  # the engine repeats itself; it has been answered, or will be
        repeated = message.job_id in session.ready.waiting
        if session.over or repeated or not (session.ready.is_full or session.ready_queue):
            self._send_ready(session, message, now)
        else:
            session.ready_queue[message.job_id] = message

    def _send_ready(self, session: _Session, message: Outgoing, now: float) -> None:
        session.ready.sent(message.job_id, now)
        job = session.jobs.get(message.job_id)
        if job is not None:
            job.announced = True
        self._send(session, message, 0, now)

    # --- what the wire tells ------------------------------------------------------------------------------------------

    def inputs_arrived(self, session_id: str, job_id: str, flows: Iterable[str] = ()) -> None:
        """Note the inputs of a job, with the `flow_job_id`s of its stacks."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        session.ready.done(job_id)
        job = session.jobs.get(job_id)
        if job is not None:
            job.has_inputs = True
            job.flows = frozenset(flows)

    def answered(self, session_id: str, request_id: str) -> bool:
        """Note the answer to a request; returns whether it was one of the pacing's own."""
        session = self._sessions.get(session_id)
        if session is None or not session.window.answered(request_id):
            return request_id.startswith(f"barrier-{self._token}-")
        confirmed = session.window.confirmed
        if session.finish_positions:
            left = {job: at for job, at in session.finish_positions.items() if at > confirmed}
            session.finish_positions = left
        return True

    def echo(self, payload: bytes, now: float) -> bool:
        """Note a message on `report`; returns whether it is an echo of ours."""
        return self.report.seen(payload, now)

    def finish_seen(self, session_id: str, job_id: str) -> None:
        """Note that the engine has reported the end of a job."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        session.unseen_finishes.pop(job_id, None)
        position = session.finish_positions.pop(job_id, None)
        if position is not None:
            session.window.confirm(position)
            if (barrier := session.window.barrier) is not None and barrier.position < position:
                session.window.answered(barrier.request_id)
        self._job_over(session, job_id)

    def flow_over(self, session_id: str, flow_job_id: str) -> None:
        """Note the end of a flow; what is left of its jobs is not waited for."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        for job_id, job in session.jobs.items():
            if flow_job_id in job.flows:
                self._job_over(session, job_id)

    def session_over(self, session_id: str) -> None:
        """Note the end of a session: nobody takes its messages any more, they need no pacing."""
        session = self._session(session_id)
        session.over = True
        session.window.barrier = None
        session.unseen_finishes.clear()
        session.nudges.clear()
        session.ready.waiting.clear()

    def _job_over(self, session: _Session, job_id: str) -> None:
        session.window.job_over(job_id)
        session.ready.done(job_id)
        job = session.jobs.get(job_id)
        if job is not None:
            job.over = True

    def subscriptions_cut(self) -> None:
        """Note that messages to us may have been lost: inputs are handed out once, so those due will never come."""
        for session in self._sessions.values():
            text = "the connection to the broker was cut while the job waited for its inputs, which are sent only once"
            for job_id in session.ready.waiting:
                self._notices.append(Notice(NoticeKind.NO_INPUTS, session.session_id, job_id, text))
            session.ready.waiting.clear()
        self.report.clear()

    # --- time ---------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Say when `on_time()` wants to be called, None for not at all."""
        deadlines = [self.report.next_deadline()] if self._reports else []
        for session in self._sessions.values():
            if session.nudges:
                deadlines.append(session.nudges[0])
            if session.window.barrier is not None:
                deadlines.append(session.window.barrier.deadline)
            if session.unseen_finishes:
                deadlines.append(next(iter(session.unseen_finishes.values()))[0])
            deadlines.append(session.ready.next_deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def on_time(self, now: float) -> None:
        """Do what is due; `take()` and `notices()` have the results. Being called early does no harm."""
        if self._reports:
            self.report.expire(now)
        for session in self._sessions.values():
            self._expire_barrier(session, now)
            self._expire_ready(session, now)
            self._repeat_finishes(session, now)

    def _expire_barrier(self, session: _Session, now: float) -> None:
        barrier = session.window.barrier
        if barrier is None or not session.window.expire(now) or session.warned or not session.queue:
            return
        session.warned = True
        text = (
            f"the engine did not confirm our messages within {session.window.barrier_deadline:g} s; "
            "sending goes on without waiting, some messages may be lost"
        )
        self._notices.append(Notice(NoticeKind.NOT_CONFIRMED, session.session_id, barrier.job_id, text))

    def _expire_ready(self, session: _Session, now: float) -> None:
        for job_id in session.ready.expire(now):
            text = f"the engine sent no inputs within {session.ready.deadline:g} s after BlockReady"
            self._notices.append(Notice(NoticeKind.NO_INPUTS, session.session_id, job_id, text))

    def _repeat_finishes(self, session: _Session, now: float) -> None:
        due = [job_id for job_id, (deadline, _) in session.unseen_finishes.items() if now >= deadline]
        for job_id in due:
            _, message = session.unseen_finishes.pop(job_id)
            self._finishes_resent += 1
            self._send(session, message, 1, now)

    def statistics(self) -> Mapping[str, Any]:
        """State and counters, for people."""
        return {
            "held": self.held,
            "held_ready": self.held_ready,
            "report_unseen": self.report.unseen,
            "report_released": self.report.released,
            "finishes_resent": self._finishes_resent,
            "sessions": {
                name: {**session.window.statistics(), "waiting_for_inputs": len(session.ready.waiting)}
                for name, session in self._sessions.items()
            },
        }


def _plain_qos(message: Outgoing) -> int:
    return 0 if message.delivery in (Delivery.HANDSHAKE, Delivery.PROGRESS) else 1


def _carrier(session: _Session, preferred: str) -> str:
    """Return a job that the engine answers to, empty when there is none.

    A barrier costs a clean job its BlockFinished at QoS 0, so jobs that have lost that already come first.
    """
    living = {job_id: job for job_id, job in session.jobs.items() if not job.over}
    own = living.get(preferred)
    if own is not None and own.dirty:
        return preferred
    dirty = next((job_id for job_id, job in living.items() if job.dirty and job.announced), "")
    return dirty or (preferred if own is not None else next(iter(living), ""))
