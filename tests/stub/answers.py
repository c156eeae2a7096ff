"""How the stub engine answers requests of running blocks (protocol.md 3.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.stub.jobs import Block, Job
from tests.stub.parsing import Preview, QueryAuth, QueryBlock, QueryDownstream, Request, RunBlock, UpdateNodeWeight

if TYPE_CHECKING:
    from tests.stub.engine import StubEngine

__all__ = ["answer"]


def answer(engine: StubEngine, job: Job, message: object) -> None:
    """Answer a request as the engine does; other messages have no answer."""
    match message:
        case Preview():
            engine.report("BlockPreview", job, payload=message.payload)
        case RunBlock():
            _run_block(engine, job, message)
        case QueryDownstream():
            _respond(engine, message, result=_downstream(job, message.outputs))
        case QueryBlock():
            _query_block(engine, message)
        case QueryAuth():
            _query_auth(engine, message)
        case UpdateNodeWeight():
            _respond(engine, message)
        case _:
            pass


def _respond(engine: StubEngine, request: Request, **outcome: Any) -> None:
    head = {"session_id": request.session_id, "job_id": request.job_id, "request_id": request.request_id}
    engine.publish(f"session/{request.session_id}/request/{request.request_id}/response", {**head, **outcome})


def _downstream(job: Job, outputs: list[str] | None) -> dict[str, Any]:
    return {handle: to for handle, to in job.downstream.items() if outputs is None or handle in outputs}


def _query_block(engine: StubEngine, request: QueryBlock) -> None:
    block = engine.blocks.get(request.block)
    if not isinstance(block, Block):
        _respond(engine, request, error=f"Failed to find {request.block} for block or subflow")
        return
    known = {"inputs_def": block.inputs_def, "outputs_def": block.outputs}
    shown = {name: value for name, value in known.items() if value is not None}
    _respond(engine, request, result={"type": "task", **shown, "additional_inputs": False, "additional_outputs": False})


def _query_auth(engine: StubEngine, request: QueryAuth) -> None:
    if engine.credentials is None:
        _respond(engine, request, error="Vault client is not available.")
    elif not isinstance(request.payload, str):
        _respond(engine, request, error="Expected vault ID to be a string, got number")
    elif request.payload in engine.credentials:
        _respond(engine, request, result=engine.credentials[request.payload])
    else:
        _respond(engine, request, error="Client error: 404 Not Found")


def _run_block(engine: StubEngine, job: Job, request: RunBlock) -> None:
    """Start a child; only a failure to start is answered."""
    block = engine.blocks.get(request.block)
    inputs = request.payload.get("inputs") if isinstance(request.payload, dict) else None
    given = inputs if isinstance(inputs, dict) else {}
    if block is None:
        why = f"Failed to read block or subflow: {request.block}"
    elif isinstance(block, Block) and (missing := sorted(set(block.inputs_def or {}) - set(given))):
        why = f"Task block {request.block} inputs missing these input handles: {missing}"
    elif isinstance(block, Block):
        frames = [{"flow_job_id": one.flow_job_id, "flow": one.flow, "node_id": one.node_id} for one in request.stacks]
        frames.append({**frames[-1], "node_id": f"run_block::{request.block}"})
        engine.start(block, given, job_id=request.block_job_id, stacks=frames, identifier=job.identifier)
        return
    else:
        block(engine, request.block_job_id)
        return
    _respond(engine, request, error=f"Run block failed: {why}. Block: {request.block}")
