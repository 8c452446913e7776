"""The studio's parts, made once and handed to every page."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import IO

from booth.core.errors import UsageError
from booth.web.follow import Followers
from booth.web.home import Home
from booth.web.keeper import Keeper
from booth.web.library import Library
from booth.web.runs import Places
from booth.web.safety import Door


@dataclass
class Studio:
    """What pages ask and change."""

    home: Home
    door: Door
    library: Library
    places: Places
    keeper: Keeper
    training_by_assistant: bool = False  # whether tools at /mcp may train and draw


def open_studio(home: Home, door: Door, training_by_assistant: bool = False) -> Studio:
    """Put the parts together; nothing runs yet."""
    library, places = Library(home), Places(home, Followers())
    return Studio(home, door, library, places, Keeper(home, library, places), training_by_assistant)


def hold(home: Home) -> IO[str]:
    """A lock that lasts as long as this process; UsageError where another studio has the folder."""
    file = (home.studio / "lock").open("a+")
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise UsageError(
                f"Another studio is open on {home.root}.",
                "Use that one, or end it before you open a second.",
                code="folder.in_use",
                field="folder",
            ) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
