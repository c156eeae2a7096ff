"""Acknowledged outputs per second over MQTT: ours, the official SDK, aiomqtt alone, and what the broker can take.

    python benchmarks/outputs_mqtt.py             a minute; installs the official SDK into .benchmarks-venv
    python benchmarks/outputs_mqtt.py --smoke     a few seconds; exit code 1 if a message is missing or out of order

All publish the same messages at QoS 1 to one broker (mosquitto at its defaults), one after the other, round by round; a
rate counts from the first call to the last acknowledgement. Nobody subscribes, so this is about sending alone: with an
engine at the other end, the engine sets the pace (see engine.py). Goals: at least 10 times the official SDK, at least
0.6 times what the broker takes from a bare publisher that writes prepared bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks._mosquitto import Mosquitto, NoBrokerError, nothing_measured
from benchmarks._official import find_official, wire_arguments
from benchmarks._outputs_side import TOPIC
from benchmarks._report import Checks, Figures, machine, measure
from benchmarks._rivals import Rival, RivalError
from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.subscribing import SubscribingConnection

OFFICIAL, ALONE, BARE = "official SDK", "aiomqtt alone", "bare publisher"
OURS = {"ours, async": "async", "ours, thread": "thread"}
COUNTS = {OFFICIAL: 20_000, ALONE: 20_000, BARE: 400_000, "ours, async": 200_000, "ours, thread": 200_000}
SMOKE = 900  # mosquitto holds 1,000 messages for a subscriber that is not fast enough


async def arrived(broker: Mosquitto, count: int, send: Callable[[], Any]) -> list[int]:
    """Return the values that a subscriber gets while somebody sends."""
    values: list[int] = []
    enough = asyncio.Event()

    def take(_topic: str, body: bytes) -> None:
        values.append(json.loads(body)["output"])
        if len(values) >= count:
            enough.set()

    async with SubscribingConnection(Broker(broker.host, broker.port), client_id="reader", deliver=take) as subscribing:
        await subscribing.subscribe({TOPIC: 1})
        await asyncio.to_thread(send)
        async with asyncio.timeout(10):
            await enough.wait()
    return values


def smoke(sides: dict[str, Callable[[int], float]], broker: Mosquitto, checks: Checks) -> None:
    """Check that what is acknowledged also arrives, in order."""
    for name, side in sides.items():
        if name == ALONE:
            continue  # its workers send in any order
        try:
            values = asyncio.run(arrived(broker, SMOKE, lambda side=side: side(SMOKE)))  # type: ignore[misc]
        except TimeoutError:
            values = []
        checks.require(values == list(range(SMOKE)), f"{name}: values are missing or out of order")


def report(figures: Figures) -> None:
    """Print rates and ratios."""
    print("\nacknowledged outputs per second")
    for name in figures.rounds:
        print(f"  {name:<16}{figures.show(name, ',.0f', ' /s')}")
    print("\nratios within a round")
    for name in OURS:
        for other in (OFFICIAL, ALONE, BARE):
            if other in figures.rounds:
                print(f"  {f'{name} : {other}':<34}{figures.ratio(name, other)}")


def main(given: argparse.Namespace) -> int:
    """Measure and print; returns the exit code."""
    checks = Checks()
    official = find_official(given)
    print(machine())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(Mosquitto(folder, nodelay=False))

        def side(name: str, rival: Rival, **request: Any) -> Callable[[int], float]:
            def run(count: int) -> float:
                answer = rival.ask(address=broker.address, count=count, **request)
                checks.require(answer["acked"] == count, f"{name}: {answer['acked']} of {count} were acknowledged")
                return count / float(answer["seconds"])

            return run

        own = {**OURS, ALONE: "aiomqtt", BARE: "bare"}
        sides = {
            name: side(name, stack.enter_context(Rival(name, sys.executable, "_outputs_side.py")), side=key)
            for name, key in own.items()
        }
        if official is not None:
            sides[OFFICIAL] = side(OFFICIAL, stack.enter_context(Rival(OFFICIAL, official, "_rival_oocana.py")))
        smoke(sides, broker, checks)
        scale = 50 if given.smoke else 1
        runs = {name: (lambda run=run, name=name: run(COUNTS[name] // scale)) for name, run in sides.items()}
        report(measure(runs, 1 if given.smoke else given.rounds))
    return checks.exit_code


if __name__ == "__main__":
    try:
        sys.exit(main(wire_arguments(__doc__).parse_args()))
    except NoBrokerError as error:
        sys.exit(nothing_measured(error))
    except RivalError as error:
        sys.exit(f"outputs_mqtt.py: {error}")
