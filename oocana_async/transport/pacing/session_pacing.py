"""When messages to one session topic go, and at which quality of service; no I/O, no clock.

What it does: counts what the engine has not confirmed, asks it how far it is by a *barrier* (a request whose answer
proves that everything before it was taken), announces jobs only as fast as their inputs come, ends clean jobs at QoS 0.
What it will not do: send, or look at a clock. Duties of whoever drives it: call `drain()` after anything that may have
made room and at `next_deadline()`, pass on what stands in `out` and `notices`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from oocana_async.transport.pacing.notices import Notice, NoticeKind
from oocana_async.transport.pacing.report_pacing import ReportPacing
from oocana_async.transport.pacing.settings import PacingSettings
from oocana_async.transport.pacing.windows import ReadyWindow, SessionWindow
from oocana_async.wire import topics
from oocana_async.wire.envelope import Delivery, Outgoing, Publication
from oocana_async.wire.messages.session import QueryDownstream

__all__ = ["SessionPacing"]

_NUDGE = b'{"type":"BlockProgress","session_id":"~","job_id":"~","progress":0}'
"""A message of a session that cannot exist: the engine drops it, but receiving it makes its side acknowledge.

Without it the engine could not send its next small packet: its TCP waits for our acknowledgement of the last one
(Nagle), and our side delays that by 40 ms. A packet of ours carries the acknowledgement along.
"""

_UNSEEN_FINISHES = 100  # BlockFinished at QoS 0 that may wait for their echo; beyond it they go at QoS 1


class _Job(msgspec.Struct):
    """What the pacing knows of one job between its first message and its BlockFinished."""

    announced: bool = False
    has_inputs: bool = False
    dirty: bool = False  # something of it went to the session topic at QoS 1
    over: bool = False  # the engine has ended it
    flows: frozenset[str] = frozenset()


class SessionPacing:
    """Decides for one session.

    Args:
        session_id: the session.
        token: makes the request ids of this process unique within the session.
        settings: windows and deadlines.
        reports: the messages to `report`, some of which must go before the end of their job.
        out: where messages go that may go.
        notices: where it is put what the user should hear of.
    """

    def __init__(
        self,
        session_id: str,
        *,
        token: str,
        settings: PacingSettings,
        reports: ReportPacing,
        out: list[Publication],
        notices: list[Notice],
    ) -> None:
        self._session_id = session_id
        self._topic = topics.session(session_id)
        self._token = token
        self._settings = settings
        self._reports = reports
        self._out = out
        self._notices = notices
        self._window = SessionWindow(settings.window, settings.barrier_from, settings.barrier_deadline)
        self._ready = ReadyWindow(settings.ready_window, settings.inputs_deadline, settings.ready_repeat)
        self._over = False
        self._is_answered = True  # until a barrier was not: then the engine is asked no more
        self._has_warned = False
        self._is_deaf = False  # no answer can reach us now
        self._barriers = 0
        self._jobs: dict[str, _Job] = {}
        # Unbounded: who publishes waits while `held` is not 0. Drained by drain().
        self._queue: deque[tuple[Outgoing, int]] = deque()
        # Unbounded, one BlockReady per job that the engine has handed out; drained by drain() as inputs arrive.
        self._ready_queue: dict[str, Outgoing] = {}
        # Bound: _UNSEEN_FINISHES; drained by echoes and by the deadline.
        self._unseen_finishes: dict[str, tuple[float, Outgoing]] = {}
        self._finish_positions: dict[str, int] = {}
        self._nudges: deque[float] = deque()
        self.finishes_resent = 0

    @property
    def held(self) -> int:
        """Messages that wait for the window, other than BlockReady."""
        return len(self._queue)

    @property
    def held_ready(self) -> int:
        """BlockReady messages that wait for the inputs of other jobs."""
        return len(self._ready_queue)

    # --- messages in, messages out ------------------------------------------------------------------------------------

    def submit(self, message: Outgoing, now: float) -> None:
        """Take a message to the session topic."""
        if message.delivery is Delivery.HANDSHAKE:
            self._submit_ready(message, now)
            return
        job_id = message.job_id
        ending = message.delivery is Delivery.FINISH or job_id in self._finish_positions
        if job_id and not ending and job_id not in self._jobs and job_id not in self._unseen_finishes:
            self._jobs[job_id] = _Job()
        if self._queue or not self._offer(message, self._reports.taken, now):
            self._queue.append((message, self._reports.taken))

    def drain(self, now: float) -> None:
        """Let go what may go now."""
        while self._queue and self._offer(*self._queue[0], now):
            self._queue.popleft()
        while self._ready_queue and (self._over or not self._ready.is_full):
            job_id = next(iter(self._ready_queue))
            self._send_ready(self._ready_queue.pop(job_id), now)
        while self._nudges and now >= self._nudges[0]:
            self._nudges.popleft()
            self._out.append((self._topic, _NUDGE, 0))

    def _offer(self, message: Outgoing, reports_before: int, now: float) -> bool:
        """Send a message if the window lets it through."""
        finishing = message.delivery is Delivery.FINISH
        if finishing and self._reports.sent < reports_before:
            return False  # what a block reported stands before its end
        if not self._over and not self._has_room(message.job_id, now):
            return False
        if finishing:
            self._send_finish(message, now)
        else:
            self._send(message, 0 if message.delivery is Delivery.PROGRESS else 1, now)
        return True

    def _has_room(self, job_id: str, now: float) -> bool:
        window = self._window
        if not self._is_answered:
            if window.is_full:
                self._warn(job_id)  # it is now that messages may get lost, if nobody was held before
            return True
        if window.wants_barrier and not self._is_deaf and (carrier := self._carrier(job_id)):
            self._send_barrier(carrier, now)
        # Without a barrier on its way and without a job to carry one, nothing would ever make room: then better too
        # fast than never.
        return not (window.is_full and (window.barrier is not None or self._carrier(job_id)))

    def _send(self, message: Outgoing, qos: int, now: float) -> None:
        self._out.append((message.topic, message.payload, qos))
        if qos or message.delivery is Delivery.PROGRESS:  # all others are confirmed one by one, and limited elsewhere
            self._window.sent += 1
        job = self._jobs.get(message.job_id)
        if qos and job is not None:
            job.dirty = True
        if qos and message.delivery in (Delivery.FINISH, Delivery.CONTROL):
            self._nudges = deque(now + delay for delay in self._settings.nudges)

    def _send_finish(self, message: Outgoing, now: float) -> None:
        """Send BlockFinished at QoS 0 if nothing can be overtaken by it, else at QoS 1 with a nudge behind it.

        QoS 0 saves the engine a PUBACK that it has to wait for, but may overtake what the broker still queues at QoS 1,
        and the engine ignores what comes after a BlockFinished.
        """
        job = self._jobs.pop(message.job_id, None)
        self._ready.done(message.job_id)
        self._ready_queue.pop(message.job_id, None)
        clean = job is not None and not job.dirty and not self._over
        if clean and len(self._unseen_finishes) < _UNSEEN_FINISHES:
            self._unseen_finishes[message.job_id] = (now + self._settings.finish_echo, message)
            self._send(message, 0, now)
            return
        self._send(message, 1, now)
        self._finish_positions[message.job_id] = self._window.sent

    # --- barriers -----------------------------------------------------------------------------------------------------

    def _carrier(self, preferred: str) -> str:
        """Return a job in whose name the engine can be asked, empty when there is none: it answers to living jobs only.

        A barrier goes at QoS 1 and so costs a clean job its BlockFinished at QoS 0; jobs that have lost that already
        come first.
        """
        own = self._jobs.get(preferred)
        if own is not None and own.dirty and not own.over:
            return preferred
        living = {job_id: job for job_id, job in self._jobs.items() if not job.over}
        dirty = next((job_id for job_id, job in living.items() if job.dirty and job.announced), "")
        return dirty or (preferred if preferred in living else next(iter(living), ""))

    def _send_barrier(self, job_id: str, now: float) -> None:
        self._barriers += 1
        request_id = f"barrier-{self._token}-{self._barriers}"
        request = QueryDownstream(
            session_id=self._session_id, job_id=job_id, request_id=request_id, outputs=[], handles=[]
        )
        self._window.barrier_sent(request_id, job_id, now)
        self._jobs[job_id].dirty = True
        self._out.append((self._topic, msgspec.json.encode(request), 1))

    def answered(self, request_id: str) -> bool:
        """Note the answer to a request; returns whether it was one of the barriers that still count."""
        if not self._window.answered(request_id):
            return False
        confirmed = self._window.confirmed
        if self._finish_positions:
            self._finish_positions = {job: at for job, at in self._finish_positions.items() if at > confirmed}
        return True

    def _expire_barrier(self, now: float) -> None:
        """Ask no more once an answer did not come: each further barrier would cost its whole deadline again."""
        barrier = self._window.barrier
        if barrier is None or not self._window.expire(now):
            return
        self._is_answered = False
        if self._queue:
            self._warn(barrier.job_id)

    def _warn(self, job_id: str) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        text = (
            f"the engine did not confirm our messages within {self._window.barrier_deadline:g} s; "
            "sending goes on without waiting, some messages may be lost"
        )
        self._notices.append(Notice(NoticeKind.NOT_CONFIRMED, self._session_id, job_id, text))

    # --- BlockReady ---------------------------------------------------------------------------------------------------

    def _submit_ready(self, message: Outgoing, now: float) -> None:
        job = self._jobs.setdefault(message.job_id, _Job())
        if job.has_inputs or message.job_id in self._ready_queue or self._ready.is_fresh(message.job_id, now):
            return  # the engine repeats itself; it has been answered, or will be
        repeated = message.job_id in self._ready.waiting
        if self._over or repeated or not (self._ready.is_full or self._ready_queue):
            self._send_ready(message, now)
        else:
            self._ready_queue[message.job_id] = message

    def _send_ready(self, message: Outgoing, now: float) -> None:
        self._ready.sent(message.job_id, now)
        job = self._jobs.get(message.job_id)
        if job is not None:
            job.announced = True
        self._send(message, 0, now)

    def inputs_arrived(self, job_id: str, flows: Iterable[str]) -> None:
        """Note the inputs of a job, with the `flow_job_id`s of its stacks."""
        self._ready.done(job_id)
        job = self._jobs.get(job_id)
        if job is not None:
            job.has_inputs = True
            job.flows = frozenset(flows)

    # --- ends ---------------------------------------------------------------------------------------------------------

    def finish_seen(self, job_id: str) -> None:
        """Note that the engine has reported the end of a job."""
        self._unseen_finishes.pop(job_id, None)
        position = self._finish_positions.pop(job_id, None)
        if position is not None:
            self._window.confirm(position)
        self._job_over(job_id)

    def flow_over(self, flow_job_id: str) -> None:
        """Note the end of a flow; what is left of its jobs is not waited for."""
        for job_id, job in self._jobs.items():
            if flow_job_id in job.flows:
                self._job_over(job_id)

    def _job_over(self, job_id: str) -> None:
        self._window.job_over(job_id)
        self._ready.done(job_id)
        job = self._jobs.get(job_id)
        if job is not None:
            job.over = True

    def session_over(self) -> None:
        """Note the end of the session: nobody takes its messages any more, they need no pacing."""
        self._over = True
        self._window.barrier = None
        self._unseen_finishes.clear()
        self._nudges.clear()
        self._ready.waiting.clear()

    def release(self) -> None:
        """Hold nothing any more: better too fast than never."""
        self._over = True

    def subscriptions_cut(self) -> None:
        """Note that messages to us may have been lost: inputs are handed out once, so those due will never come."""
        text = "the connection to the broker was cut while the job waited for its inputs, which are sent only once"
        for job_id in self._ready.waiting:
            self._notices.append(Notice(NoticeKind.NO_INPUTS, self._session_id, job_id, text))
        self._ready.waiting.clear()
        self._window.void_barrier()  # its answer may be lost, too; that says nothing about the engine
        self._is_deaf = True

    def subscriptions_again(self) -> None:
        """Note that answers arrive again."""
        self._is_deaf = False

    # --- time ---------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Say when `on_time()` wants to be called, None for not at all."""
        deadlines = [self._ready.next_deadline()]
        if self._nudges:
            deadlines.append(self._nudges[0])
        if self._window.barrier is not None:
            deadlines.append(self._window.barrier.deadline)
        if self._unseen_finishes:
            deadlines.append(next(iter(self._unseen_finishes.values()))[0])
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def on_time(self, now: float) -> None:
        """Do what is due; being called early does no harm."""
        self._expire_barrier(now)
        self._expire_ready(now)
        self._repeat_finishes(now)

    def _expire_ready(self, now: float) -> None:
        for job_id in self._ready.expire(now):
            text = f"the engine sent no inputs within {self._ready.deadline:g} s after BlockReady"
            self._notices.append(Notice(NoticeKind.NO_INPUTS, self._session_id, job_id, text))

    def _repeat_finishes(self, now: float) -> None:
        due = [job_id for job_id, (deadline, _) in self._unseen_finishes.items() if now >= deadline]
        for job_id in due:
            _, message = self._unseen_finishes.pop(job_id)
            self.finishes_resent += 1
            self._send(message, 1, now)

    def statistics(self) -> Mapping[str, Any]:
        """State and counters, for people."""
        return {**self._window.statistics(), "waiting_for_inputs": len(self._ready.waiting)}
