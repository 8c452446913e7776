"""Where things are kept that later runs can use again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$BOOTH_CACHE, or booth's place in the user's cache folder."""
    named = os.environ.get("BOOTH_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(named).expanduser() if named else Path(home).expanduser() / "booth"
