"""How scriptlets are imported: by file, with helpers of their own, anew when they change."""

from __future__ import annotations

import dataclasses
import os
import pickle
import sys
import textwrap
import threading
import typing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from oocana_async.errors import ScriptletError
from oocana_async.executor.loading.loader import ScriptletLoader

Write = Callable[[str, str], Path]


@pytest.fixture
def loader() -> Iterator[ScriptletLoader]:
    with ScriptletLoader() as made:
        yield made
        made.forget()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
        # Two writes within one tick of the file system's clock must still differ.
        os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + len(text)))
        return path

    return write


def names_under(path: Path) -> list[str]:
    return sorted(name for name in sys.modules if name.startswith(str(path)))


def test_load_makes_module_named_by_path(loader: ScriptletLoader, write: Write) -> None:
    path = write("index.py", "def main(): return __name__")
    scriptlet = loader.load(directory=path.parent)
    assert scriptlet.function() == scriptlet.module_name == str(path)
    assert scriptlet.path == path
    assert sys.modules[str(path)].__file__ == str(path)


def test_load_takes_absolute_entry_and_function_name(loader: ScriptletLoader, write: Write) -> None:
    path = write("a.py", "def run(): return 1")
    assert loader.load(str(path), "run", directory="/nowhere").function() == 1


def test_load_twice_gives_same_module(loader: ScriptletLoader, write: Write) -> None:
    path = write("a.py", "def main(): ...")
    first = loader.load("a.py", directory=path.parent)
    assert loader.load("../" + path.parent.name + "/a.py", directory=path.parent).function is first.function


def test_load_of_changed_file_makes_new_module(loader: ScriptletLoader, write: Write) -> None:
    path = write("a.py", "VALUE = 1\ndef main(): return VALUE")
    old = loader.load("a.py", directory=path.parent)
    write("a.py", "VALUE = 2\ndef main(): return VALUE")
    new = loader.load("a.py", directory=path.parent)
    assert (old.function(), new.function()) == (1, 2)
    assert new.module_name == f"{path}#2"
    assert sys.modules[old.module_name] is not sys.modules[new.module_name]


def test_load_of_touched_file_keeps_module(loader: ScriptletLoader, write: Write) -> None:
    path = write("a.py", "def main(): ...")
    old = loader.load("a.py", directory=path.parent)
    os.utime(path, ns=(0, 0))
    assert loader.load("a.py", directory=path.parent).function is old.function


def test_load_when_helper_changed_makes_new_module(loader: ScriptletLoader, write: Write) -> None:
    write("helper.py", "VALUE = 1")
    path = write("a.py", "import helper\ndef main(): return helper.VALUE")
    old = loader.load("a.py", directory=path.parent)
    write("helper.py", "VALUE = 2")
    new = loader.load("a.py", directory=path.parent)
    assert (old.function(), new.function()) == (1, 2)


def test_running_job_keeps_helper_that_changed(loader: ScriptletLoader, write: Write) -> None:
    write("helper.py", "VALUE = 1")
    path = write("a.py", "def main():\n    import helper\n    return helper.VALUE")
    running = loader.load("a.py", directory=path.parent)
    assert running.function() == 1
    write("helper.py", "VALUE = 2")
    assert running.function() == 1


@pytest.mark.parametrize(
    ("text", "last_line"),
    [
        ("raise ValueError('boom')", "ValueError: boom"),
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("def main(:\n", "SyntaxError: invalid syntax"),
    ],
)
def test_failed_import_tells_place_and_leaves_nothing(
    loader: ScriptletLoader, write: Write, text: str, last_line: str
) -> None:
    path = write("a.py", text)
    for _ in range(2):
        with pytest.raises(ScriptletError) as caught:
            loader.load("a.py", directory=path.parent)
        lines = str(caught.value).splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[1].startswith(f'  File "{path}", line 1')
        assert lines[-1] == last_line
    assert names_under(path.parent) == []
    write("a.py", "def main(): return 'repaired'")
    assert loader.load("a.py", directory=path.parent).function() == "repaired"


def test_failed_import_takes_its_helpers_along(loader: ScriptletLoader, write: Write) -> None:
    write("whole.py", "")
    write("half.py", "import whole\nraise ValueError")
    path = write("a.py", "import half")
    with pytest.raises(ScriptletError):
        loader.load("a.py", directory=path.parent)
    assert names_under(path.parent) == []


