"""Jobs that an executor is tried on; workers find them by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from booth.core.errors import BadDataError
from booth.events import Event
from booth.executor.job import Resident


class Loaded:
    """Something that takes long to load; counts how often it was."""

    loads = 0
    closed = 0

    def __init__(self, name: str) -> None:
        self.name = name
        Loaded.loads += 1

    def close(self) -> None:
        Loaded.closed += 1


def double(arguments: Mapping[str, Any], resident: Resident) -> dict[str, Any]:
    held = resident.hold("base", arguments.get("base", "b"), lambda: Loaded(arguments.get("base", "b")))
    resident.on_event(Event("message", data={"text": f"doubling {arguments['value']}"}))
    return {"value": 2 * arguments["value"], "base": held.name, "loads": Loaded.loads, "pid": os.getpid()} | (
        {"threads": os.environ.get("OMP_NUM_THREADS")}
    )


def refuse(arguments: Mapping[str, Any], resident: Resident) -> dict[str, Any]:
    raise BadDataError("There are no photos.")


def fail(arguments: Mapping[str, Any], resident: Resident) -> dict[str, Any]:
    raise ZeroDivisionError("by nothing")


def die(arguments: Mapping[str, Any], resident: Resident) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def until_stopped(arguments: Mapping[str, Any], resident: Resident) -> dict[str, Any]:
    resident.on_event(Event("message", data={"text": str(os.getpid())}))
    while True:
        resident.cancel.check()
        time.sleep(0.01)


def die_once(arguments: Mapping[str, Any], resident: Resident) -> dict[str, Any]:
    died = Path(arguments["file"])
    if not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {}
