"""What a run may be given: `FlowOptions` as keywords, `SessionOptions` with what counts when they are left out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

from oocana_async.channel.bus import Bus
from oocana_async.engine.hosts.scopes import ExecutorHost
from oocana_async.engine.target import LoadedTarget

__all__ = ["FlowOptions", "HostFactory", "RunTarget", "SessionOptions"]

RunTarget: TypeAlias = str | os.PathLike[str] | LoadedTarget
"""A manifest file, its directory, a reference such as `pkg::name`, or what `load_target` returned."""

HostFactory: TypeAlias = Callable[[Bus, int | None], ExecutorHost]
"""Makes the host of executors from the session's bus and `max_threads`."""


class FlowOptions(TypedDict, total=False):
    """Rarer keywords of `run_flow` and `open_session`; what they mean is said at `open_session`.

    Python has no way to make these keywords out of the fields of a dataclass. The type checker compares them with
    those of `SessionOptions`, where `open_session` hands them on.
    """

    nodes_inputs: Mapping[str, Mapping[str, Any]] | None
    search_paths: Sequence[str | os.PathLike[str]]
    session_id: str | None
    session_dir: str | os.PathLike[str] | None
    temp_root: str | os.PathLike[str] | None
    project_data: str | os.PathLike[str] | None
    pkg_data_root: str | os.PathLike[str] | None
    env: Mapping[str, str] | None
    max_threads: int | None
    use_cache: bool
    save_cache: bool
    keep: int
    host: HostFactory | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """All that a session is given; see `open_session`."""

    target: RunTarget
    inputs: Mapping[str, Any] | None = None
    nodes: Sequence[str] | None = None
    nodes_inputs: Mapping[str, Mapping[str, Any]] | None = None
    search_paths: Sequence[str | os.PathLike[str]] = ()
    session_id: str | None = None
    session_dir: str | os.PathLike[str] | None = None
    temp_root: str | os.PathLike[str] | None = None
    project_data: str | os.PathLike[str] | None = None
    pkg_data_root: str | os.PathLike[str] | None = None
    env: Mapping[str, str] | None = None
    max_threads: int | None = None
    use_cache: bool = False
    save_cache: bool = False
    keep: int = 10_000
    host: HostFactory | None = None
