"""A manifest: one run a line, with photos, class, token and any setting by its column; or a folder of folders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from booth.config import CLASS, RunConfig
from booth.config.loading import load_run_config
from booth.core.errors import BadDataError, UsageError
from booth.core.places import at_home, printable
from booth.core.reading import read_text
from booth.data.account import limited
from booth.data.lists import table_rows

NAME = "name"  # the column that says who is taught; else the folder of the photos does
BETWEEN = ";"  # of several photos, or of several other subjects
NO_COLUMNS = {"out", "resume"}  # the fleet decides them
SUBJECT = re.compile(r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,99}")  # what can be a folder on any machine


@dataclass(frozen=True)
class Entry:
    """One run that is asked for."""

    subject: str  # who or what is taught: all that belongs to it lies below one folder of this name
    config: RunConfig
    place: str  # in the manifest, for people

    @property
    def sources(self) -> list[list[Path]]:
        """The photos of the subject, and of each other one of the same run."""
        return [self.config.photos, *(other.photos for other in self.config.also)]


def read_manifest(
    source: Path,
    defaults: Path | None = None,
    given: Mapping[str, object] | None = None,
    assignments: Iterable[str] = (),
) -> list[Entry]:
    """Every run of a table or of a folder's folders; a row wins over `assignments`, those over the TOML `defaults`.

    Raises one BadDataError that names every line that makes no sense. Photos are not looked at.
    """
    given, assignments = given or {}, list(assignments)
    rows = _of_folder(source) if source.is_dir() else _of_table(source)
    entries: list[Entry] = []
    bad: list[str] = []
    seen: dict[str, str] = {}
    for place, row in rows:
        try:
            if isinstance(row, BadDataError):
                raise row
            entry = _entry(place, row, source.parent, defaults, given, assignments)
            same = seen.setdefault(f"{entry.subject} {entry.config!r}", place)
            if same != place:
                raise BadDataError(f"asks for the very run of {same}", "delete one", code="manifest.twice")
            entries.append(entry)
        except (BadDataError, UsageError) as error:
            bad += [f"{place}: {str(problem).rstrip('.')}" for problem in error.problems]
    if bad:
        told = [f"  - {printable(fault)}." for fault in limited(bad)]
        raise BadDataError(
            "\n".join([f"{source} cannot be used; nothing was begun:", *told]),
            code="manifest.unusable",
            field="manifest",
        )
    if not entries:
        raise BadDataError(
            f"{source} asks for nothing.",
            "Give it a line, or a folder of photos, for each subject.",
            code="manifest.empty",
            field="manifest",
        )
    return entries


def _of_folder(source: Path) -> list[tuple[str, dict[str, str]]]:
    folders = sorted(p for p in source.iterdir() if p.is_dir() and not p.name.startswith("."))
    return [(folder.name, {"photos": str(folder.absolute())}) for folder in folders]


def _of_table(source: Path) -> list[tuple[str, Mapping[str, Any] | BadDataError]]:
    try:
        rows = list(table_rows(read_text(source), source.suffix.lower()))
    except BadDataError as error:
        raise error.about(f"The manifest {source}", field="manifest") from error
    if rows and not isinstance(rows[0][1], BadDataError):
        columns = [str(column).strip() for column in rows[0][1]]
        if "photos" not in columns:
            raise BadDataError(
                f"The manifest {source} has no column `photos` (it has {', '.join(columns)}).",
                "Its first line names the columns: photos, class, token and any setting.",
                code="manifest.no_column",
                field="photos",
            )
    return [(f"line {number}", row) for number, row in rows]


def _entry(
    place: str,
    row: Mapping[str, Any],
    home: Path,
    defaults: Path | None,
    given: Mapping[str, Any],
    assignments: list[str],
) -> Entry:
    cells = _cells(row)
    photos = [home / at_home(Path(part.strip())) for part in cells.pop("photos", "").split(BETWEEN) if part.strip()]
    if not photos:
        raise BadDataError("names no photos", code="manifest.no_photos", field="photos")
    subject = cells.pop(NAME, "") or (photos[0].stem if photos[0].suffix else photos[0].name)
    if not SUBJECT.fullmatch(subject) or subject.endswith((" ", ".")):
        raise BadDataError(
            f"cannot name a folder {subject!r}",
            "give a `name` of letters and digits",
            code="manifest.no_folder",
            field="name",
        )
    fields, settings = dict(given), list(assignments)
    for key, value in cells.items():
        field = "noun" if key == CLASS else key
        if field in NO_COLUMNS:
            raise UsageError(
                f"{key} has no place in a manifest: the fleet decides it.",
                "Delete the column",
                code="manifest.field_decided",
            )
        if field == "also":
            fields["also"] = [_at_home(part, home) for part in value.split(BETWEEN) if part.strip()]
        elif field in RunConfig.model_fields and field != "settings":
            fields[field] = value
        else:
            settings.append(f"{key}={value}")
    config = load_run_config(defaults, {**fields, "photos": photos}, settings)
    if config.out is not None or config.resume:
        raise UsageError(
            "out and resume have no place in a fleet's settings: the fleet decides them",
            code="manifest.settings",
            field="settings",
        )
    return Entry(subject, config, place)


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    """The cells that hold something, by their columns."""
    if None in row or "None" in row:
        raise BadDataError(
            "has more cells than there are columns",
            "put a cell with commas into quotes",
            code="manifest.too_many_cells",
        )
    return {str(key).strip(): str(value).strip() for key, value in row.items() if value and str(value).strip()}


def _at_home(also: str, home: Path) -> str:
    """Another subject's line, its folder seen from the manifest's."""
    folder, equals, name = also.strip().rpartition("=")
    return f"{home / at_home(Path(folder))}{equals}{name}" if equals else also.strip()
