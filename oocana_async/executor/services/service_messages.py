"""What executors and service processes say to each other: topics and bodies (protocol.md 6.2).

Prepare, ping, pong, shutdown, status and exit are the documented topics; bodies carry an `instance` besides, which
names one process, so that two processes of one service never run a job twice.
"""

from __future__ import annotations

import msgspec

from oocana_async.wire import topics
from oocana_async.wire.messages.dispatch import ServiceBlockPayload

__all__ = [
    "Ended",
    "ServiceJob",
    "ServiceTopics",
    "SessionEnd",
    "Sighting",
    "Status",
    "decode_ended",
    "decode_job",
    "decode_session_end",
    "decode_sighting",
    "decode_status",
]


class ServiceJob(msgspec.Struct, frozen=True):
    """A job for a service process, with what its session looks like.

    Attributes:
        payload: as the engine sent it.
        session_dir: directory that the session shares.
        pkg_data_dir: persistent data directory of the scope, may be empty.
        real_engine: heal failed children and watch the session topic, see `ExecutorSession`.
    """

    payload: ServiceBlockPayload
    session_dir: str
    pkg_data_dir: str = ""
    real_engine: bool = False

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self.payload.job_id


class SessionEnd(msgspec.Struct, frozen=True):
    """`action/end_session`: the executor of a session leaves; a global service forgets that session."""

    session_id: str


class Sighting(msgspec.Struct, frozen=True):
    """`report/prepare` and `report/pong`: a process is there."""

    instance: str = ""


class Ended(msgspec.Struct, frozen=True):
    """`report/ended`: jobs that the process has ended, after their BlockFinished."""

    instance: str
    job_ids: list[str]


class Status(msgspec.Struct, frozen=True):
    """`service/report/status` and `service/report/exit`."""

    service_hash: str
    session_id: str | None = None
    executor: str = "python"
    instance: str = ""


class ServiceTopics:
    """Topics of one service.

    Args:
        session_id: its session, None for a global one.
        service_hash: hash of its directory.
    """

    def __init__(self, session_id: str | None, service_hash: str) -> None:
        self._session_id = session_id
        self._hash = service_hash
        self.prepare = self._named("report/prepare")
        self.pong = self._named("report/pong")
        self.ended = self._named("report/ended")
        self.ping = self._named("action/ping")
        self.end_session = self._named("action/end_session")
        self.shutdown = self._named("action/shutdown")

    def run(self, instance: str) -> str:
        """Return where one process takes its jobs."""
        return self._named(f"action/run/{instance}")

    @property
    def reports(self) -> tuple[str, ...]:
        """What an executor listens to."""
        return (self._named("report/+"), topics.SERVICE_STATUS, topics.SERVICE_EXIT)

    def _named(self, name: str) -> str:
        return topics.service(self._session_id, self._hash, name)


decode_job = msgspec.json.Decoder(ServiceJob).decode
decode_session_end = msgspec.json.Decoder(SessionEnd).decode
decode_sighting = msgspec.json.Decoder(Sighting).decode
decode_ended = msgspec.json.Decoder(Ended).decode
decode_status = msgspec.json.Decoder(Status).decode
