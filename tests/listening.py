"""Listeners that note what they hear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from booth.events import Event


def texts(heard: list[str]) -> Callable[[Event], Any]:
    """Note the sentences for people."""
    return lambda event: heard.append(event.text) if event.text else None


def progress(heard: list[int], phase: str = "drawing") -> Callable[[Event], Any]:
    """Note how far a phase is."""
    return lambda event: heard.append(event.done) if (event.kind, event.phase) == ("progress", phase) else None
