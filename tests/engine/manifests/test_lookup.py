"""Finding the file that a reference means (flow-format.md 1.4-1.6)."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oocana_async.engine.manifests.blocks import SearchContext
from oocana_async.engine.manifests.lookup import Form, Kind, Parsed, explain, find, find_flow, parse_reference
from oocana_async.engine.manifests.packages import find_package, installed_versions, version_key


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("self::block1", Parsed(Form.SELF, "block1")),
        ("self::svc::block", Parsed(Form.SELF, "svc::block")),
        ("/abs/path/block1", Parsed(Form.ABSOLUTE, "/abs/path/block1")),
        ("./rel", Parsed(Form.RELATIVE, "./rel")),
        ("../rel", Parsed(Form.RELATIVE, "../rel")),
        ("pkg::blk", Parsed(Form.PACKAGE, "blk", "pkg")),
        ("@scope/pkg::blk", Parsed(Form.PACKAGE, "blk", "@scope/pkg")),
        ("pkg::service::blk", Parsed(Form.PACKAGE, "service", "pkg")),
        *((text, Parsed(Form.DIRECT, text)) for text in (
            "blk", "pkg/blocks/x", "a/../b", "self:x", "::x", "x::", "::", "a::::b", "~/x", ".block",
            "..block", "", "self",
        )),
    ],
)  # fmt: skip
def test_reference_is_classified(text: str, parsed: Parsed) -> None:
    assert parse_reference(text) == parsed


class Disk:
    """A package with a flow directory, and search paths beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.base = self.root / "pkg" / "flows" / "main"
        self.base.mkdir(parents=True)
        self.stores = (self.root / "one", self.root / "two")
        self.versions: dict[str, str] = {}

    def file(self, path: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        return file

    @property
    def context(self) -> SearchContext:
        return SearchContext(self.base, self.stores, self.versions)

    def find(self, text: str, kind: Kind = Kind.TASK) -> str | None:
        path = find(kind, text, self.context).path
        return None if path is None else str(path.relative_to(self.root))


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (Kind.TASK, "tasks/x/task.oo.yaml"), (Kind.TASK, "tasks/x/task.oo.yml"), (Kind.TASK, "blocks/x/block.oo.yaml"),
        (Kind.TASK, "blocks/x/block.oo.yml"), (Kind.TASK, "blocks/x.oo.yaml"), (Kind.TASK, "tasks/x.oo.yml"),
        (Kind.SUBFLOW, "subflows/x/subflow.oo.yaml"), (Kind.SLOTFLOW, "slotflows/x/slotflow.oo.yaml"),
        (Kind.SERVICE, "services/x/service.oo.yaml"), (Kind.SERVICE, "blocks/x/service.oo.yaml"),
    ],
)  # fmt: skip
def test_self_looks_two_levels_up(disk: Disk, kind: Kind, path: str) -> None:
    disk.file(f"pkg/{path}")
    assert disk.find("self::x", kind) == f"pkg/{path}"


def test_self_does_not_find_other_names(disk: Disk) -> None:
    disk.file("pkg/tasks/x/block.oo.yaml")
    disk.file("pkg/flows/x/flow.oo.yaml")
    assert disk.find("self::x") is None
    assert disk.find("self::x", Kind.SUBFLOW) is None


@pytest.mark.parametrize(("worse", "better"), [
    ("tasks/x/task.oo.yaml", "blocks/x/block.oo.yaml"), ("blocks/x/block.oo.yml", "blocks/x/block.oo.yaml"),
    ("blocks/x.oo.yaml", "blocks/x/block.oo.yaml"), ("blocks/x.oo.yml", "blocks/x.oo.yaml")])  # fmt: skip
def test_what_is_looked_for_first_wins(disk: Disk, worse: str, better: str) -> None:
    disk.file(f"pkg/{worse}")
    assert disk.find("self::x") == f"pkg/{worse}"
    disk.file(f"pkg/{better}")
    assert disk.find("self::x") == f"pkg/{better}"


def test_name_with_a_dot_loses_what_follows_it(disk: Disk) -> None:
    disk.file("pkg/blocks/x.oo.yaml")
    assert disk.find("self::x.y") == "pkg/blocks/x.oo.yaml"


