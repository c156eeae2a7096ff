"""Which executor runs a block: scopes, their identifiers, and what an executor host must offer (flow-format.md 4.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from oocana_async.engine.graph.graph import Scope

__all__ = ["ExecutorHost", "ExecutorStart", "RunScope", "ScopeMap", "identifier_of"]


@dataclass(frozen=True, slots=True)
class RunScope:
    """The package or workspace in which the blocks of a flow job run.

    Attributes:
        path: its directory.
        package: name of the package, None for the workspace.
    """

    path: Path
    package: str | None = None


@dataclass(frozen=True, slots=True)
class ExecutorStart:
    """All that a host needs to start one executor.

    Attributes:
        identifier: to be echoed in ExecutorReady; jobs for this executor carry it.
        package_path: directory of the scope, the end of `sys.path`.
        package_name: its base name, the directory below `tmp_dir` that is `context.tmp_pkg_dir`.
        pkg_data_dir: data directory of the scope, exists.
        session_dir: shared by the session, exists.
        tmp_dir: of the target, exists, with a directory `package_name` in it.
        own_process: the executor must be a process of its own (`spawn: true`).
        env: variables that override inherited ones.
        on_exit: to be called on the loop, once, with `exit with code {n}` when the executor ended by itself.
    """

    identifier: str
    package_path: Path
    package_name: str
    pkg_data_dir: Path
    session_id: str
    session_dir: Path
    tmp_dir: Path
    own_process: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    on_exit: Callable[[str], None] = field(default=lambda reason: None, compare=False)


class ExecutorHost(Protocol):
    """Starts executors of one session and ends them.

    A started executor subscribes like one on a real broker, publishes ExecutorReady on the session topic, runs the
    jobs that carry its identifier, and cancels them as the report events say (protocol.md 2.7, 4).
    """

    async def start(self, spec: ExecutorStart) -> None:
        """Start an executor; returns when it is launched, ready or not.

        Raises:
            Exception: It cannot be started; the text ends up in the error of its jobs.
        """

    async def aclose(self) -> None:
        """End all executors and wait for them; may be called twice."""


def identifier_of(session_id: str, path: Path, node_id: str | None = None) -> str:
    """Return `{session_id}-{first 16 hex digits of sha256}` of a scope (protocol.md 2.1)."""
    text = str(path) if node_id is None else f"{path}-{node_id}"
    return f"{session_id}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


class ScopeMap:
    """Turns scopes into what is needed to start their executors.

    Args:
        session_id: the session.
        session_dir: directory that the whole session shares.
        tmp_dir: directory of the target.
        project_data: data directory of code outside packages.
        pkg_data_root: packages have their data below it.
        env: variables that override inherited ones.
    """

    def __init__(
        self,
        session_id: str,
        *,
        session_dir: Path,
        tmp_dir: Path,
        project_data: Path,
        pkg_data_root: Path,
        env: Mapping[str, str],
    ) -> None:
        self._session_id = session_id
        self._session_dir = session_dir
        self._tmp_dir = tmp_dir
        self._project_data = project_data
        self._pkg_data_root = pkg_data_root
        self._env = env
        self._identifiers: dict[tuple[Path, str | None], str] = {}

    @staticmethod
    def resolve(scope: Scope, here: RunScope, outer: RunScope) -> RunScope:
        """Return where a block runs.

        Args:
            scope: what the manifest says.
            here: the scope of the flow job.
            outer: the scope of the flow job around it, for providers of slots.
        """
        if scope.kind == "package" and scope.path is not None:
            return RunScope(scope.path, scope.name or scope.path.name)
        return outer if scope.kind == "slot" else here

    def identifier(self, scope: RunScope, node_id: str | None = None) -> str:
        """Return the identifier of a scope's executor, or of the own process of a node in it."""
        key = (scope.path, node_id)
        found = self._identifiers.get(key)
        if found is None:
            found = self._identifiers[key] = identifier_of(self._session_id, scope.path, node_id)
        return found

    def spec(self, scope: RunScope, node_id: str | None, on_exit: Callable[[str], None]) -> ExecutorStart:
        """Return what a host needs, with the directories in place.

        Raises:
            OSError: A directory cannot be made.
        """
        name = scope.path.name
        data = self._project_data if scope.package is None else self._pkg_data_root / scope.package
        data.mkdir(parents=True, exist_ok=True)
        if name:
            (self._tmp_dir / name).mkdir(parents=True, exist_ok=True)
        return ExecutorStart(
            identifier=self.identifier(scope, node_id),
            package_path=scope.path,
            package_name=name or "workspace",
            pkg_data_dir=data,
            session_id=self._session_id,
            session_dir=self._session_dir,
            tmp_dir=self._tmp_dir,
            own_process=node_id is not None,
            env=self._env,
            on_exit=on_exit,
        )
