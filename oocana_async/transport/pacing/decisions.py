"""Which message goes when, and at which quality of service: pacing by the engine, not by the broker; no I/O, no clock.

A PUBACK says that the broker has a message, not that the engine got it: brokers silently drop what piles up in front of
a slow subscriber. So messages to the session topic are held while too many are unconfirmed by the *engine*, jobs are
announced only as fast as their inputs arrive, and reports go no faster than their echo comes back.

What it does: it takes messages (`submit()`) and what the wire tells (`inputs_arrived()`, `answered()`, `echo()`, ...)
and returns from `take()` what must be sent now. What it will not do: send, or look at a clock. Duties of whoever drives
it: call `take()` after each of these calls and at `next_deadline()`, send in order what it returns, act on `notices()`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from oocana_async.transport.pacing.notices import Notice
from oocana_async.transport.pacing.report_pacing import ReportPacing
from oocana_async.transport.pacing.session_pacing import SessionPacing
from oocana_async.transport.pacing.settings import PacingSettings
from oocana_async.transport.pacing.windows import ReportWindow
from oocana_async.wire import topics
from oocana_async.wire.envelope import Delivery, Outgoing, Publication

__all__ = ["Pacing"]


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
        # One list for all, so that messages to different topics keep the order in which they were submitted.
        self._out: list[Publication] = []
        self._notices: list[Notice] = []
        self._reports = ReportPacing(self.report, self._out)
        self._sessions: dict[str, SessionPacing] = {}

    # --- messages in, messages out ------------------------------------------------------------------------------------

    def submit(self, batch: Iterable[Outgoing], now: float) -> None:
        """Take messages in order; `take()` returns those that may go."""
        for message in batch:
            if not self.settings.enabled:
                self._out.append((message.topic, message.payload, _plain_qos(message)))
            elif message.delivery is Delivery.REPORT:
                self._reports.submit(message, now)
            elif message.session_id and message.topic == topics.session(message.session_id):
                self._session(message.session_id).submit(message, now)
            else:
                self._out.append((message.topic, message.payload, 1))

    def take(self, now: float) -> list[Publication]:
        """Return (topic, payload, QoS) of all that must be sent now, in order."""
        self._reports.drain(now)
        for session in self._sessions.values():
            session.drain(now)
        out = self._out.copy()
        self._out.clear()
        return out

    def notices(self) -> list[Notice]:
        """Return what the user should hear of since the last call."""
        notices = self._notices.copy()
        self._notices.clear()
        return notices

    @property
    def held(self) -> int:
        """Messages that wait for a window, other than BlockReady."""
        return self._reports.held + sum(session.held for session in self._sessions.values())

    @property
    def held_ready(self) -> int:
        """BlockReady messages that wait for the inputs of other jobs."""
        return sum(session.held_ready for session in self._sessions.values())

    def release(self, now: float) -> list[Publication]:
        """Give up pacing for good and return everything that was held: better too fast than never."""
        for session in self._sessions.values():
            session.release()
        self.report.watched = False
        self.report.clear()
        return self.take(now)

    def _session(self, session_id: str) -> SessionPacing:
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = SessionPacing(
                session_id,
                token=self._token,
                settings=self.settings,
                reports=self._reports,
                out=self._out,
                notices=self._notices,
            )
        return session

    # --- what the wire tells ------------------------------------------------------------------------------------------

    def inputs_arrived(self, session_id: str, job_id: str, flows: Iterable[str] = ()) -> None:
        """Note the inputs of a job, with the `flow_job_id`s of its stacks."""
        if (session := self._sessions.get(session_id)) is not None:
            session.inputs_arrived(job_id, flows)

    def answered(self, session_id: str, request_id: str) -> bool:
        """Note the answer to a request; returns whether it was one of the pacing's own."""
        session = self._sessions.get(session_id)
        if session is not None and session.answered(request_id):
            return True
        return request_id.startswith(f"barrier-{self._token}-")  # one that counts no more; nobody else waits for it

    def echo(self, payload: bytes, now: float) -> bool:
        """Note a message on `report`; returns whether it is an echo of ours."""
        return self.report.seen(payload, now)

    def finish_seen(self, session_id: str, job_id: str) -> None:
        """Note that the engine has reported the end of a job."""
        if (session := self._sessions.get(session_id)) is not None:
            session.finish_seen(job_id)

    def flow_over(self, session_id: str, flow_job_id: str) -> None:
        """Note the end of a flow; what is left of its jobs is not waited for."""
        if (session := self._sessions.get(session_id)) is not None:
            session.flow_over(flow_job_id)

    def session_over(self, session_id: str) -> None:
        """Note the end of a session: nobody takes its messages any more, they need no pacing."""
        self._session(session_id).session_over()

    def subscriptions_cut(self) -> None:
        """Note that messages to us may have been lost."""
        for session in self._sessions.values():
            session.subscriptions_cut()
        self.report.clear()

    def subscriptions_again(self) -> None:
        """Note that messages to us arrive again after `subscriptions_cut()`."""
        for session in self._sessions.values():
            session.subscriptions_again()

    # --- time ---------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """Say when `on_time()` wants to be called, None for not at all."""
        deadlines = [self._reports.next_deadline(), *(session.next_deadline() for session in self._sessions.values())]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def on_time(self, now: float) -> None:
        """Do what is due; `take()` and `notices()` have the results. Being called early does no harm."""
        self._reports.on_time(now)
        for session in self._sessions.values():
            session.on_time(now)

    def statistics(self) -> Mapping[str, Any]:
        """State and counters, for people."""
        return {
            "held": self.held,
            "held_ready": self.held_ready,
            "report_unseen": self.report.unseen,
            "report_released": self.report.released,
            "finishes_resent": sum(session.finishes_resent for session in self._sessions.values()),
            "sessions": {name: session.statistics() for name, session in self._sessions.items()},
        }


def _plain_qos(message: Outgoing) -> int:
    return 0 if message.delivery in (Delivery.HANDSHAKE, Delivery.PROGRESS) else 1
