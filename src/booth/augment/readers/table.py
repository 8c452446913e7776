"""A table with a line a picture, such as the metadata of ISIC, HAM10000 or a Kaggle competition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from booth.augment.labelled_set import SPLITS, Picture
from booth.augment.readers.found import Found
from booth.core.errors import BadDataError, UsageError
from booth.core.places import printable
from booth.core.reading import read_text
from booth.data.beside import PHOTO_SUFFIXES
from booth.data.lists import NAME_COLUMNS, table_rows

# In the order in which they are looked for; the coarser group first, since a patient holds his lesions.
COLUMNS: dict[str, tuple[str, ...]] = {
    "image": (*NAME_COLUMNS, "image_id", "isic_id", "id_code", "image_file_name", "img_id", "id"),
    "label": ("label", "labels", "class", "class_name", "dx", "diagnosis", "diagnosis_1", "category", "species", "y",
              "target", "malignant"),
    "group": ("group", "group_id", "patient_id", "subject_id", "lesion_id", "specimen_id", "individual_id"),
    "split": ("split", "set", "subset", "partition", "fold_name"),
    "context": ("context", "background", "caption", "text"),
}  # fmt: skip
REQUIRED = ("image", "label")
ONE_HOT = ("0", "1", "0.0", "1.0")


def table_in(folder: Path) -> Path | None:
    """The table of a folder that names pictures and labels, if exactly one does; UsageError if several do."""
    tables = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".csv", ".tsv") and p.is_file())
    fit = [table for table in tables if _names_labels(table)]
    if len(fit) > 1:
        raise UsageError(
            f"{folder} holds several tables of labels: {', '.join(p.name for p in fit)}.",
            "Name one of them.",
            code="data.several_tables",
            field="data",
        )
    return fit[0] if fit else None


def _names_labels(table: Path) -> bool:
    try:
        rows = _rows(table)
        _columns(table, list(rows[0]) if rows else [], {}, rows)
    except (BadDataError, UsageError):
        return False
    return bool(rows)


def read_table(table: Path, columns: Mapping[str, str], images: Path | None) -> Found:
    """Pictures with the labels, groups and splits of a table's columns, found by name unless `columns` names them.

    A table of one column a class with a single 1 in each line is understood too. Raises UsageError for a column that
    is not there.
    """
    try:
        rows = _rows(table)
    except BadDataError as error:
        raise error.about(printable(table), field="data") from error
    if not rows:
        raise BadDataError(
            f"{printable(table)} has no lines below its header.",
            "Give a line a picture.",
            code="table.empty",
            field="data",
        )
    chosen, classes = _columns(table, list(rows[0]), columns, rows)
    found = Found(images or table.parent, "", group_column=chosen.get("group"))
    index = _Index(images or table.parent)
    stripped, unlabelled = 0, list[int]()
    for number, row in enumerate(rows, start=2):
        label = _hot(row, classes) if classes else (row.get(chosen["label"]) or "")
        stripped += label != label.strip()
        if not label.strip():
            unlabelled.append(number)
            continue
        try:
            _take(row, label.strip(), chosen, index, found)
        except BadDataError as error:
            found.bad.append(f"line {number} {error}")
    if unlabelled:
        found.bad.append(f"{len(unlabelled)} lines have no label, such as line {unlabelled[0]}; label or delete them")
    if stripped:
        found.notes.append(f"{stripped} labels had blanks around them, which do not count.")
    used = ", ".join(f"{what} = {name}" for what, name in chosen.items())
    found.layout = (
        f"{printable(table)} lists {len(found.pictures)} pictures of {len({p.label for p in found.pictures})} classes "
        f"({used}{', one column a class' if classes else ''})."
    )
    return found


def _rows(table: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for _, row in table_rows(read_text(table), table.suffix.lower()):
        if isinstance(row, BadDataError):
            raise row
        rows.append({key.strip(): (value or "") if isinstance(value, str) else "" for key, value in row.items()})
    return rows


def _columns(
    table: Path, names: Sequence[str], asked: Mapping[str, str], rows: Sequence[Mapping[str, str]]
) -> tuple[dict[str, str], list[str]]:
    """The column of each kind that there is, and those of the classes where each class has its own."""
    chosen: dict[str, str] = {}
    lower = {name.lower(): name for name in names}
    for what, known in COLUMNS.items():
        if what in asked:
            if asked[what].lower() not in lower:
                raise UsageError(
                    f"{table} has no column {asked[what]!r}.",
                    f"It has: {', '.join(names)}.",
                    code="table.no_such_column",
                    field=what,
                )
            chosen[what] = lower[asked[what].lower()]
        else:
            name = next((lower[c] for c in known if c in lower and lower[c] not in chosen.values()), None)
            if name is not None:
                chosen[what] = name
    classes: list[str] = []
    if "label" not in chosen:
        rest = [name for name in names if name not in chosen.values()]
        classes = [name for name in rest if all(row[name].strip() in ONE_HOT for row in rows)]
    for what in REQUIRED:
        if what not in chosen and not (what == "label" and len(classes) > 1):
            raise UsageError(
                f"{table} has no column that is known as the {what}: it has {', '.join(names)}.",
                f"Name it with `{what}`.",
                code="table.column_unknown",
            )
    return chosen, classes if "label" not in chosen else []


def _hot(row: Mapping[str, str], classes: Sequence[str]) -> str:
    hot = [name for name in classes if float(row[name]) == 1]
    return hot[0] if len(hot) == 1 else ""


def _take(row: Mapping[str, str], label: str, chosen: Mapping[str, str], index: _Index, found: Found) -> None:
    path = index.find(row.get(chosen["image"], "").strip())
    split: Any = row.get(chosen.get("split", ""), "").strip().lower() or None
    if split is not None and split not in SPLITS:
        raise BadDataError(
            f"has the split {split!r}", "write train, validation or test", code="table.unknown_split", field="data"
        )
    found.pictures.append(
        Picture(
            path,
            path.relative_to(index.folder).as_posix() if path.is_relative_to(index.folder) else path.name,
            label,
            group=row.get(chosen.get("group", ""), "").strip(),
            split=SPLITS[split] if split else None,
            context=row.get(chosen.get("context", ""), "").strip() or None,
        )
    )


class _Index:
    """The pictures below a folder by their names, with and without suffix; looked through when first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._found: dict[str, Path] = {}
        self._taken: set[Path] = set()

    def find(self, name: str) -> Path:
        if not name:
            raise BadDataError(
                "names no picture",
                "give its file's name or delete the line",
                code="table.line_without_picture",
                field="data",
            )
        told = PureWindowsPath(name) if "\\" in name else PurePosixPath(name)
        path = self.folder / told.as_posix()
        if ".." in told.parts or told.is_absolute() or not path.is_file():
            if not self._found:
                self._look()
            path = self._found.get(told.name.lower(), path)
        if not path.is_file() or ".." in path.relative_to(self.folder).parts:
            raise BadDataError(
                f"names {printable(name)}, which is not below {printable(self.folder)}",
                "see `images`",
                code="table.picture_missing",
                field="images",
            )
        if path in self._taken:
            raise BadDataError(
                f"names {printable(name)} a second time",
                "keep one line a picture",
                code="table.picture_twice",
                field="data",
            )
        self._taken.add(path)
        return path

    def _look(self) -> None:
        for path in sorted(self.folder.rglob("*")):
            if path.suffix.lower() in PHOTO_SUFFIXES:
                self._found.setdefault(path.name.lower(), path)
                self._found.setdefault(path.stem.lower(), path)
