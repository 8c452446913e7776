"""A token that may be set from anywhere to end long work, which looks at it between steps and scorings."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from booth.core.errors import Cancelled


class CancelToken:
    """Set once, from any thread; the work that holds it ends at the next place where it looks."""

    def __init__(self) -> None:
        self._error: Cancelled | None = None

    def cancel(self, reason: str | Cancelled = "Cancelled.") -> None:
        """Ask the work to end; the first reason counts."""
        self._error = self._error or (Cancelled(reason) if isinstance(reason, str) else reason)

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked the work to end."""
        return self._error is not None

    @property
    def reason(self) -> Cancelled | None:
        """Why, once it is asked for."""
        return self._error

    def check(self) -> None:
        """Raise Cancelled if somebody asked the work to end."""
        if self._error is not None:
            raise self._error


_watched: ContextVar[CancelToken | None] = ContextVar("cancel token", default=None)


@contextmanager
def cancellable(token: CancelToken) -> Generator[None]:
    """Within this context all drawing, of whatever room, looks at `token`."""
    former = _watched.set(token)
    try:
        yield
    finally:
        _watched.reset(former)


def check_cancelled() -> None:
    """Raise Cancelled if the work that this is part of is to end. Called between the denoising steps of pictures."""
    token = _watched.get()
    if token is not None:
        token.check()
