"""What one executor stands for: a session, and the package or workspace whose blocks it runs (protocol.md 2.1, 2.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["ExecutorScope", "ExecutorSession"]


@dataclass(frozen=True, slots=True)
class ExecutorSession:
    """The session that an executor belongs to.

    Attributes:
        session_dir: shared by all blocks of the session, exists.
        heal_children: send a second BlockFinished for a child of `run_block` that failed, because today's engine
            never forgets such a job otherwise and its flow hangs (protocol.md 3.9).
        watch_session_topic: take the events of task children from the session topic, because the real engine may run
            without a reporter.
        inputs_deadline: seconds that a job waits for its inputs after BlockReady; None when the transport watches that.
        undeclared: gives the definition of an output handle that a block does not declare, from handle and value;
            None for what the protocol wants: a warning, and nothing is sent.
    """

    session_id: str
    session_dir: Path
    heal_children: bool = False
    watch_session_topic: bool = False
    inputs_deadline: float | None = 60.0
    undeclared: Callable[[str, Any], Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class ExecutorScope:
    """One scope: jobs carry its identifier.

    Attributes:
        identifier: echoed in ExecutorReady; None takes the jobs of every identifier.
        package_path: directory of the package or workspace, the end of `sys.path`.
        package_name: its name, the directory below `tmp_dir` that is `context.tmp_pkg_dir`.
        pkg_data_dir: persistent data directory, may be empty when there is none.
        tmp_dir: temporary directory of the flow.
        variables: environment variables that its blocks see through the Context.
        debug_port: port of the debugger, echoed in ExecutorReady.
    """

    identifier: str | None
    package_path: Path | None
    package_name: str
    pkg_data_dir: str
    tmp_dir: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    debug_port: int | None = None