def test_failed_import_leaves_helpers_that_others_use(loader: ScriptletLoader, write: Write) -> None:
    write("helper.py", "class A: ...")
    path = write("bad.py", "import helper\nhelper.ready()")
    write("good.py", "import helper\ndef main(): return helper.A")
    good = loader.load("good.py", directory=path.parent)
    with pytest.raises(ScriptletError):
        loader.load("bad.py", directory=path.parent)
    kept = good.function()
    assert pickle.loads(pickle.dumps(kept)) is kept


def test_exit_while_loading_passes_and_leaves_nothing(loader: ScriptletLoader, write: Write) -> None:
    path = write("a.py", "import sys\nsys.exit('enough')")
    with pytest.raises(SystemExit, match="enough"):
        loader.load("a.py", directory=path.parent)
    assert names_under(path.parent) == []


def test_missing_file_is_named(loader: ScriptletLoader, tmp_path: Path) -> None:
    with pytest.raises(ScriptletError) as caught:
        loader.load("nowhere.py", directory=tmp_path)
    assert str(caught.value).splitlines() == [
        "Traceback (most recent call last):",
        f"FileNotFoundError: [Errno 2] No such file or directory: '{tmp_path / 'nowhere.py'}'",
    ]


def test_missing_function_has_text_of_reference(loader: ScriptletLoader, write: Write) -> None:
    path = write("scriptlets/a.py", "main = 3")
    with pytest.raises(ScriptletError, match=r"^function nope not found in scriptlets/a\.py$"):
        loader.load("scriptlets/a.py", "nope", directory=path.parent.parent)
    with pytest.raises(ScriptletError, match=r"^main is not a function in scriptlets/a\.py$"):
        loader.load("scriptlets/a.py", directory=path.parent.parent)


def test_classes_of_scriptlets_are_found_by_name(loader: ScriptletLoader, write: Write) -> None:
    text = """
        from __future__ import annotations
        from dataclasses import dataclass
        from helper import Point
        @dataclass
        class Box:
            corner: Point
        def main(): return Box(Point(1))
    """
    write("helper.py", "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int")
    box = loader.load(str(write("a.py", text))).function()
    assert pickle.loads(pickle.dumps(box)) == box
    assert dataclasses.asdict(box) == {"corner": {"x": 1}}
    assert typing.get_type_hints(type(box)) == {"corner": type(box.corner)}


def test_scriptlet_pickles_objects_of_its_own_and_its_helpers_classes(loader: ScriptletLoader, write: Write) -> None:
    text = """
        import pickle
        from helper import Point
        class Box:
            pass
        def main(): return [type(pickle.loads(pickle.dumps(kind()))) is kind for kind in (Box, Point)]
    """
    write("helper.py", "class Point: ...")
    assert loader.load(str(write("a.py", text))).function() == [True, True]


def test_directories_have_helpers_of_their_own(loader: ScriptletLoader, write: Write) -> None:
    text = "import helper\nfrom helper import NAME\ndef main(): return helper.NAME + NAME"
    results = []
    for name in ("one", "two"):
        write(f"{name}/helper.py", f"NAME = {name!r}")
        results.append(loader.load(str(write(f"{name}/a.py", text))).function())
    assert results == ["oneone", "twotwo"]
    assert "helper" not in sys.modules


def test_scriptlets_of_one_directory_share_helpers(loader: ScriptletLoader, write: Write) -> None:
    write("helper.py", "class A: ...")
    one, two = (
        loader.load(str(write(f"{name}.py", "from helper import A\ndef main(): return A"))).function()
        for name in ("one", "two")
    )
    assert one is two


def test_helpers_are_found_late_and_in_threads(loader: ScriptletLoader, write: Write) -> None:
    text = """
        import threading
        def main():
            seen = []
            def work():
                import helper
                seen.append(helper.NAME)
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            return seen
    """
    mains = []
    for name in ("one", "two"):
        write(f"{name}/helper.py", f"NAME = {name!r}")
        mains.append(loader.load(str(write(f"{name}/a.py", text))).function)
    assert [main() for main in mains] == [["one"], ["two"]]


def test_helper_is_found_by_importlib_and_dunder_import(loader: ScriptletLoader, write: Write) -> None:
    text = """
        import importlib
        import helper
        def main():
            return importlib.import_module("helper") is helper and __import__("helper") is helper
    """
    write("helper.py", "")
    assert loader.load(str(write("a.py", text))).function()


