"""One process at a time at what several would make: who comes second waits, and finds what the first has made."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from booth.core.cache import cache_folder
from booth.core.cancel import check_cancelled

try:
    import fcntl
except ImportError:  # Windows: nobody waits, and what is made twice is the same
    fcntl = None

LOOK = 0.1  # seconds between two looks whether it is free


@contextmanager
def alone_at(place: Path) -> Generator[None]:
    """Within this context no other process of this user is at `place`; Cancelled where the wait is ended.

    A process that dies lets go of it. Where files cannot be locked nobody waits.
    """
    if fcntl is None:
        yield
        return
    name = hashlib.sha256(str(place.absolute()).encode()).hexdigest()[:24]
    lock = cache_folder() / "locks" / name
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError:  # a folder that is read-only
        yield
        return
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                check_cancelled()
                time.sleep(LOOK)
            except OSError:
                break
        yield
