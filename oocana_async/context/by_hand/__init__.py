"""Contexts that no executor makes: for the desk, and around a mainframe of the caller."""

from __future__ import annotations

from oocana_async.context.by_hand.arguments import parts_by_hand

__all__ = ["parts_by_hand"]
