"""Directories of a session: made before the run, marked after it (flow-format.md 8, "Directories")."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from oocana_async.engine.graph.graph import Graph
from oocana_async.engine.hosts.scopes import RunScope
from oocana_async.engine.manifests.blocks import TaskBlock

__all__ = ["Directories", "prepare_directories", "workspace_scope"]

_MARKER = ".oocana_result.json"

_in_use: dict[Path, int] = {}
"""Temporary directories of the sessions of this process, so that a second one of a target deletes nothing."""


@dataclass(frozen=True, slots=True)
class Directories:
    """Where a session keeps its files; all exist while it runs.

    Attributes:
        session: shared by the session, `context.session_dir`; deleted at the end when it has a name of ours and holds
            no file.
        tmp: of the target, `context.tmp_dir`; deleted by the next run when this one succeeds.
        project_data: data of code outside packages.
        pkg_data_root: data of packages, a directory each.
        owns_session: nobody asked for that session directory.
    """

    session: Path
    tmp: Path
    project_data: Path
    pkg_data_root: Path
    owns_session: bool = False

    def close(self, *, succeeded: bool) -> None:
        """Mark the temporary directory of a run that succeeded, for the next run to delete; leave nothing empty."""
        if self.owns_session:
            _remove_without_files(self.session)
        if succeeded and self.tmp.is_dir():
            (self.tmp / _MARKER).write_text("0", encoding="utf-8")
        left = _in_use.get(self.tmp, 1) - 1
        if left:
            _in_use[self.tmp] = left
        else:
            _in_use.pop(self.tmp, None)


def prepare_directories(
    path: Path,
    session_id: str,
    *,
    session_dir: str | os.PathLike[str] | None = None,
    temp_root: str | os.PathLike[str] | None = None,
    project_data: str | os.PathLike[str] | None = None,
    pkg_data_root: str | os.PathLike[str] | None = None,
) -> Directories:
    """Make the directories of a session.

    Args:
        path: the target's manifest as resolved.
        session_id: names the default session directory.
        session_dir: default `<system tmp>/<session id>`.
        temp_root: default `OOCANA_TEMP_ROOT`; what is no existing directory is replaced by the system's.
        project_data: default the temp root.
        pkg_data_root: default the temp root.

    Raises:
        OSError: One cannot be made.
    """
    system = Path(tempfile.gettempdir())
    wanted = Path(temp_root or os.environ.get("OOCANA_TEMP_ROOT") or system).absolute()
    root = wanted if wanted.is_dir() else system
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    tmp = root / f"{path.parent.name}-{digest}"
    if tmp not in _in_use and (tmp / _MARKER).is_file():
        shutil.rmtree(tmp, ignore_errors=True)
    made = Directories(
        session=Path(session_dir or system / session_id).absolute(),
        tmp=tmp,
        project_data=Path(project_data or root).absolute(),
        pkg_data_root=Path(pkg_data_root or root).absolute(),
        owns_session=session_dir is None,
    )
    for directory in (made.session, made.tmp, made.project_data, made.pkg_data_root):
        directory.mkdir(parents=True, exist_ok=True)
    _in_use[tmp] = _in_use.get(tmp, 0) + 1
    return made


def _remove_without_files(directory: Path) -> None:
    """Remove a directory that holds nothing but directories; failing to does no harm."""
    tree = list(os.walk(directory, topdown=False))
    if any(files for _, _, files in tree):
        return
    with contextlib.suppress(OSError):  # somebody has put something there meanwhile
        for path, _, _ in tree:
            Path(path).rmdir()


def workspace_scope(root: Graph | TaskBlock) -> RunScope:
    """Return the scope of a target: two levels above its directory, else the current directory."""
    return RunScope(root.package_path if root.package_path.is_dir() else Path.cwd())
