"""Python processes of our own, which import nothing that lies in the folder that they are started in."""

from __future__ import annotations

import os
import sys
from collections.abc import Container


def python(module: str, *words: str) -> list[str]:
    """The command that runs a module of ours in another process of this Python."""
    return [sys.executable, "-P", "-m", module, *words]


def environment(kept: Container[str] | None = None, hidden: Container[str] = (), **more: str) -> dict[str, str]:
    """This process's environment for such a one, or what is `kept` of it, without what is `hidden`, and `more`.

    Of PYTHONPATH folders go on alone, as they lie from here: an empty entry means whatever folder a process is started
    in, so that a `json.py` in a user's folder would be run; `-P` keeps out of the way only what Python adds by itself.
    """
    names = [name for name in os.environ if (kept is None or name in kept) and name not in hidden]
    found = {name: os.environ[name] for name in names} | more
    if "PYTHONPATH" in found:
        entries = [os.path.abspath(entry) for entry in found.pop("PYTHONPATH").split(os.pathsep) if entry]
        found |= {"PYTHONPATH": os.pathsep.join(entries)} if entries else {}
    return found
