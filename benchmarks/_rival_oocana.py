"""The official SDK behind a pipe: outputs through its Context until the broker has acknowledged all.

Runs in an environment of its own, so it knows nothing of the other benchmarks. Requests and answers are JSON lines:
`{"address": ..., "count": ...}` and `{"seconds": ..., "acked": ...}`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any


class Side:
    """One connection, kept from request to request."""

    def __init__(self, address: str) -> None:
        import oocana
        import paho.mqtt.client as paho

        mainframe = oocana.Mainframe(f"mqtt://{address}")
        connected = threading.Event()
        self._wanted = self._acked = 0
        self._done = threading.Event()
        mainframe.connect()
        client = next(value for value in vars(mainframe).values() if isinstance(value, paho.Client))
        client.on_publish = self._on_publish
        for _ in range(500):
            if client.is_connected():
                break
            connected.wait(0.01)
        block = oocana.BlockInfo(session_id="S", job_id="J", stacks=[], block_path=None)
        self._context = oocana.Context(
            inputs={},
            blockInfo=block,
            mainframe=mainframe,
            store={},
            inputs_def={},
            outputs_def={"out": {"handle": "out"}},
            session_dir="/tmp",
            tmp_dir="/tmp",
            package_name="p",
            pkg_dir="/tmp",
        )

    def _on_publish(self, *_: Any) -> None:
        self._acked += 1
        if self._acked >= self._wanted:
            self._done.set()

    def run(self, count: int) -> dict[str, Any]:
        """Send outputs and wait for the last acknowledgement."""
        self._acked, self._wanted = 0, count
        self._done.clear()
        started = time.perf_counter()
        for number in range(count):
            self._context.output("out", number)
        self._done.wait(120)
        return {"seconds": time.perf_counter() - started, "acked": self._acked}


def main() -> None:
    """Answer requests until stdin ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    sides: dict[str, Side] = {}
    for line in sys.stdin:
        request = json.loads(line)
        address = request["address"]
        if address not in sides:
            sides[address] = Side(address)
        print(json.dumps(sides[address].run(request["count"])), file=answers, flush=True)


main()
