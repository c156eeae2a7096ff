"""Signals end a command in order, at any moment."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from oocana_async.cli.signals import Interrupted, Signals


async def raise_and_wait(number: int, cleaned: list[str]) -> None:
    try:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()
    finally:
        cleaned.append("cleaned")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signal_cancels_what_runs_and_names_the_exit_code(number: int, code: int) -> None:
    cleaned: list[str] = []
    with Signals() as signals, pytest.raises(Interrupted):
        signals.run(raise_and_wait(number, cleaned))
    assert (cleaned, signals.exit_code) == (["cleaned"], code)


def test_signal_outside_the_loop_raises_at_once() -> None:
    with Signals() as signals, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert signals.exit_code == 143


def test_second_signal_ends_a_clean_up_that_hangs() -> None:
    async def stubborn() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()

    with Signals() as signals, pytest.raises(KeyboardInterrupt):
        signals.run(stubborn())


def test_second_signal_is_not_raised_inside_of_what_runs() -> None:
    caught: list[str] = []

    async def careful() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            caught.append("a clean-up that may hang begins")
        await asyncio.Event().wait()

    with Signals() as signals, pytest.raises(KeyboardInterrupt):
        signals.run(careful())
    assert caught == []


def test_signal_gets_through_to_a_blocked_write() -> None:
    reading, writing = os.pipe()

    def interrupt() -> None:
        os.read(reading, 1)  # returns when the write has begun
        os.kill(os.getpid(), signal.SIGINT)

    async def write() -> None:
        threading.Thread(target=interrupt).start()
        with signals.interruptible():
            os.write(writing, b"x" * 10_000_000)

    with Signals() as signals, pytest.raises(Interrupted):
        signals.run(write())
    os.close(reading)
    os.close(writing)


def test_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with Signals():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals.received
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_run_without_signals() -> None:
    results: list[int] = []

    async def answer() -> int:
        return 42

    def work() -> None:
        with Signals() as signals:
            results.append(signals.run(answer()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [42]
