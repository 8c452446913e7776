"""Labelled sets as people have them: a folder a class, a table, or COCO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from booth.augment.groups import grouped
from booth.augment.labelled_set import LabelledSet, checked, require_classes
from booth.augment.readers.coco import coco_files, read_coco
from booth.augment.readers.found import Found
from booth.augment.readers.image_folder import read_image_folder
from booth.augment.readers.table import read_table, table_in
from booth.core.errors import BadDataError

TABLES = (".csv", ".tsv")


def read_set(data: Path, columns: Mapping[str, str] | None = None, images: Path | None = None) -> LabelledSet:
    """Read and check a labelled set; writes nothing.

    `data` is a folder of classes, a folder with a table in it, a CSV, or a COCO file or folder. `columns` names a
    table's columns for image, label, group, split and context; `images` is where its pictures lie. Raises one
    BadDataError that names everything that cannot be used.
    """
    found = _find(data, columns or {}, images)
    pictures, told = checked(found.pictures, found.bad)
    pictures, grouping = grouped(pictures, found.group_column)
    whole = LabelledSet(found.root, pictures, found.layout, (*found.notes, *told, *grouping), found.categories)
    require_classes(whole)
    return replace(whole, pictures=tuple(sorted(whole.pictures, key=lambda p: (p.label, p.name))))


def _find(data: Path, columns: Mapping[str, str], images: Path | None) -> Found:
    if data.is_file():
        if data.suffix.lower() in TABLES:
            return read_table(data, columns, images)
        if data.suffix.lower() == ".json":
            return read_coco([data], images)
        raise BadDataError(
            f"{data} is neither a folder nor a CSV nor a COCO file.",
            "Name one of these.",
            code="data.of_no_kind",
            field="data",
        )
    if not data.is_dir():
        raise BadDataError(f"{data} does not exist.", "Check the name.", code="data.missing", field="data")
    table = table_in(data)
    if table is not None:
        return read_table(table, columns, images)
    annotations = coco_files(data)
    if annotations:
        return read_coco(annotations, images)
    if columns:
        raise BadDataError(
            f"{data} holds no table with labels, so that it has no columns.",
            "Name the CSV itself.",
            code="data.no_table",
            field="data",
        )
    return read_image_folder(data)
