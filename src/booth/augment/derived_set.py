"""The set that is handed on: what was drawn, its provenance, and real and drawn together as links."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from booth.augment.labelled_set import TEST, TRAIN, LabelledSet, Picture
from booth.augment.making import Made, Maker
from booth.augment.provenance import FILE, Origin, write_origins, write_table
from booth.augment.recipe import PLACEBO, folder_name
from booth.augment.state import digest
from booth.concept import Concept
from booth.core.commit import MANIFEST, committed

SYNTHETIC, COMBINED, REAL = "synthetic", "combined", "real.csv"
REAL_COLUMNS = ("file", "label", "group", "split", "source", "sha256")
COCO = "_annotations.coco.json"


def write_set(found: LabelledSet, maker: Maker, kept: dict[str, list[Made]], out: Path) -> list[Origin]:
    """Write synthetic/, combined/, provenance.csv and real.csv; each appears whole or not at all."""
    recipe, origins = maker.recipe, list[Origin]()
    with committed(out / SYNTHETIC, {"recipe": digest(recipe.model_dump(mode="json"))}) as work:
        for label, pictures in kept.items():
            home = work / folder_name(label, found.labels)
            home.mkdir(parents=True)
            for made in pictures:
                shutil.copyfile(made.file, home / made.file.name)
                name = f"{SYNTHETIC}/{home.name}/{made.file.name}"
                origins.append(origin_of(made, name, maker))
        _write_coco(found, kept, work)
    write_origins(origins, out / FILE)
    _combine(found, origins, out)
    return origins


def origin_of(made: Made, name: str, maker: Maker, filter_: str | None = None, fold: str = "") -> Origin:
    """The provenance of a made picture that is called `name` in its table."""
    recipe = maker.recipe
    return Origin(
        file=name,
        label=made.label,
        source=made.source or "",
        group=made.group,
        fold=fold,
        seed=made.seed,
        prompt=made.prompt,
        strength=made.strength,
        method=made.method,
        concept=concept_hash(maker.taught.get(made.label)),
        base=maker.generator.base_hash if made.method != PLACEBO else "",
        filter=filter_ or recipe.filter,
        agreement="" if made.agreement is None else f"{made.agreement:g}",
        nearest=made.nearest,
        likeness=made.likeness,
        encoder=maker.encoder.name,
        licence=recipe.licence or "",
    )


def concept_hash(concept: Concept | None) -> str:
    """A hash over the hashes of a concept's files; nothing for the untouched base."""
    if concept is None:
        return ""
    manifest = json.loads((concept.folder / MANIFEST).read_text(encoding="utf-8"))
    return f"sha256:{digest({name: entry['sha256'] for name, entry in manifest['files'].items()})}"


def _combine(found: LabelledSet, origins: Sequence[Origin], out: Path) -> None:
    """combined/CLASS/, or combined/SPLIT/CLASS/ where the set has splits; what is drawn is for training alone."""
    sides = any(p.split for p in found.pictures)
    rows: list[dict[str, str]] = []
    with committed(out / COMBINED, {"pictures": len(found.pictures) + len(origins)}) as work:
        for picture in found.pictures:
            name = _place(picture, found, sides)
            link(picture.path.absolute(), work / name)
            rows.append(
                {
                    "file": f"{COMBINED}/{name}", "label": picture.label, "group": picture.group,
                    "split": picture.split or "", "source": str(picture.path.absolute()), "sha256": picture.sha256,
                }
            )  # fmt: skip
        for origin in origins:
            home = work / (TRAIN if sides else "") / folder_name(origin.label, found.labels)
            link(out.absolute() / origin.file, home / f"synthetic-{Path(origin.file).name}")
    write_table(rows, REAL_COLUMNS, out / REAL)


def _place(picture: Picture, found: LabelledSet, sides: bool) -> str:
    side = f"{picture.split or TRAIN}/" if sides else ""
    return f"{side}{folder_name(picture.label, found.labels)}/{picture.sha256[:16]}-{picture.path.name}"


def link(source: Path, place: Path) -> None:
    """A link, or a copy where the system allows none."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        return  # the same file stood twice in the set
    try:
        place.symlink_to(source)
    except OSError:
        shutil.copyfile(source, place)


def _write_coco(found: LabelledSet, kept: dict[str, list[Made]], work: Path) -> None:
    """Boxes and outlines of drawn pictures that kept the geometry of their source, with the set's category ids."""
    if not found.categories:
        return
    sources = {p.name: p for p in found.pictures}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for label, pictures in kept.items():
        for made in pictures:
            source = sources.get(made.source or "")
            if source is None or not source.shapes:
                continue
            width, height = _size(made.file)
            across, down = width / source.size[0], height / source.size[1]
            name = f"{folder_name(label, found.labels)}/{made.file.name}"
            images.append({"id": len(images) + 1, "file_name": name, "width": width, "height": height})
            for shape in source.shapes:
                left, top, wide, high = shape.box
                outline = [[v * (down if i % 2 else across) for i, v in enumerate(p)] for p in shape.polygons]
                annotations.append(
                    {
                        "id": len(annotations) + 1, "image_id": len(images), "category_id": shape.category,
                        "bbox": [left * across, top * down, wide * across, high * down],
                        "area": wide * across * high * down, "segmentation": outline, "iscrowd": 0,
                    }
                )  # fmt: skip
    categories = [{"id": number, "name": name} for name, number in found.categories.items()]
    values = {"images": images, "annotations": annotations, "categories": categories}
    (work / COCO).write_text(json.dumps(values), encoding="utf-8")


def _size(file: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(file) as image:
        return image.size


def training_side(found: LabelledSet) -> LabelledSet:
    """What may be learned from: everything but a given test side."""
    return found.where(lambda p: p.split != TEST)
