"""A shared patch is made once and taken back by its last user."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from oocana_async.patching import SharedPatch


class Switch:
    """Something of the process, with the history of what was done to it."""

    def __init__(self) -> None:
        self.history: list[str] = []

    def apply(self) -> Callable[[], object]:
        self.history.append("on")
        return lambda: self.history.append("off")


def test_patch_is_made_by_the_first_and_taken_back_by_the_last() -> None:
    switch = Switch()
    patch = SharedPatch(switch.apply)
    patch.install()
    with patch.installed():
        pass
    assert switch.history == ["on"]
    patch.uninstall()
    assert switch.history == ["on", "off"]


def test_patch_can_be_made_again() -> None:
    switch = Switch()
    patch = SharedPatch(switch.apply)
    for _ in range(2):
        with patch.installed():
            pass
    assert switch.history == ["on", "off"] * 2


def test_uninstalling_once_too_often_does_nothing() -> None:
    switch = Switch()
    patch = SharedPatch(switch.apply)
    patch.uninstall()
    with patch.installed():
        assert switch.history == ["on"]
    patch.uninstall()
    assert switch.history == ["on", "off"]


def test_install_that_fails_does_not_count() -> None:
    attempts = []

    def apply() -> Callable[[], object]:
        attempts.append("try")
        raise OSError("not now")

    patch = SharedPatch(apply)
    for _ in range(2):
        with pytest.raises(OSError, match="not now"):
            patch.install()
    assert attempts == ["try", "try"]
