"""Versions of the files that booth leaves behind: older ones are read, newer ones are refused with what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from booth import __version__
from booth.core.errors import BadDataError, DamagedFileError
from booth.core.json_values import Json

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]  # the content at one version to the content at the next


def require_readable(path: Path, found: object, newest: int, versions: object) -> int:
    """The schema version of a file that this booth reads; `versions` is what the file says of its writer's packages.

    Raises BadDataError for a version above `newest`, DamagedFileError for one that no booth ever wrote.
    """
    if type(found) is not int or found < 1:
        raise DamagedFileError(
            f"{path} has no schema version of booth's, but {found!r}: it was changed or damaged.", code="schema.none"
        )
    if found > newest:
        writer = cast(Mapping[str, Any], versions).get("booth") if isinstance(versions, Mapping) else None
        by = f"written by booth {writer}" if isinstance(writer, str) else "written by a newer booth"
        raise BadDataError(
            f"{path} has schema version {found}, {by}; this is booth {__version__}, which reads up to {newest}.",
            "Upgrade it: pip install -U booth. Nothing was changed.",
            code="schema.newer",
        )
    return found


def upgraded(content: dict[str, Any], found: int, upgrades: Sequence[Upgrade]) -> dict[str, Json]:
    """A file's content as the newest version has it; `upgrades` lead from version 1 to 2, from 2 to 3 and so on."""
    for upgrade in upgrades[found - 1 :]:
        content = upgrade(content)
    return content
