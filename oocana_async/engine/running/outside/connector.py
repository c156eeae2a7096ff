"""Calls actions of the OOMOL connector over HTTP, off the loop (flow-format.md 4.4)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from oocana_async.engine.checks.unsupported import BASE_URL_VARIABLE
from oocana_async.engine.running.jobs import Job, nothing
from oocana_async.engine.running.outside.off_loop import call_off_loop
from oocana_async.engine.running.runner import SessionRunner
from oocana_async.wire.messages.shared import RawMap

__all__ = ["BASE_URL_VARIABLE", "call_connector"]

_TIMEOUT = 30


class _Answer(msgspec.Struct, frozen=True):
    success: bool = False
    message: str | None = None
    data: Raw = Raw(b"null")


async def call_connector(
    runner: SessionRunner, job: Job, action: str, outputs: Sequence[str], timeout: int | None
) -> None:
    """Run one connector action and finish its job with the answer.

    Args:
        runner: takes the end of the job.
        job: the job; its inputs are the action's.
        action: name of the action.
        outputs: declared output handles; a single one called `output` gets the data whole.
        timeout: seconds, 30 when None.
    """
    body = msgspec.json.encode({"input": job.inputs or {}})
    result: RawMap | None = None
    error: str | None = None
    try:
        text = await call_off_loop(f"connector {action}", lambda: _post(action, body, timeout or _TIMEOUT))
        result = _result(text, outputs)
    except (OSError, ValueError, msgspec.MsgspecError) as reason:
        error = f"OOMOL Connector action '{action}' failed: {reason}"
    job.stop = nothing
    runner.finish(job, result, error)
    runner.drain()


def _post(action: str, body: bytes, timeout: float) -> bytes:
    from urllib.request import Request, urlopen

    base = os.environ.get(BASE_URL_VARIABLE, "").rstrip("/")
    if not base.startswith(("http://", "https://")):
        raise ValueError(f"{BASE_URL_VARIABLE} is {base!r}, expected an http or https address")
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('OOMOL_TOKEN', '')}"}
    request = Request(f"{base}/v1/actions/{action}", data=body, headers=headers, method="POST")  # noqa: S310 - checked
    with urlopen(request, timeout=timeout) as answer:  # noqa: S310 - the scheme is checked above
        content: Any = answer.read()
        return bytes(content)


def _result(text: bytes, outputs: Sequence[str]) -> RawMap | None:
    answer = msgspec.json.decode(text, type=_Answer)
    if not answer.success:
        raise ValueError(answer.message or "the answer says no success and no reason")
    if list(outputs) == ["output"]:
        return {"output": answer.data}
    return msgspec.json.decode(answer.data, type=dict[str, Raw])