@pytest.mark.parametrize(
    ("reference", "file", "found"),
    [
        ("./t", "t/task.oo.yaml", True),
        ("./t/task.oo.yaml", "t/task.oo.yaml", True),
        ("./t/odd.oo.yaml", "t/odd.oo.yaml", True),
        ("./t/odd.yaml", "t/odd.yaml", False),
        ("./odd", "odd.oo.yaml", True),
        ("../other/task.oo.yml", "../other/task.oo.yml", True),
        ("./a/../t", "t/task.oo.yaml", True),
    ],
)
def test_relative_reference_starts_at_the_flow(disk: Disk, reference: str, file: str, found: bool) -> None:
    path = disk.file(f"pkg/flows/main/{file}")
    assert disk.find(reference) == (str(path.resolve().relative_to(disk.root)) if found else None)


def test_absolute_reference_takes_any_manifest_name(disk: Disk) -> None:
    path = disk.file("elsewhere/flow.oo.yaml")
    assert disk.find(str(path), Kind.SUBFLOW) == "elsewhere/flow.oo.yaml"
    assert disk.find(str(path.parent), Kind.SUBFLOW) is None


def test_relative_result_keeps_symbolic_links(disk: Disk) -> None:
    disk.file("real/task.oo.yaml")
    (disk.base / "link").symlink_to(disk.root / "real")
    assert disk.find("./link") == "pkg/flows/main/link/task.oo.yaml"


def test_package_result_has_symbolic_links_resolved(disk: Disk) -> None:
    disk.file("real/tasks/x/task.oo.yaml")
    disk.stores[0].mkdir()
    (disk.stores[0] / "lib").symlink_to(disk.root / "real")
    assert disk.find("lib::x") == "real/tasks/x/task.oo.yaml"


def test_package_is_searched_in_order_then_beside_the_flow(disk: Disk) -> None:
    for place in ("pkg/flows/main", "two", "one"):
        disk.file(f"{place}/lib/tasks/x/task.oo.yaml")
        assert disk.find("lib::x") == f"{place}/lib/tasks/x/task.oo.yaml"


def test_package_search_is_complete_for_blocks_before_tasks(disk: Disk) -> None:
    disk.file("one/lib/tasks/x/task.oo.yaml")
    disk.file("two/lib/blocks/x/block.oo.yaml")
    assert disk.find("lib::x") == "two/lib/blocks/x/block.oo.yaml"


def test_package_reference_never_takes_a_file(disk: Disk) -> None:
    disk.file("one/lib/tasks/x.oo.yaml")
    assert disk.find("lib::x") is None


def test_known_version_decides_the_directory(disk: Disk) -> None:
    disk.file("one/lib/tasks/x/task.oo.yaml")
    disk.versions["lib"] = "2.0.0"
    assert disk.find("lib::x") is None
    disk.file("two/lib-2.0.0/tasks/x/task.oo.yaml")
    assert disk.find("lib::x") == "two/lib-2.0.0/tasks/x/task.oo.yaml"


def test_scoped_package_is_two_levels_deep(disk: Disk) -> None:
    disk.file("one/@acme/lib/tasks/x/task.oo.yaml")
    assert disk.find("@acme/lib::x") == "one/@acme/lib/tasks/x/task.oo.yaml"


def test_direct_reference_is_a_directory_in_search_paths_or_beside_the_flow(disk: Disk) -> None:
    disk.file("pkg/flows/main/x/task.oo.yaml")
    assert disk.find("x") == "pkg/flows/main/x/task.oo.yaml"
    disk.file("two/x/task.oo.yaml")
    assert disk.find("x") == "two/x/task.oo.yaml"


def test_direct_reference_to_a_file_works_beside_the_flow_only_and_by_exact_name(disk: Disk) -> None:
    disk.file("one/a/task.oo.yaml")
    assert disk.find("a/task.oo.yaml") is None
    disk.file("pkg/flows/main/a/task.oo.yaml")
    assert disk.find("a/task.oo.yaml") == "pkg/flows/main/a/task.oo.yaml"
    disk.file("pkg/flows/main/a/odd.oo.yaml")
    assert disk.find("a/odd.oo.yaml") is None


def test_not_found_names_every_place_and_a_near_name(disk: Disk) -> None:
    disk.file("one/lib/tasks/resize/task.oo.yaml")
    search = find(Kind.TASK, "lib::resiz", disk.context)
    reason, hint = explain(Kind.TASK, "lib::resiz", disk.context, search.places)
    assert hint == 'did you mean "resize"?'
    for place in ("one/lib/blocks/resiz/block", "two/lib/tasks/resiz/task", "pkg/flows/main/lib/tasks/resiz/task"):
        assert f"{disk.root}/{place}.oo.yaml" in reason


