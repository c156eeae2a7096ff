"""Messages of front ends to services (protocol.md 6.2, 6.4)."""

from __future__ import annotations

import msgspec
from msgspec import Raw

__all__ = ["ServiceMessage", "decode_service_message"]


class ServiceMessage(msgspec.Struct, frozen=True):
    """Body of `/service/message`: what a front end sends to the services of a job."""

    job_id: str
    node_id: str | None = None
    flow_path: str | None = None
    payload: Raw = Raw(b"null")


decode_service_message = msgspec.json.Decoder(ServiceMessage).decode
