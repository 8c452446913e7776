"""The signals that end a process, caught so that what is under way can be saved first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType

CAUGHT = tuple(s for name in ("SIGINT", "SIGTERM", "SIGHUP") if (s := getattr(signal, name, None)))  # Windows lacks one
ALWAYS = (signal.SIGINT, signal.SIGTERM)  # asked for by someone, also of a process in the background

Handler = Callable[[int, FrameType | None], object] | int | None  # as signal.signal takes and returns it


def catch(handle: Callable[[int, FrameType | None], object]) -> dict[int, Handler]:
    """Let `handle` have the signals that end a process; returns the handlers before it, for `release`.

    Outside the main thread signals cannot be caught and are left alone, and so is SIGHUP where it is ignored: `nohup`
    wants to go on. SIGINT and SIGTERM are always asked for by someone.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    ignored = [s for s in CAUGHT if s not in ALWAYS and signal.getsignal(s) == signal.SIG_IGN]
    return {s: signal.signal(s, handle) for s in CAUGHT if s not in ignored}


def release(former: Mapping[int, Handler]) -> None:
    """Give signals back to the handlers that they had."""
    for number, handler in former.items():
        signal.signal(number, handler)
