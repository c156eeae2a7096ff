"""The code in the README runs as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
COMMAND = Path(sys.executable).with_name("oocana-async")
ASYNC, CLASSIC = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[:2]


def run_block(place: Path, code: str, inputs: dict[str, Any], *outputs: str) -> list[dict[str, Any]]:
    """Run the code as a task with the given output handles and return the events."""
    (place / "main.py").write_text(code, encoding="utf-8")
    task = {
        "outputs_def": [{"handle": handle} for handle in outputs],
        "executor": {"name": "python", "options": {"entry": "main.py"}},
    }
    (place / "task.oo.yaml").write_text(json.dumps(task), encoding="utf-8")
    line = [str(COMMAND), "run", str(place / "task.oo.yaml"), "--json", "--inputs", json.dumps(inputs)]
    line += ["--session-dir", str(place / "session"), "--temp-root", str(place), "--project-data", str(place)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=place, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(text) for text in done.stdout.splitlines()]


def test_async_block_of_the_first_screen(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"text {name}", encoding="utf-8")
    paths = [str(tmp_path / "one"), str(tmp_path / "two")]
    events = run_block(tmp_path, ASYNC, {"paths": paths}, "text", "count")
    assert [event["output"] for event in events if event["type"] == "BlockOutput"] == ["text one", "text two"]
    assert [event["result"] for event in events if event["type"] == "BlockFinished"] == [{"count": 2}]
    assert [event["progress"] for event in events if event["type"] == "BlockProgress"][-1] == 100


def test_classic_block_of_the_first_screen(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    events = run_block(tmp_path, CLASSIC, {"path": str(tmp_path / "table.csv")}, "done")
    (preview,) = [event["payload"] for event in events if event["type"] == "BlockPreview"]
    assert preview["data"]["rows"] == [[1, 2]]


@pytest.mark.parametrize("code", [ASYNC, CLASSIC], ids=["async", "classic"])
def test_first_screen_is_short(code: str) -> None:
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
