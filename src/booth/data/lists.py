"""Lists of a whole folder's captions: the Hub's metadata.jsonl and metadata.csv, and JSON and texts of other programs.

A text is one where its lines begin with the names of photos: "dog.jpg, a dog on the grass".
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from booth.core.errors import BadDataError
from booth.core.reading import read_text
from booth.data.beside import PHOTO_SUFFIXES
from booth.data.captions import CAPTION_COLUMNS, captions_in, clean, columns_of

STEM = "metadata"  # what the Hub's imagefolder calls its list
LIST_SUFFIXES = (".jsonl", ".csv", ".tsv", ".json", ".txt")  # in order of preference
LINE = re.compile(rf"[\"']?(?P<name>[^\"']+?(?:{'|'.join(map(re.escape, sorted(PHOTO_SUFFIXES)))}))[\"']?"
                  r"\s*[,;:|\t ]\s*(?P<text>.*\S)\s*", re.IGNORECASE)  # fmt: skip
NAME_COLUMNS = (
    "file_name", "filename", "file", "file_path", "filepath", "path", "image", "image_path", "image_file", "image_name",
    "img", "img_path", "name", "photo", "picture",
)  # fmt: skip
# Of a Hub imagefolder, as diffusers' script reads it.
HINT_COLUMNS = ("conditioning_image", "conditioning_image_file_name", "control_image", "control_path")


@dataclass
class CaptionList:
    """What a list says about the photos of a folder."""

    path: Path
    captions: dict[Path, str | None] = field(default_factory=dict[Path, "str | None"])
    control_images: dict[Path, Path] = field(default_factory=dict[Path, Path])
    bad: list[str] = field(default_factory=list[str])  # a sentence without a subject for each line
    several: int = 0  # of how many photos there are captions beside the one that is used
    stems: Mapping[str, Path] = field(init=False)  # the folder's photos that have a stem to themselves, by that

    def __post_init__(self) -> None:
        found: dict[str, list[Path]] = {}
        for name in os.listdir(self.path.parent):
            if os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES:
                found.setdefault(os.path.splitext(name)[0], []).append(self.path.with_name(name))
        self.stems = {stem: photos[0] for stem, photos in found.items() if len(photos) == 1}

    @property
    def of_hub(self) -> bool:
        """Whether its name promises a list, so that a wrong line is an error."""
        return self.path.stem.lower() == STEM and self.path.suffix.lower() != ".txt"


def caption_list(path: Path) -> CaptionList | None:
    """Read a list; None for a file that describes no photo of its folder, as most of other programs.

    Raises BadDataError for a metadata file that cannot be read at all.
    """
    found = CaptionList(path)
    try:
        rows = list(_rows(path))
    except BadDataError:
        if not found.of_hub or path.suffix.lower() == ".json":
            return None
        raise
    named, plain = 0, 0
    for number, row in rows:
        try:
            if isinstance(row, BadDataError):
                raise row
            named += _take(row, found)
        except BadDataError as error:
            plain += error.code == "list.no_caption"
            found.bad.append(f"line {number} {error}")
    if rows and plain == len(rows):  # a table of other things, such as labels
        return None
    broken = any(isinstance(row, BadDataError) for _, row in rows)
    asked = found.of_hub and path.suffix.lower() != ".json" and (broken or any(_name_in(r) for _, r in rows))
    return found if named or asked else None


def _take(row: Mapping[str, Any], found: CaptionList) -> int:
    """Put one row into the list; 1 if it names a photo."""
    folder, name = found.path.parent, _name_in(row)
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise BadDataError(
            'has no "file_name"', "it must name a photo in this folder", code="list.no_file_name", field="photos"
        )
    photo = _inside(folder, name, found.stems)
    if photo in found.captions:
        raise BadDataError(f"names {photo.name} a second time", "keep one", code="list.named_twice", field="photos")
    control_image = next((row[c] for c in HINT_COLUMNS if isinstance(row.get(c), str)), None)
    if control_image is not None:
        found.control_images[photo] = _inside(folder, control_image)
    told = captions_in(row)
    if told is None:
        columns = ", ".join(repr(str(key)) for key in list(row)[:6])
        raise BadDataError(
            f"has no caption for {name}", f'add "text" (it has {columns})', code="list.no_caption", field="photos"
        )
    found.captions[photo] = clean(told[0])
    found.several += len(told) > 1
    return 1


def _inside(folder: Path, name: str, stems: Mapping[str, Path] | None = None) -> Path:
    """The file of that name in the folder, also where the name is a path from another machine or has no suffix."""
    if stems is not None and (photo := stems.get(PureWindowsPath(name).name)) is not None:
        return photo
    told = folder / os.path.normpath(name)
    if _is_below(told, folder):
        if os.path.isfile(told):
            return told
        plain = folder / os.path.normpath(PureWindowsPath(name).as_posix())
        near = [plain, folder / PureWindowsPath(name).name]
        if stems is not None:  # as kohya's scripts name photos of folders below
            near += [plain.with_name(plain.name + suffix) for suffix in sorted(PHOTO_SUFFIXES)]
        found = next((p for p in near if _is_below(p, folder) and os.path.isfile(p)), None)
        if found is not None:
            return found
        raise BadDataError(
            f"names {name}, which does not exist",
            "correct the name or delete the line",
            code="list.not_found",
            field="photos",
        )
    if os.path.isfile(folder / PureWindowsPath(name).name) and not os.path.isfile(told):
        return folder / PureWindowsPath(name).name
    raise BadDataError(
        f"names {name}, which is outside the folder",
        "copy the photo into it",
        code="list.outside_folder",
        field="photos",
    )


def _is_below(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        return False


def _name_in(row: Mapping[str, Any] | BadDataError) -> Any:
    """The name of a photo among the columns of a row."""
    if isinstance(row, BadDataError):
        return None
    named = columns_of(row)
    return next((named[c] for c in NAME_COLUMNS if isinstance(named.get(c), str)), None)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | BadDataError]]:
    """Each row with its number, from 1; an error where a line holds none."""
    text, suffix = read_text(path), path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        yield from table_rows(text, suffix, _photos_of(path.parent))
    elif suffix == ".txt":
        lines = enumerate(map(LINE.fullmatch, text.split("\n")), start=1)
        yield from ((number, {"file_name": line["name"], "text": line["text"]}) for number, line in lines if line)
    elif suffix == ".jsonl":
        yield from _of_lines(text)
    else:
        try:
            yield from enumerate(_of_json(json.loads(text)), start=1)
        except (ValueError, RecursionError):  # one object a line, whatever the file is called
            yield from _of_lines(text)


def table_rows(
    text: str, suffix: str, files: Container[str] = ()
) -> Iterator[tuple[int, Mapping[str, Any] | BadDataError]]:
    """Rows of a CSV or, with the suffix .tsv, of a table with tabs, each with its line's number; errors are rows too.

    The first line names the columns, unless it names one of `files`, and what they show. Spreadsheets of some countries
    write semicolons. A caption in the last column may hold commas without quotes.
    """
    head = text.split("\n", 1)[0]
    between = "\t" if suffix == ".tsv" else max(",;\t", key=head.count)
    first = [cell.strip().strip('"') for cell in head.split(between)]
    columns = ("file_name", "text") if len(first) > 1 and first[0] in files else None
    reader = csv.DictReader(io.StringIO(text), columns, delimiter=between)
    try:
        for row in reader:
            if any(value for value in row.values()):
                yield reader.line_num, _row(row, between)
    except csv.Error as error:
        raise BadDataError(
            f"is no table ({error})", "save it as CSV again", code="list.no_table", field="photos"
        ) from error


def _row(row: dict[Any, Any], between: str) -> dict[str, Any]:
    """A row of a table, with what stands behind its last column put back where that is a caption."""
    beyond: list[str] | None = row.get(None)
    columns = {str(key): value for key, value in row.items() if key is not None}
    last = next(reversed(columns), "")
    if beyond is None or columns_of({last: ""}).keys().isdisjoint(CAPTION_COLUMNS):
        return {str(key): value for key, value in row.items()}
    return columns | {last: between.join([columns[last], *beyond])}


def _photos_of(folder: Path) -> set[str]:
    return {name for name in os.listdir(folder) if os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES}


def _of_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any] | BadDataError]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield (
                number,
                BadDataError(
                    f"is not JSON ({error})", "it must be one object a line", code="list.not_json", field="photos"
                ),
            )
            continue
        yield number, row if isinstance(row, dict) else {}


def _of_json(value: Any) -> Iterator[Mapping[str, Any]]:
    """Rows of one JSON value: a list of objects, names with captions or objects, columns, or what COCO has."""
    if isinstance(value, list):
        yield from (row for row in value if isinstance(row, dict))  # type: ignore[reportUnknownVariableType]
        return
    if not isinstance(value, dict):
        return
    columns: dict[str, Any] = value  # type: ignore[reportUnknownVariableType]
    if isinstance(columns.get("annotations"), list) and isinstance(columns.get("images"), list):
        yield from _of_coco(columns)
        return
    lists = {key: inner for key, inner in columns.items() if isinstance(inner, list) and inner}
    words = all(isinstance(x, str) for inner in lists.values() for x in inner)
    if words and lists.keys() == columns.keys() and not columns_of(lists).keys().isdisjoint(NAME_COLUMNS):
        yield from (dict(zip(lists, row, strict=False)) for row in zip(*lists.values(), strict=False))
        return
    for key, inner in columns.items():
        if isinstance(inner, str) or (key in lists and words):
            yield {"file_name": key, "text": inner}
        elif isinstance(inner, dict):  # as kohya's meta_cap.json
            yield {"file_name": key} | inner
        elif isinstance(inner, list):
            yield from (row for row in inner if isinstance(row, dict))  # type: ignore[reportUnknownVariableType]


def _of_coco(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Rows of COCO's captions: pictures with names and numbers, and captions with the numbers of pictures."""
    told: dict[Any, list[str]] = {}
    for each in value["annotations"]:
        if isinstance(each, dict) and isinstance(each.get("caption"), str):
            told.setdefault(str(each.get("image_id")), []).append(each["caption"])
    for each in value["images"]:
        if isinstance(each, dict) and str(each.get("id")) in told:
            yield {"file_name": each.get("file_name"), "text": told[str(each["id"])]}
