"""Near words for misspelt ones. It stands below everything: the command line needs it before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

__all__ = ["ask_for", "nearest", "suggest"]


def ask_for(meant: str) -> str:
    """Return `did you mean "x"?`, the one wording of it."""
    return f'did you mean "{meant}"?'


def suggest(word: str, possible: Iterable[str]) -> str:
    """Return `did you mean "x"?` for the nearest of `possible`, or an empty text when none is near."""
    near = nearest(word, tuple(possible))
    return ask_for(near) if near else ""


@lru_cache(maxsize=1024)
def nearest(word: str, possible: tuple[str, ...], cutoff: float = 0.6) -> str | None:
    """Return the nearest of `possible`, upper and lower case taken as alike."""
    import difflib  # late: only mistakes pay for it

    folded = {entry.casefold(): entry for entry in possible if entry != word}
    found = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=cutoff)
    return folded[found[0]] if found else None
