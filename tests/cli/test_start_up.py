"""Help is there at once: nothing heavy is imported for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("pandas", "numpy", "rich", "yaml", "aiomqtt", "paho", "multiprocessing", "oocana_async.engine")


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("line", ["'--help'", "'run', '--help'", "'--version'", "'rnu'"])
def test_nothing_heavy_is_imported(line: str) -> None:
    code = f"import sys; from oocana_async.cli import main; main([{line}]); print('|'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    modules = done.stdout.splitlines()[-1].split("|")
    assert [name for name in HEAVY if name in modules] == []
    assert not any(name in modules for name in ("anyio", "msgspec")), "the package itself is imported lazily, too"


def test_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "oocana_async", "rnu"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert 'did you mean "run"?' in done.stderr
