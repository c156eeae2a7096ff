"""Names of the topics (protocol.md 1.3, 6.2)."""

from __future__ import annotations

REPORT = "report"
SERVICE_STATUS = "service/report/status"
SERVICE_EXIT = "service/report/exit"
SERVICE_MESSAGE = "/service/message"
SERVICE_GLOBAL_SHUTDOWN = "service/global/action/shutdown"


def session(session_id: str) -> str:
    """Topic on which executors talk to the engine."""
    return f"session/{session_id}"


def inputs(session_id: str, job_id: str) -> str:
    """Topic on which a job gets its inputs; `+` as job id matches all jobs of a session."""
    return f"inputs/{session_id}/{job_id}"


def run_block(executor: str = "python") -> str:
    """Topic on which jobs of task blocks arrive, of every session on the broker."""
    return f"executor/{executor}/run_block"


def run_service_block(executor: str = "python") -> str:
    """Topic on which jobs of service blocks arrive, of every session on the broker."""
    return f"executor/{executor}/run_service_block"


def response(session_id: str, request_id: str) -> str:
    """Topic on which one request is answered; `+` as request id matches all of a session."""
    return f"session/{session_id}/request/{request_id}/response"


def responses(session_id: str) -> str:
    """Filter that matches the answers to all requests of a session."""
    return f"session/{session_id}/request/+/response"


def service(session_id: str | None, service_hash: str, name: str) -> str:
    """Topic of one service process, such as `action/run`; session services have a leading slash (protocol.md 6.2)."""
    prefix = f"/{session_id}/service/python" if session_id is not None else "service/python"
    return f"{prefix}/{service_hash}/{name}"


def matches(pattern: str, topic: str) -> bool:
    """Say whether an MQTT topic filter (`+` one level, `#` the rest, neither for a first `$…`) takes a topic."""
    if topic.startswith("$") and pattern.startswith(("+", "#")):
        return False
    if pattern == topic or pattern == "#":
        return True
    wanted, given = pattern.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(given) or level not in ("+", given[index]):
            return False
    return len(wanted) == len(given)
