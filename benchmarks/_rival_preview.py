"""Previews a data frame through the official SDK's Context, with a stand-in for its connection.

Runs in an environment of its own. Requests and answers are JSON lines: `{"rows": ...}` and
`{"seconds": ..., "sent": ..., "bytes": ...}`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _preview_frame import make_frame  # type: ignore[import-not-found,unused-ignore]


class Mainframe:
    """Takes what the Context sends and does nothing with it, so only the Context itself is measured."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, _: Any, message: Any) -> None:
        """Take a message to the engine."""
        self.sent.append(message)

    def report(self, _: Any, message: Any) -> None:
        """Take a message to front ends."""
        self.sent.append(message)


class Side:
    """One Context, kept from request to request."""

    def __init__(self, folder: str) -> None:
        import oocana

        self._folder = Path(folder)
        self._mainframe = Mainframe()
        self._frames: dict[int, Any] = {}
        self._context = oocana.Context(
            inputs={},
            blockInfo=oocana.BlockInfo(session_id="S", job_id="J", stacks=[], block_path=None),
            mainframe=self._mainframe,
            store={},
            inputs_def={},
            outputs_def={},
            session_dir=folder,
            tmp_dir=folder,
            package_name="p",
            pkg_dir=folder,
        )

    def run(self, rows: int) -> dict[str, Any]:
        """Preview a frame once; its file is removed afterwards."""
        if rows not in self._frames:
            self._frames[rows] = make_frame(rows)
        frame = self._frames[rows]
        self._mainframe.sent.clear()
        start = time.perf_counter()
        self._context.preview(frame)
        seconds = time.perf_counter() - start
        files = list(self._folder.rglob("*.csv"))
        size = sum(file.stat().st_size for file in files)
        for file in files:
            file.unlink()
        return {"seconds": seconds, "sent": len(self._mainframe.sent), "bytes": size}


def main() -> None:
    """Answer requests until stdin ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    with tempfile.TemporaryDirectory() as folder:
        side = Side(folder)
        for line in sys.stdin:
            print(json.dumps(side.run(json.loads(line)["rows"])), file=answers, flush=True)


if __name__ == "__main__":
    main()
