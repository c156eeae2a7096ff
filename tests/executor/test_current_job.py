"""Plots of the current job get the same care for secrets and for the end as `context.preview`."""

from __future__ import annotations

import contextvars
import json
from typing import Any

import pytest

from oocana_async.context.messenger import JobIdentity, JobMessenger
from oocana_async.executor.current_job import enter_job, send_plot
from oocana_async.handles.redaction import Redactor
from oocana_async.testing import ManualClock
from tests.channel.gate import GateTransport, draining

pytestmark = pytest.mark.anyio


def show(messenger: JobMessenger, text: str) -> None:
    context = contextvars.copy_context()
    context.run(enter_job, messenger)
    context.run(send_plot, {"type": "text", "data": text})


async def test_plot_hides_secrets_and_is_dropped_after_the_end() -> None:
    transport = GateTransport()
    redactor = Redactor()
    redactor.add('pass"word')
    async with draining(transport) as (channel, sender):
        hidden = JobMessenger(JobIdentity("S1", "J1"), channel, sender, ManualClock(), redactor=redactor)
        show(hidden, 'my pass"word')
        hidden.finish()
        show(hidden, "too late")
        await sender.flush()
    sent: list[dict[str, Any]] = [json.loads(message.payload) for message in transport.taken]
    assert [message["type"] for message in sent] == ["BlockRequest", "BlockFinished", "BlockWarning"]
    assert sent[0]["payload"] == {"type": "text", "data": "my ***"}
    assert sent[2]["warning"].startswith("show ")


def test_plot_outside_of_jobs_has_nobody_to_go_to() -> None:
    with pytest.raises(LookupError):
        send_plot({"type": "text", "data": "x"})
