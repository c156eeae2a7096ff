"""Which job runs here: a context variable that output capture and plot hooks look at."""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import ContextVar
from typing import Any

from msgspec import Raw

from oocana_async.context.messenger import JobMessenger, new_id
from oocana_async.executor.capture.install import CapturedText, attach
from oocana_async.wire.encoding import encode
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.session import Preview

__all__ = ["current_job", "enter_job", "job_scope", "send_plot"]

current_job: ContextVar[JobMessenger | None] = ContextVar("current_job", default=None)


def enter_job(messenger: JobMessenger, *, tee: bool = False) -> CapturedText:
    """Make a job the current one of the running context.

    Args:
        messenger: the job.
        tee: let its output go to the real streams too.

    Returns:
        The job's output, to be closed before the job ends.
    """
    current_job.set(messenger)
    return attach(messenger, tee=tee)


def job_scope() -> Hashable:
    """Name the job that runs here, None outside of jobs."""
    messenger = current_job.get()
    return None if messenger is None else messenger.identity.job_id


def send_plot(payload: dict[str, Any]) -> None:
    """Send a preview for the job that runs here.

    Raises:
        LookupError: None does.
    """
    messenger = current_job.get()
    if messenger is None:
        raise LookupError("no job runs here")
    identity = messenger.identity
    request = Preview(
        session_id=identity.session_id,
        job_id=identity.job_id,
        request_id=new_id(),
        payload=Raw(messenger.redact_json(encode(payload))),
    )
    messenger.emit(encode_message(request), "show")
