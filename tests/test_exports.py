"""The public names of the package, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import oocana_async
from oocana_async import errors


@pytest.mark.parametrize("name", oocana_async.__all__)
def test_public_name_can_be_imported(name: str) -> None:
    assert getattr(oocana_async, name) is not None
    assert name in dir(oocana_async)


def test_all_errors_are_public() -> None:
    tree = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert tree <= set(oocana_async.__all__)


def test_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'oocana_async' has no attribute 'Nothing'"):
        oocana_async.Nothing  # type: ignore[attr-defined]  # noqa: B018


def test_version_is_that_of_the_distribution() -> None:
    assert oocana_async.__version__.count(".") == 2


HEAVY = ["pandas", "numpy", "aiomqtt", "paho", "rich", "matplotlib", "plotly", "multiprocessing", "yaml", "polars"]


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize(
    "statement", ["import oocana_async", "from oocana_async import Context, SyncContext", "import oocana_async.compat"]
)
def test_import_pulls_in_nothing_heavy(statement: str) -> None:
    text = f"import sys; {statement}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.strip() == ""
