"""Child processes in groups of their own: their end is noticed, and nothing of them stays."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from oocana_async.transport.pipe.processes import ChildProcess, show_code

pytestmark = pytest.mark.anyio


async def start(script: str, *, lifeline: bool = False) -> ChildProcess:
    command = ["sh", "-c", script]
    return await ChildProcess.start("test", command, env=dict(os.environ), output=subprocess.DEVNULL, lifeline=lifeline)


async def test_exit_code_is_returned_to_all_who_wait() -> None:
    process = await start("exit 7")
    assert {await process.wait(), await process.wait()} == {7}
    assert process.has_ended
    await process.aclose(1)


def test_signals_are_shown_as_minus_one() -> None:
    assert [show_code(code) for code in (0, 3, -9)] == [0, 3, -1]


async def test_closing_asks_first(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = await start(f"trap 'exit 5' TERM; echo ready > {fifo}; while :; do sleep 0.01; done")
    assert await asyncio.to_thread(fifo.read_text) == "ready\n"
    await process.aclose(20)
    assert await process.wait() == 5


async def test_closing_kills_who_does_not_listen(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = await start(f"trap '' TERM; echo ready > {fifo}; exec sleep 600")
    assert await asyncio.to_thread(fifo.read_text) == "ready\n"
    await process.aclose(0.1)
    assert await process.wait() == -9


async def test_end_of_the_leader_is_the_end_of_its_group(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = await start(f"(echo ready; exec sleep 600) > {fifo} & wait")
    pipe = await asyncio.to_thread(fifo.open)
    with pipe:
        assert await asyncio.to_thread(pipe.readline) == "ready\n"
        process.kill()
        assert await asyncio.to_thread(pipe.read) == ""
    assert await process.wait() == -9


async def test_leader_that_ends_by_itself_takes_its_group_along(tmp_path: Path) -> None:
    fifo, gate = tmp_path / "fifo", tmp_path / "gate"
    os.mkfifo(fifo)
    os.mkfifo(gate)
    process = await start(f"(echo ready; exec sleep 600) > {fifo} & read line < {gate}; exit 3")
    pipe = await asyncio.to_thread(fifo.open)
    with pipe:
        assert await asyncio.to_thread(pipe.readline) == "ready\n"
        await asyncio.to_thread(gate.write_text, "go\n")
        assert await asyncio.to_thread(pipe.read) == ""
    assert await process.wait() == 3


async def test_lifeline_ends_when_the_process_is_asked_to_leave() -> None:
    process = await start("trap '' TERM; cat; exit 4", lifeline=True)
    process.terminate()
    assert await process.wait() in (4, -15)


async def test_program_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(OSError, match="no/such"):
        await ChildProcess.start("test", ["/no/such/program"], env={}, output=subprocess.DEVNULL)
