"""What the user should hear of when messages are late, lost or doubled."""

from __future__ import annotations

import enum
import logging
from typing import NamedTuple

__all__ = ["Notice", "NoticeKind", "log_notice"]

logger = logging.getLogger(__name__)


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


def log_notice(notice: Notice) -> None:
    """Log a notice, for when nobody else wants to hear of it."""
    logger.warning("session %s, job %s: %s", notice.session_id, notice.job_id or "-", notice.text)
