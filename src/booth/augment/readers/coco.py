"""COCO's annotations, as Roboflow, CVAT and Label Studio export them: a picture has the class of its things."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from booth.augment.labelled_set import SPLITS, Picture, Shape
from booth.augment.readers.found import Found
from booth.core.errors import BadDataError
from booth.core.places import printable
from booth.core.reading import read_text

KEYS = {"images", "annotations", "categories"}
PLACES = ("*.json", "annotations/*.json", "*/*.json")


def coco_files(folder: Path) -> list[Path]:
    """The COCO files of a folder: its own, those in annotations/, or one in each of train/, valid/ and test/."""
    for place in PLACES:
        found = [p for p in sorted(folder.glob(place)) if _is_coco(p)]
        if found:
            return found
    return []


def _is_coco(path: Path) -> bool:
    try:
        return _load(path).keys() >= KEYS
    except BadDataError:
        return False


def _load(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise BadDataError(f"is not JSON ({error})", "export it again", code="coco.not_json", field="data") from error
    if not isinstance(values, dict):
        raise BadDataError(
            "is no COCO file: it has no images, annotations and categories", code="coco.incomplete", field="data"
        )
    return values


def read_coco(files: Sequence[Path], images: Path | None) -> Found:
    """Pictures whose annotations are all of one category; the others are counted and left out."""
    root = images or (files[0].parent if len(files) == 1 else files[0].parent.parent)
    found = Found(root, "")
    mixed = empty = 0
    for file in files:
        try:
            values = _load(file)
            if not values.keys() >= KEYS:
                raise BadDataError(
                    f"is no COCO file: it lacks {', '.join(sorted(KEYS - values.keys()))}",
                    code="coco.lacks_keys",
                    field="data",
                )
            counts = _read(file, values, images, found, split_of(file) if len(files) > 1 else None)
        except (BadDataError, KeyError, TypeError, ValueError) as error:
            told = str(error) if isinstance(error, BadDataError) else f"is no sound COCO file ({error!r})"
            raise BadDataError(f"{printable(file)} {told}.", code="coco.unusable", field="data") from error
        mixed, empty = mixed + counts[0], empty + counts[1]
    if mixed:
        found.notes.append(f"{mixed} pictures show things of several categories, so that none is theirs: left out.")
    if empty:
        found.notes.append(f"{empty} pictures have no annotation: left out.")
    found.layout = (
        f"{', '.join(printable(f) for f in files)}: COCO, {len(found.pictures)} pictures of "
        f"{len({p.label for p in found.pictures})} categories."
    )
    return found


def split_of(file: Path) -> str | None:
    """The split that a file's folder or name tells: train/_annotations.coco.json, instances_val2017.json."""
    words = {file.parent.name.lower(), *file.stem.lower().replace("-", "_").split("_")}
    return next((SPLITS[w.rstrip("0123456789")] for w in sorted(words) if w.rstrip("0123456789") in SPLITS), None)


def _read(
    file: Path, values: Mapping[str, Any], images: Path | None, found: Found, split: str | None
) -> tuple[int, int]:
    names = {int(c["id"]): str(c["name"]).strip() for c in values["categories"]}
    found.categories |= {name: number for number, name in names.items()}
    shapes: dict[int, list[Shape]] = {}
    for each in values["annotations"]:
        if int(each["category_id"]) not in names:
            raise BadDataError(
                f"has an annotation of the category {each['category_id']}, which it does not list",
                code="coco.unlisted_category",
                field="data",
            )
        shapes.setdefault(int(each["image_id"]), []).append(_shape(each))
    mixed = empty = 0
    for image in values["images"]:
        own = shapes.get(int(image["id"]), [])
        kinds = {shape.category for shape in own}
        if len(kinds) != 1:
            mixed, empty = mixed + (len(kinds) > 1), empty + (not kinds)
            continue
        path = _place(file, str(image["file_name"]), images)
        if path is None:
            found.bad.append(f"{printable(file)} names {printable(str(image['file_name']))}, which does not exist")
            continue
        name = path.relative_to(found.root).as_posix() if path.is_relative_to(found.root) else path.name
        found.pictures.append(Picture(path, name, names[kinds.pop()], split=split, shapes=tuple(own)))
    return mixed, empty


def _shape(annotation: Mapping[str, Any]) -> Shape:
    left, top, width, height = (float(v) for v in annotation["bbox"])
    outline = annotation.get("segmentation")
    polygons = tuple(tuple(map(float, p)) for p in outline if len(p) >= 6) if isinstance(outline, list) else ()
    return Shape(int(annotation["category_id"]), (left, top, width, height), polygons)


def _place(file: Path, name: str, images: Path | None) -> Path | None:
    homes = (
        [images] if images else [file.parent, file.parent / "images", file.parent.parent, file.parent.parent / "images"]
    )
    for home in homes:
        path = home / name
        if ".." not in Path(name).parts and path.is_file():
            return path
    return None
