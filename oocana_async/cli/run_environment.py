"""What a run changes in its process and takes back: variables, the garbage collector; and the directories it makes."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from oocana_async.cli.failures import UsageError
from oocana_async.cli.option_values import env_file
from oocana_async.engine.env_files import variables_on_top

__all__ = ["DIRECTORIES", "collector_spared_of_what_is_loaded", "make_directories", "patched_environment", "variables"]

DIRECTORIES: Final = ("session_dir", "temp_root", "project_data", "pkg_data_root")


def variables(options: argparse.Namespace) -> Mapping[str, str]:
    """Return the variables for the blocks: those of `--env-file`, else of the file that OOCANA_ENV_FILE names.

    Raises:
        UsageError: The file that OOCANA_ENV_FILE names cannot be read.
    """
    given: Mapping[str, str] | None = options.env_file
    if given is None and os.environ.get("OOCANA_ENV_FILE"):
        try:
            given = env_file(os.environ["OOCANA_ENV_FILE"])
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"OOCANA_ENV_FILE: {error}") from error
    return variables_on_top(given, os.environ)


@contextlib.contextmanager
def patched_environment(changed: Mapping[str, str]) -> Iterator[None]:
    """Set variables for everything in this process, and take them back."""
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def collector_spared_of_what_is_loaded() -> Iterator[None]:
    """Keep full garbage collections from walking the loaded graph again and again: it stays until the run is over."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def make_directories(options: argparse.Namespace) -> None:
    """Make the directories that the options name.

    Raises:
        UsageError: One cannot be made.
    """
    for name in DIRECTORIES:
        path: Path | None = getattr(options, name)
        if path is not None:
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(f"{flag}: cannot make the directory {path}: {error.strerror}") from error
