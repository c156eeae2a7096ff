"""What the stub engine knows of a job: its messages to the executor, and those that came back."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.stub.parsing import BlockFinished, BlockOutput, BlockOutputs, Preview, SessionMessage

__all__ = ["Block", "Job"]

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Block:
    """A block that the engine can run.

    Attributes:
        entry: file name, None to leave it out.
        directory: where the file is.
        function: None to leave it out.
        outputs: definitions of the output handles; None leaves them out.
        inputs_def: definitions of the input handles.
        patch: `inputs_def_patch` of the node.
        bare: leave out the executor's options altogether.
    """

    entry: str | None
    directory: Path
    function: str | None = "main"
    outputs: Mapping[str, Json] | None = None
    inputs_def: Mapping[str, Json] | None = None
    patch: Mapping[str, list[Json]] | None = None
    bare: bool = False

    def executor(self) -> Json:
        """Return the `executor` of a BlockPayload."""
        options: Json = {"spawn": False}
        if self.entry is not None:
            options["entry"] = self.entry
        if self.function is not None:
            options["function"] = self.function
        return {"name": "python"} if self.bare else {"name": "python", "options": options}


class Job:
    """One run of a block.

    Attributes:
        payload: the run_block message.
        sends: how often that was sent.
        readies: how often BlockReady came.
        messages: all that the engine took from this job, BlockReady left out, in order.
        ended: done when the job has ended, whoever ended it.
        hopeless: it was a failed child of `run_block`, which today's engine never forgets.
    """

    def __init__(self, session_id: str, job_id: str, identifier: str, block: Block, inputs: Json, stacks: list[Json]):
        self.job_id = job_id
        self.identifier = identifier
        self.is_child = bool(stacks) and str(stacks[-1]["node_id"]).startswith("run_block::")
        self.sends = 0
        self.readies = 0
        self.messages: list[SessionMessage] = []
        self.ended: asyncio.Future[BlockFinished] = asyncio.get_running_loop().create_future()
        self.on_end: Callable[[Job], object] | None = None
        self.downstream: Json = {}
        self.hopeless = False
        head = {"session_id": session_id, "job_id": job_id, "stacks": stacks}
        self.payload: Json = {
            "type": "BlockPayload", **head, "executor_name": "python", "dir": str(block.directory),
            "executor": block.executor(), "identifier": identifier,
        }  # fmt: skip
        if block.outputs is not None:
            self.payload["outputs"] = dict(block.outputs)
        self._inputs: Json | None = inputs
        self._inputs_message = {
            "type": "BlockInputs", **head, "inputs_def": block.inputs_def, "inputs_def_patch": block.patch,
        }  # fmt: skip

    def take_inputs(self) -> Json:
        """Return the BlockInputs; the inputs themselves are handed out once (protocol.md 2.6)."""
        inputs, self._inputs = self._inputs, None
        return {**self._inputs_message, "inputs": inputs}

    def finish(self, end: BlockFinished) -> None:
        """Note the end."""
        if not self.ended.done():
            self.ended.set_result(end)
        if self.on_end is not None:
            self.on_end(self)

    async def end(self, within: float = 20.0) -> BlockFinished:
        """Wait for the end."""
        async with asyncio.timeout(within):
            return await asyncio.shield(self.ended)

    @property
    def outputs(self) -> list[tuple[str, Any]]:
        """Handle and value of each output, in order."""
        found: list[tuple[str, Any]] = []
        for message in self.messages:
            if isinstance(message, BlockOutput):
                found.append((message.handle, message.output))
            elif isinstance(message, BlockOutputs):
                found += message.outputs.items()
        return found

    @property
    def previews(self) -> list[Any]:
        """Payload of each preview."""
        return [message.payload for message in self.messages if isinstance(message, Preview)]
