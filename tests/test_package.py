"""The wheel that users install: what is in it, and that its commands work on their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(400)]


def pip(arguments: Sequence[str], python: Path | str = sys.executable) -> None:
    """Run pip; without a package index the wheel tests skip, except in CI."""
    line = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode and "No matching distribution found" in done.stderr and os.environ.get("CI") != "true":
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    pip(["wheel", "--no-deps", "--wheel-dir", str(place), "."])
    (found,) = place.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def fresh_bin(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel without extras into an empty environment and return its directory of commands."""
    place = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(place, with_pip=True)
    pip(["install", "--only-binary", ":all:", str(wheel)], place / "bin" / "python")
    return place / "bin"


def run(place: Path, *line: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COVERAGE"))}
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=place, env=clean, timeout=60)


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].removesuffix(f"-{PROJECT['version']}.dist-info") for name in names} == {"oocana_async"}
    assert not [name for name in names if "/tests/" in name or "/benchmarks/" in name or name.endswith(".pyc")]
    assert "oocana_async/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_holds_every_module(wheel: Path) -> None:
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "oocana_async").rglob("*.py")}
    assert ours <= set(zipfile.ZipFile(wheel).namelist())


def test_command_oocana_async_tells_its_version(fresh_bin: Path, tmp_path: Path) -> None:
    done = run(tmp_path, str(fresh_bin / "oocana-async"), "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert PROJECT["version"] in done.stdout


def test_command_python_executor_explains_itself(fresh_bin: Path, tmp_path: Path) -> None:
    done = run(tmp_path, str(fresh_bin / "python-executor"), "--help")
    assert done.returncode == 0, done.stderr
    assert "--session-id" in done.stdout


def test_command_python_executor_refuses_to_start_without_a_session(fresh_bin: Path, tmp_path: Path) -> None:
    done = run(tmp_path, str(fresh_bin / "python-executor"))
    assert done.returncode == 2
    assert "--session-id" in done.stderr


def test_scriptlet_runs_without_any_extra(fresh_bin: Path, tmp_path: Path) -> None:
    scriptlet = tmp_path / "hello.py"
    code = (
        "from oocana import Context\n\ndef main(params, context: Context):\n    print('hello from a fresh install')\n"
    )
    scriptlet.write_text(code, encoding="utf-8")
    done = run(tmp_path, str(fresh_bin / "oocana-async"), "run", str(scriptlet))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hello from a fresh install" in done.stdout


def test_types_are_found_by_a_type_checker(fresh_bin: Path, tmp_path: Path) -> None:
    block = tmp_path / "block.py"
    block.write_text(
        "from oocana_async import Context\n\n\nasync def main(params: dict[str, int], context: Context) -> None:\n"
        "    await context.output('sum', params['a'] + params['b'])\n    context.output(1, 2)\n",
        encoding="utf-8",
    )
    line = ["-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "--python-executable"]
    done = run(tmp_path, sys.executable, *line, str(fresh_bin / "python"), str(block))
    assert "block.py:6: error" in done.stdout, done.stdout
    assert "Found 1 error in 1 file" in done.stdout, done.stdout
