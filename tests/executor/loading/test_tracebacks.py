"""What a user sees of an exception."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import oocana_async
from oocana_async.executor.loading.loader import ScriptletLoader
from oocana_async.executor.loading.tracebacks import exit_error, format_exception

PACKAGE = Path(oocana_async.__path__[0])


OWN = str(PACKAGE / "executor" / "imaginary.py")
own: Callable[..., Any] = eval(compile("lambda function, *args: function(*args)", OWN, "eval"))


def raised(function: Callable[..., Any], *args: Any) -> Exception:
    """Return what a function raises when it is called from a frame of the package."""
    with pytest.raises(Exception) as caught:
        own(function, *args)
    assert caught.value.__traceback__ is not None
    return caught.value.with_traceback(caught.value.__traceback__.tb_next)


def boom() -> None:
    raise ValueError("boom")


def files(text: str) -> list[str]:
    return [line.split('"')[1] for line in text.splitlines() if line.startswith("  File")]


def test_frames_of_package_are_hidden_at_both_ends() -> None:
    text = format_exception(raised(lambda: own(int, "x")))
    assert files(text) == [__file__]
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("\nValueError: invalid literal for int() with base 10: 'x'")


def test_frames_of_package_between_user_frames_stay() -> None:
    text = format_exception(raised(lambda: own(boom)))
    assert files(text) == [__file__, OWN, __file__]


def test_frames_of_package_stay_if_nothing_else_remains() -> None:
    error = raised(int, "x")
    assert files(format_exception(error)) == [OWN]
    bare = format_exception(error, keep_own=False)
    assert files(bare) == []
    assert bare.startswith("Traceback (most recent call last):\nValueError")


def test_chained_errors_stay_without_our_frames() -> None:
    def chained() -> None:
        try:
            own(int, "x")
        except ValueError as error:
            raise RuntimeError("second") from error

    text = format_exception(raised(chained))
    assert "ValueError: invalid literal" in text
    assert "direct cause" in text
    assert set(files(text)) == {__file__}
    assert text.endswith("RuntimeError: second")


def test_failing_caret_parser_costs_only_the_carets(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(*_: Any) -> None:
        raise SystemError("AST constructor recursion depth mismatch")

    values: dict[str, int] = {}
    error = raised(lambda: [0][0] + values["missing"])
    with monkeypatch.context() as patch:
        patch.setattr("ast.parse", parse)
        text = format_exception(error)
    assert '[0][0] + values["missing"]' in text
    assert text.endswith("KeyError: 'missing'")


def test_groups_stay_without_our_frames() -> None:
    def grouped() -> None:
        raise ExceptionGroup("both", [raised(boom), raised(lambda: own(int, "x"))])

    text = format_exception(raised(grouped))
    assert "ValueError: boom" in text
    assert "ValueError: invalid literal" in text
    assert str(PACKAGE) not in text


def test_import_of_helper_shows_user_files_only(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("raise ValueError('boom')")
    (tmp_path / "a.py").write_text("def main():\n    import helper")
    with ScriptletLoader() as loader:
        text = format_exception(raised(loader.load(str(tmp_path / "a.py")).function))
        loader.forget()
    assert files(text) == [str(tmp_path / "a.py"), str(tmp_path / "helper.py")]


@pytest.mark.parametrize(
    ("code", "text"),
    [(None, None), ("bye", "block call exit with message: bye"), (0, "block call exit with message: 0")],
)
def test_exit_is_error_if_it_says_something(code: Any, text: str | None) -> None:
    with pytest.raises(SystemExit) as left:
        sys.exit(code)
    assert exit_error(left.value) == text
