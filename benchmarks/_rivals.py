"""Opponents: their environments, and processes that measure them at the other end of a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

__all__ = ["Rival", "RivalError", "find_python"]

ENVIRONMENTS = Path(__file__).parent.parent / ".benchmarks-venv"
INSTALL_SECONDS = 600


class RivalError(Exception):
    """An opponent cannot be installed or did not answer."""


def find_python(name: str, modules: Sequence[str], packages: Sequence[str]) -> Path:
    """Return the interpreter of an environment with some modules; makes it and installs packages when needed.

    Args:
        name: of the environment, a directory in `.benchmarks-venv`.
        modules: what must be importable.
        packages: what to install otherwise.

    Raises:
        RivalError: That did not work, for instance because there is no network.
    """
    folder = ENVIRONMENTS / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
    missing = _cannot_import(python, modules)
    if missing:
        print(f"installing {', '.join(packages)} into {folder}", file=sys.stderr)
        command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", *packages]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except (subprocess.SubprocessError, OSError) as error:
            lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            raise RivalError(f"{', '.join(packages)} cannot be installed: {lines[-1] if lines else error}") from error
        missing = _cannot_import(python, modules)
    if missing:
        raise RivalError(f"{missing} in {folder}")
    return python


def _cannot_import(python: Path, modules: Sequence[str]) -> str:
    code = "; ".join(f"import {module}" for module in modules)
    try:
        command = [str(python), "-c", code]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    except (subprocess.SubprocessError, OSError) as error:
        return str(error)
    lines = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else "an import failed")


class Rival:
    """A process that answers requests for measurements, one JSON line each; use it as a context manager.

    Args:
        name: for people.
        python: its interpreter.
        script: file in this directory.
        env: variables for it.
    """

    def __init__(self, name: str, python: Path | str, script: str, *, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._command = [str(python), str(Path(__file__).parent / script)]
        self._env = {**os.environ, **(env or {})}
        self._folder = contextlib.ExitStack()
        self._process: subprocess.Popen[str] | None = None
        self._errors: Any = None

    def __enter__(self) -> Self:
        home = self._folder.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        self._errors = self._folder.enter_context(tempfile.TemporaryFile("w+"))
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=home,
            env={**self._env, "PREFECT_HOME": home},
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stdout.close()
        self._folder.close()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            RivalError: The process has ended.
        """
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise RivalError(f"{self.name} ended: {self._last_error()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else "without a word"