@pytest.mark.parametrize(
    "statement",
    [
        "import pkg.sub; found = pkg.sub.VALUE",
        "import pkg.sub as sub; found = sub.VALUE",
        "from pkg import sub; found = sub.VALUE",
        "from pkg.sub import VALUE as found",
        "from pkg import again as found",
        "from pkg.inner.leaf import VALUE as found",
        "from .pkg.sub import VALUE as found",
        "from . import helper; found = helper.VALUE",
        "from .helper import VALUE as found",
        "from folder.part import VALUE as found",
        "from pkg import *; found = again",
    ],
)
def test_packages_beside_scriptlet_are_importable(loader: ScriptletLoader, write: Write, statement: str) -> None:
    write("helper.py", "VALUE = 7")
    write("folder/part.py", "VALUE = 7")
    write("pkg/__init__.py", "from .sub import VALUE as again")
    write("pkg/sub.py", "from helper import VALUE")
    write("pkg/inner/__init__.py", "")
    write("pkg/inner/leaf.py", "from ..sub import VALUE\nfrom . import other")
    write("pkg/inner/other.py", "import pkg.sub")
    path = write("a.py", f"{statement}\ndef main(): return found")
    assert loader.load(str(path)).function() == 7
    assert not {"pkg", "helper", "folder"} & sys.modules.keys()


def test_change_in_package_makes_new_module(loader: ScriptletLoader, write: Write) -> None:
    write("pkg/__init__.py", "")
    write("pkg/sub.py", "VALUE = 1")
    path = write("a.py", "from pkg.sub import VALUE\ndef main(): return VALUE")
    old = loader.load(str(path))
    write("pkg/sub.py", "VALUE = 2")
    assert (old.function(), loader.load(str(path)).function()) == (1, 2)


def test_entry_that_is_package_file_imports_beside_itself(loader: ScriptletLoader, write: Write) -> None:
    write("block/helper.py", "from .other import VALUE\nclass A: ...")
    write("block/other.py", "VALUE = 7")
    text = """
        from .helper import VALUE, A
        from . import other
        import helper
        def main(): return VALUE, other.VALUE, helper.A is A
    """
    write("block/__init__.py", text)
    path = write("block/__init__.py", text)
    assert loader.load(str(path)).function() == (7, 7, True)


def test_scriptlet_named_like_library_does_not_hide_it(loader: ScriptletLoader, write: Write) -> None:
    write("copy.py", "import copy\ndef main(): return copy.deepcopy([1])")
    write("msgspec.py", "import msgspec\ndef main(): return msgspec.json.encode(1)")
    path = write("a.py", "import copy\ndef main(): return copy.copy([1])")
    assert loader.load(str(path)).function() == [1]
    assert loader.load("copy.py", directory=path.parent).function() == [1]
    assert loader.load("msgspec.py", directory=path.parent).function() == b"1"


def test_missing_helper_may_appear_later(loader: ScriptletLoader, write: Write) -> None:
    text = """
        def main():
            try:
                import late
            except ImportError:
                return None
            return late.VALUE
    """
    main = loader.load(str(write("a.py", text))).function
    assert main() is None
    write("late.py", "VALUE = 7")
    assert main() == 7


def test_helpers_import_each_other(loader: ScriptletLoader, write: Write) -> None:
    write("one.py", "import two\nVALUE = 1\ndef both(): return VALUE + two.VALUE")
    write("two.py", "import one\nVALUE = 2")
    assert loader.load(str(write("a.py", "import one\ndef main(): return one.both()"))).function() == 3


def test_nothing_of_sys_path_changes(loader: ScriptletLoader, write: Write) -> None:
    before = list(sys.path)
    write("helper.py", "")
    loader.load(str(write("a.py", "import helper\ndef main(): ...")))
    assert sys.path == before


def test_no_byte_code_is_written(loader: ScriptletLoader, write: Write) -> None:
    write("pkg/__init__.py", "import pkg.sub")
    write("pkg/sub.py", "")
    path = write("a.py", "import pkg\ndef main(): ...")
    loader.load(str(path))
    assert list(path.parent.rglob("__pycache__")) == []


def test_concurrent_loads_of_one_file_import_it_once(loader: ScriptletLoader, write: Write) -> None:
    path = write("a.py", "import builtins\nbuiltins.oocana_test_gate()\ndef main(): ...")
    started, gate, runs = threading.Event(), threading.Event(), list[int]()

    def wait() -> None:
        runs.append(1)
        started.set()
        gate.wait(10)

    with patched_builtin(wait), ThreadPoolExecutor(4) as pool:
        first = pool.submit(loader.load, str(path))
        assert started.wait(10)
        others = [pool.submit(loader.load, str(path)) for _ in range(3)]
        other = write("b.py", "def main(): return 'not held up'")
        assert loader.load(str(other)).function() == "not held up"
        gate.set()
        functions = {future.result(10).function for future in (first, *others)}
    assert len(runs) == len(functions) == 1


