"""What blocks print, log and warn reaches the log of their own job."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import io
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oocana_async.executor.capture import install as capture
from oocana_async.executor.capture.captured_text import MAX_LINE, LineSplitter

pytestmark = pytest.mark.anyio


class Log:
    """A job and the lines that reached its log."""

    def __init__(self, *, tee: bool = False) -> None:
        self.lines: list[tuple[str, str]] = []
        self.context = contextvars.copy_context()
        self.output = self.context.run(capture.attach, self, tee=tee)

    def log(self, line: str, stdio: str) -> None:
        self.lines.append((line, stdio))

    def run(self, function: Callable[..., Any], *args: Any) -> list[tuple[str, str]]:
        self.context.run(function, *args)
        self.output.close()
        return self.lines


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    with capture.installed():
        yield


def out(*lines: str) -> list[tuple[str, str]]:
    return [(line, "stdout") for line in lines]


def err(*lines: str) -> list[tuple[str, str]]:
    return [(line, "stderr") for line in lines]


def test_one_print_is_one_entry() -> None:
    assert Log().run(lambda: print("one", 2, "a\nb", sep="-")) == out("one-2-a\nb")
    assert Log().run(lambda: print("problem", file=sys.stderr)) == err("problem")
    assert Log().run(print) == out("")


def test_begun_line_waits_for_its_rest() -> None:
    def job() -> None:
        print("a", end="")
        print("b")
        sys.stdout.write("c\nd")
        sys.stderr.write("e")

    assert Log().run(job) == [*out("ab", "c"), ("d", "stdout"), ("e", "stderr")]


def test_last_segment_counts_after_carriage_return() -> None:
    def job() -> None:
        for percent in (10, 50, 90):
            print(f"\r{percent} %", end="")
        print("\r100 %\r")
        sys.stdout.write("windows\r\n")
        sys.stdout.write("\r   \r")

    assert Log().run(job) == out("100 %", "windows")


def test_splitter_does_not_keep_endless_lines() -> None:
    splitter = LineSplitter()
    (line,) = splitter.feed("x" * (MAX_LINE + 1))
    assert len(line) == MAX_LINE + 1
    assert splitter.finish_with("") == ""


def test_explicit_file_is_left_alone() -> None:
    text = io.StringIO()
    assert Log().run(lambda: print("x", file=text)) == []
    assert text.getvalue() == "x\n"


def test_wrong_use_fails_as_always() -> None:
    with pytest.raises(TypeError, match="sep must be None or a string"):
        Log().run(lambda: print("x", "y", sep=1))  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="must be str, not int"):
        Log().run(lambda: sys.stdout.write(1))  # type: ignore[arg-type]


def test_bytes_reach_the_log() -> None:
    def job() -> None:
        sys.stdout.buffer.write("gr\u00fcn\n".encode())
        wrapper = io.TextIOWrapper(sys.stderr.buffer, encoding="utf-8")
        wrapper.write("wrapped\n")
        wrapper.flush()

    assert Log().run(job) == [*out("gr\u00fcn"), *err("wrapped")]


def test_stream_in_job_is_no_terminal_but_a_usable_file() -> None:
    def job() -> None:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        assert isinstance(sys.stdout, io.TextIOBase)
        assert (sys.stdout.isatty(), sys.stdout.writable(), sys.stdout.encoding.lower()) == (False, True, "utf-8")
        sys.stdout.writelines(["a\n", "b\n"])
        sys.stdout.flush()
        sys.stdout.close()
        print("still open")

    assert Log().run(job) == out("a", "b", "still open")


def test_redirect_concerns_one_job() -> None:
    barrier = threading.Barrier(2)

    def redirecting() -> None:
        with contextlib.redirect_stdout(io.StringIO()) as text:
            barrier.wait(10)
            print("kept")
            barrier.wait(10)
        assert text.getvalue() == "kept\n"
        print("after")

    def plain() -> None:
        barrier.wait(10)
        print("plain")
        barrier.wait(10)

    with ThreadPoolExecutor(2) as pool:
        one, two = Log(), Log()
        futures = [pool.submit(one.run, redirecting), pool.submit(two.run, plain)]
        assert [future.result(10) for future in futures] == [out("after"), out("plain")]


def test_redirect_is_seen_by_code_that_has_looked_up_the_stream_many_times_before() -> None:
    """The interpreter takes a short cut to attributes of modules for code that has become hot."""

    def write(text: str) -> None:
        sys.stdout.write(text)

    def block() -> None:
        for _ in range(1000):
            write("")
        with contextlib.redirect_stdout(io.StringIO()) as text:
            write("kept")
        assert text.getvalue() == "kept"

    assert Log().run(block) == []


def test_sys_says_as_ever_what_it_does_not_have() -> None:
    with pytest.raises(AttributeError, match=r"^module 'sys' has no attribute 'stdouts'$"):
        sys.stdouts  # type: ignore[attr-defined]  # noqa: B018


async def test_overlapping_redirects_on_one_loop_stay_apart() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def first(text: io.StringIO) -> None:
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            entered.set()
            await leave.wait()
            print("first")
            sys.stderr.write("too\n")
        print("first after")

    async def second(text: io.StringIO) -> None:
        await entered.wait()
        with contextlib.redirect_stdout(text):
            leave.set()
            await task
            print("second")
        print("second after")

    one, two = Log(), Log()
    texts = io.StringIO(), io.StringIO()
    loop = asyncio.get_running_loop()
    task = loop.create_task(first(texts[0]), context=one.context)
    await loop.create_task(second(texts[1]), context=two.context)
    assert [text.getvalue() for text in texts] == ["first\ntoo\n", "second\n"]
    assert (one.lines, two.lines) == (out("first after"), out("second after"))


def test_assignment_outside_of_jobs_does_not_concern_them() -> None:
    text, log = io.StringIO(), Log()
    with contextlib.redirect_stdout(text):
        print("outside")
        log.run(lambda: print("inside"))
    assert text.getvalue() == "outside\n"
    assert log.lines == out("inside")


def test_threads_and_pools_belong_to_the_job_that_uses_them() -> None:
    def job(name: str) -> None:
        thread = threading.Thread(target=print, args=(name, "thread"))
        thread.start()
        thread.join()
        pool.submit(print, name, "pool").result()

    with ThreadPoolExecutor(1) as pool:
        assert Log().run(job, "one") == out("one thread", "one pool")
        assert Log().run(job, "two") == out("two thread", "two pool")
        outside = pool.submit(capture.current_output.get).result()
    assert outside is None


async def test_tasks_and_executors_of_a_loop_belong_to_the_job() -> None:
    async def job() -> None:
        await asyncio.create_task(asyncio.to_thread(print, "to_thread"))
        await asyncio.get_running_loop().run_in_executor(None, print, "executor")

    log = Log()
    await asyncio.get_running_loop().create_task(job(), context=log.context)
    assert log.lines == out("to_thread", "executor")


def test_thread_that_cannot_start_may_be_tried_again() -> None:
    def job() -> None:
        thread = threading.Thread(target=print, args=("x",))
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="only be started once"):
            thread.start()
        assert "run" not in vars(thread)

    assert Log().run(job) == out("x")


def test_logging_without_configuration_shows_warnings() -> None:
    def job() -> None:
        logging.getLogger("quiet").info("hidden")
        logging.getLogger("loud").warning("shown")

    assert Log().run(job) == err("shown")


def test_basic_config_works_in_a_job_and_serves_the_next() -> None:
    def job() -> None:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
        logging.getLogger().info("one")
        logging.getLogger("other").warning("two")

    assert Log().run(job) == err("INFO one", "WARNING two")
    assert Log().run(job) == err("INFO one", "WARNING two")


def test_forced_basic_config_closes_nothing_of_the_host() -> None:
    before = logging.root.handlers[:]

    def job() -> None:
        logging.basicConfig(level=logging.DEBUG, format="%(message)s", force=True, stream=sys.stdout)
        logging.getLogger().debug("x")

    assert Log().run(job) == out("x")
    assert set(before) <= set(logging.root.handlers)


def test_warning_appears_once_per_place_as_one_entry() -> None:
    def job() -> None:
        for _ in range(3):
            warnings.warn("careful", stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        ((text, stdio),) = Log().run(job)
    assert stdio == "stderr"
    assert text.startswith(f"{__file__}:")
    assert "UserWarning: careful" in text


def test_caught_warnings_stay_caught() -> None:
    def job() -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn("careful", stacklevel=1)
        assert len(caught) == 1

    assert Log().run(job) == []


def test_sink_may_print_without_end() -> None:
    class Chatty(Log):
        def log(self, line: str, stdio: str) -> None:
            print("not captured", end="")
            super().log(line, stdio)

    assert Chatty().run(lambda: print("x")) == out("x")
