"""Who gets the preview of a figure: the owners of plot hooks, and the job of theirs that runs here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeAlias

__all__ = ["Owner", "Scope", "Send", "add_owner", "current_scope", "deliver", "remove_owner"]

Send: TypeAlias = Callable[[dict[str, Any]], object]
"""Sends a preview payload for the job that runs here; raises LookupError (no subclass of it) where no job runs."""

Scope: TypeAlias = Callable[[], Hashable]
"""Names the job that runs here, None outside of jobs."""


class Owner(Protocol):
    """Somebody who runs jobs, such as an executor."""

    @property
    def send(self) -> Send:
        """How previews of its jobs are sent."""

    @property
    def scope(self) -> Scope | None:
        """How its jobs are told apart; None when they share their figures."""


# Never changed in place, so that other threads may go through it while owners come and go.
_owners: tuple[Owner, ...] = ()


def add_owner(owner: Owner) -> None:
    """Ask this owner first from now on. Callers of this and of `remove_owner` exclude each other."""
    global _owners  # noqa: PLW0603 - the process has one pyplot, and one list of those who show its figures
    _owners = (owner, *_owners)


def remove_owner(owner: Owner) -> None:
    """Ask this owner no longer; one that is not there is ignored."""
    global _owners  # noqa: PLW0603
    _owners = tuple(one for one in _owners if one is not owner)


def deliver(payload: dict[str, Any], what: str) -> None:
    """Hand a payload to the owner whose job runs here, else say on stderr that nobody saw it.

    Args:
        payload: the preview.
        what: what was called, such as `plt.show()`.
    """
    for owner in _owners:
        try:
            owner.send(payload)
        except LookupError as error:
            if type(error) is not LookupError:  # a KeyError of what sends: a defect, not "no job here"
                raise
        else:
            return
    sys.stderr.write(f"{what}: no block runs here, so there is nobody to show this preview to\n")


def current_scope() -> Hashable:
    """Name the job that runs here, None where none runs or nobody told how jobs are named."""
    for owner in _owners:
        key = owner.scope() if owner.scope is not None else None
        if key is not None:
            return key
    return None