def test_concurrent_circular_imports_do_not_deadlock(loader: ScriptletLoader, write: Write) -> None:
    barrier = threading.Barrier(2)
    one = write("one.py", "import builtins\nbuiltins.oocana_test_gate()\nimport two\ndef main(): ...")
    two = write("two.py", "import builtins\nbuiltins.oocana_test_gate()\nimport one\ndef main(): ...")
    with patched_builtin(lambda: barrier.wait(10)), ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(loader.load, str(path)) for path in (one, two)]
        assert [load.result(10).path for load in loads] == [one, two]


def test_import_rules_end_with_the_loader(write: Write) -> None:
    import builtins

    before = (builtins.__import__, list(sys.meta_path))
    with ScriptletLoader() as outer:
        with ScriptletLoader() as inner:
            inner.forget()
        write("helper.py", "VALUE = 1")
        assert outer.load(str(write("a.py", "import helper\ndef main(): return helper.VALUE"))).function() == 1
        outer.forget()
    assert (builtins.__import__, sys.meta_path) == before
    assert not any("helper.py" in name for name in sys.modules)


class patched_builtin:  # noqa: N801 - reads as a statement
    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function

    def __enter__(self) -> None:
        import builtins

        builtins.oocana_test_gate = self.function  # type: ignore[attr-defined]

    def __exit__(self, *_: object) -> None:
        import builtins

        del builtins.oocana_test_gate  # type: ignore[attr-defined]


IMPORTS = "from common.part import WHO\nimport common\ndef main(): return WHO, common.WHO"


@pytest.mark.parametrize("init", ["common/__init__.py", None], ids=["package", "folder"])
def test_packages_each_import_what_lies_in_their_own_directory(
    init: str | None, loader: ScriptletLoader, write: Write, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        loader.add_package(tmp_path / name)
        if init is not None:
            write(f"{name}/{init}", f"WHO = {name!r}")
        write(f"{name}/common/part.py", f"WHO = {name!r}")
        write(f"{name}/tasks/t/index.py", IMPORTS if init else IMPORTS.replace("common.WHO", "common.part.WHO"))
    found = [loader.load(directory=tmp_path / name / "tasks" / "t").function() for name in ("one", "two", "one")]
    assert found == [("one", "one"), ("two", "two"), ("one", "one")]
    assert "common" not in sys.modules


def test_what_is_installed_comes_before_what_lies_in_a_package(
    loader: ScriptletLoader, write: Write, tmp_path: Path
) -> None:
    loader.add_package(tmp_path / "pkg")
    write("pkg/msgspec.py", "raise RuntimeError('not this one')")
    entry = write("pkg/tasks/t/index.py", "import msgspec\ndef main(): return msgspec.json.encode(1)")
    assert loader.load(directory=entry.parent).function() == b"1"


def test_module_of_a_package_that_changed_is_loaded_anew(loader: ScriptletLoader, write: Write, tmp_path: Path) -> None:
    loader.add_package(tmp_path / "pkg")
    write("pkg/common.py", "WHO = 1")
    entry = write("pkg/tasks/t/index.py", "import common\ndef main(): return common.WHO")
    assert loader.load(directory=entry.parent).function() == 1
    write("pkg/common.py", "WHO = 22")
    assert loader.load(directory=entry.parent).function() == 22


def test_module_from_outside_stays_when_a_file_of_its_name_is_made(
    loader: ScriptletLoader, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("outside/known_outside.py", "WHERE = 'outside'")
    monkeypatch.syspath_prepend(str(tmp_path / "outside"))
    path = write("block/index.py", "def main():\n    import known_outside\n    return known_outside.WHERE")
    main = loader.load(directory=path.parent).function
    assert main() == "outside"
    write("block/known_outside.py", "WHERE = 'beside'")
    assert main() == "outside"
    sys.modules.pop("known_outside", None)


def test_version_before_a_broken_edit_is_used_again(loader: ScriptletLoader, write: Write) -> None:
    path = write("index.py", "def main(): return 1")
    good = loader.load(directory=path.parent)
    write("index.py", "def main(: return")
    with pytest.raises(ScriptletError):
        loader.load(directory=path.parent)
    write("index.py", "def main(): return 1")
    assert loader.load(directory=path.parent).function is good.function
