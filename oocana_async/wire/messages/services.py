"""Messages between executors, service processes and front ends (protocol.md 6.2, 6.4)."""

from __future__ import annotations

import msgspec
from msgspec import Raw

__all__ = ["ServiceMessage", "ServiceStatus", "decode_service_message", "decode_service_status"]


class ServiceStatus(msgspec.Struct, frozen=True):
    """Body of `service/report/status` (at start and every 5 s) and of `service/report/exit`."""

    service_hash: str
    session_id: str | None = None
    executor: str = "python"


class ServiceMessage(msgspec.Struct, frozen=True):
    """Body of `/service/message`: what a front end sends to the services of a job."""

    job_id: str
    node_id: str | None = None
    flow_path: str | None = None
    payload: Raw = Raw(b"null")


decode_service_message = msgspec.json.Decoder(ServiceMessage).decode
decode_service_status = msgspec.json.Decoder(ServiceStatus).decode
