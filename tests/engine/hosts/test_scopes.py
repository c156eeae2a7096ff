"""Which executor a block belongs to, and the directories of its scope."""

from __future__ import annotations

import hashlib
from pathlib import Path

from oocana_async.engine.graph.graph import Scope
from oocana_async.engine.hosts.scopes import RunScope, ScopeMap, identifier_of

HERE = RunScope(Path("/ws"))
OUTER = RunScope(Path("/outer"), "outer")


def scopes(root: Path) -> ScopeMap:
    return ScopeMap(
        "S", session_dir=root, tmp_dir=root / "tmp", project_data=root / "data", pkg_data_root=root / "pkgs", env={}
    )


def test_identifier_is_a_digest_of_the_path() -> None:
    assert identifier_of("S", Path("/ws")) == f"S-{hashlib.sha256(b'/ws').hexdigest()[:16]}"
    assert identifier_of("S", Path("/ws"), "n") == f"S-{hashlib.sha256(b'/ws-n').hexdigest()[:16]}"


def test_block_without_package_runs_where_its_flow_runs() -> None:
    assert ScopeMap.resolve(Scope(), HERE, OUTER) == HERE


def test_provider_of_a_slot_runs_where_the_outer_flow_runs() -> None:
    assert ScopeMap.resolve(Scope("slot"), HERE, OUTER) == OUTER


def test_package_runs_in_its_own_directory() -> None:
    scope = Scope("package", name="tools", path=Path("/lib/tools-1.0"))
    assert ScopeMap.resolve(scope, HERE, OUTER) == RunScope(Path("/lib/tools-1.0"), "tools")


def test_workspace_has_the_data_of_the_project(tmp_path: Path) -> None:
    spec = scopes(tmp_path).spec(RunScope(tmp_path / "ws"), None, lambda reason: None)
    assert spec.pkg_data_dir == tmp_path / "data"
    assert spec.package_name == "ws"
    assert (tmp_path / "tmp" / "ws").is_dir()
    assert not spec.own_process


def test_package_has_data_of_its_own(tmp_path: Path) -> None:
    spec = scopes(tmp_path).spec(RunScope(tmp_path / "tools-1.0", "@acme/tools"), "n", lambda reason: None)
    assert spec.pkg_data_dir == tmp_path / "pkgs" / "@acme" / "tools"
    assert spec.pkg_data_dir.is_dir()
    assert spec.own_process


def test_scope_at_the_root_of_the_file_system_is_the_workspace(tmp_path: Path) -> None:
    assert scopes(tmp_path).spec(RunScope(Path("/")), None, lambda reason: None).package_name == "workspace"