@pytest.mark.parametrize(
    ("reference", "file", "hint"),
    [
        ("libb::x", "one/lib/tasks/x/task.oo.yaml", 'did you mean "lib"?'),
        ("self::convret", "pkg/tasks/convert/task.oo.yaml", 'did you mean "convert"?'),
        ("./tsak.oo.yaml", "pkg/flows/main/task.oo.yaml", 'did you mean "task.oo.yaml"?'),
        ("blk-1", "two/blk-2/task.oo.yaml", 'did you mean "blk-2"?'),
        ("self::convret", "pkg/tasks/zzz/task.oo.yaml", ""),
    ],
)
def test_near_name_is_suggested(disk: Disk, reference: str, file: str, hint: str) -> None:
    disk.file(file)
    search = find(Kind.TASK, reference, disk.context)
    assert search.path is None
    assert explain(Kind.TASK, reference, disk.context, search.places)[1] == hint


def test_not_found_names_the_version_that_decided(disk: Disk) -> None:
    disk.versions["lib"] = "3.0.0"
    reason, _ = explain(Kind.TASK, "lib::x", disk.context, find(Kind.TASK, "lib::x", disk.context).places)
    assert 'the version of "lib" is 3.0.0' in reason


def test_flow_argument_is_a_directory_or_the_exact_file(disk: Disk) -> None:
    assert find_flow(disk.base) is None
    file = disk.file("pkg/flows/main/flow.oo.yml")
    assert find_flow(disk.base) == file
    assert find_flow(file) == file
    assert find_flow(disk.file("pkg/flows/main/subflow.oo.yaml")) is None


@pytest.mark.parametrize(
    ("greater", "less"),
    [("1.0.0", "1.0.0-beta.1"), ("1.0.0-beta", "1.0.0-alpha"), ("1.0.0-beta.10", "1.0.0-beta.2"),
     ("1.0.0-rc.1", "1.0.0-beta.3"), ("2.0.0-alpha", "1.9.9"), ("v1.3.0", "1.2.0"), ("1.0.0.1", "1.0.0"),
     ("1.10.0", "1.9.0"), ("1.0.0-beta.1", "1.0.0-beta"), ("0.0.1", "")],
)  # fmt: skip
def test_greater_version_wins(greater: str, less: str) -> None:
    assert version_key(greater) > version_key(less)


@pytest.mark.parametrize(("one", "other"), [("1.2", "1.2.0"), ("1.0.0", "1.0.0+b1"), ("V1", "1")])
def test_versions_tie(one: str, other: str) -> None:
    assert version_key(one) == version_key(other)


VERSIONS = st.text("0123456789.-+abrcv", max_size=10)


@given(st.lists(VERSIONS, min_size=3, max_size=6))
def test_any_versions_can_be_ordered(versions: list[str]) -> None:
    ordered = sorted(versions, key=version_key)
    assert all(version_key(a) <= version_key(b) for a, b in itertools.pairwise(ordered))


def packages(root: Path, **files: str) -> dict[str, str]:
    for directory, text in files.items():
        path = root / directory.replace("__", "-").replace("_", ".") / "package.oo.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return installed_versions([root, root / "nowhere"])


def test_greatest_installed_version_is_recorded(tmp_path: Path) -> None:
    found = packages(tmp_path, lib__1_9_0="name: lib\nversion: 1.9.0", lib__1_10_0="name: lib\nversion: 1.10.0")
    assert found == {"lib": "1.10.0"}


def test_unversioned_directory_is_not_recorded(tmp_path: Path) -> None:
    assert packages(tmp_path, lib="name: lib\nversion: 1.0.0", bare="") == {}


def test_missing_version_counts_as_empty(tmp_path: Path) -> None:
    assert packages(tmp_path, lib__x="name: lib") == {"lib": ""}


def test_nameless_versioned_directory_keeps_its_dash(tmp_path: Path) -> None:
    assert packages(tmp_path, lib__1_0_0="version: 1.0.0") == {"lib-": "1.0.0"}


def test_broken_package_file_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    assert packages(tmp_path, lib__1_0_0="name: [") == {}


def test_package_directory_is_found_by_name_and_version(disk: Disk) -> None:
    disk.file("one/lib-1.0.0/package.oo.yaml")
    assert find_package("lib", disk.context) is None
    disk.versions["lib"] = "1.0.0"
    assert find_package("lib", disk.context) == disk.stores[0] / "lib-1.0.0"
