"""One driver at a time: who has a place says so in it, and gives signs of life."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from booth.core.errors import UsageError
from booth.fleet.place import Place
from booth.fleet.runs import Beat, Watch

DRIVER = "driver.json"
SETTLING = 0.2  # seconds after which it is seen which of two that came at once was the last
LOOK = 1.0  # seconds between two looks at whether another driver is alive


@contextmanager
def claimed(place: Place) -> Generator[None]:
    """Within this context the place is this driver's; UsageError where another one is alive.

    One of this machine that was killed is known at once; of another machine, by its signs of life that no longer come.
    """
    watch = Watch(place, DRIVER)
    while not (gone := watch.is_gone()):
        if gone is False:
            raise UsageError(
                f"Another driver is at {place.url}.",
                "Wait for it, or name another `out`.",
                code="fleet.claimed",
                field="out",
            )
        time.sleep(LOOK)
    with Beat(place, DRIVER) as beat:
        time.sleep(SETTLING)
        found = place.read_json(DRIVER) or {}
        if found.get("owner") != beat.owner:
            raise UsageError(
                f"Another driver came to {place.url} at the same time.",
                "Run one of them again later.",
                code="fleet.claimed",
                field="out",
            )
        yield
