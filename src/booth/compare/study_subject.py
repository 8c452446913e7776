"""The subjects of studies: of the world, or folders of photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Image

from booth.compare.experiment import PHOTOGRAPHS, subject_name
from booth.core.commit import committed_file
from booth.data.beside import MASK
from booth.data.photos import load_photos
from booth.evaluate.masks import Masks
from booth.evaluate.rows import Photos
from booth.evaluate.subjects import world_subject


@dataclass(frozen=True)
class StudySubject:
    """A subject of a study."""

    noun: str
    folder: Path
    photos: Photos


def study_subject(place: str, photographs: Path | None, work: Path) -> StudySubject:
    """A subject of the world, whose photos are drawn and compared with others of it, or a folder of photographs."""
    name, _, variant = place.rpartition(":")
    folder = work / subject_name(place) / "photos"
    if name.startswith(PHOTOGRAPHS):
        assert photographs is not None
        folder, noun = photographs / name.removeprefix(PHOTOGRAPHS), variant
        found = load_photos([folder]).photos
        shown = [p.image for p in found]
        return StudySubject(noun, folder, Photos(shown, shown, False, Masks(noun, found)))
    seed, _, scene = variant.partition("@")
    known = world_subject(int(seed), name, scene=scene or None)
    _write_photos(known.photos, folder, "")
    if scene:
        _write_photos(known.masks, folder, MASK)
    photos = Photos(known.photos, known.unseen, True, Masks(name, load_photos([folder]).photos), known.lookalikes)
    return StudySubject(name, folder, photos)


def _write_photos(images: Sequence[Image], folder: Path, ending: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        file = folder / f"{i}{ending}.png"
        if not file.exists():
            with committed_file(file) as work:
                image.save(work, "PNG")
