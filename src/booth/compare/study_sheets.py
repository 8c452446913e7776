"""What the arms of a study drew, side by side: one contact sheet a subject."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from booth.compare.experiment import UNTOUCHED, Setting, Study, subject_name
from booth.data.photos import load_photos
from booth.evaluate.prompt_factors import prompt_factors
from booth.generate.sheet import contact_sheet

QUALITY = 85


def write_sheets(study: Study, setting: Setting, work: Path, folder: Path) -> list[Path]:
    """A row an arm with its first seed's drawings, the photos above; only for subjects whose drawings are in `work`.

    None for a study that does not ask for sheets.
    """
    written: list[Path] = []
    if not study.sheets:
        return written
    columns = [prompt_factors(prompt, "").scene or prompt for prompt in setting.prompts]
    for subject in study.subjects:
        rows = dict(_rows(study, setting, work / subject_name(subject)))
        photos = work / subject_name(subject) / "photos"
        if not rows:
            continue
        shown = {"the photos": [p.image for p in load_photos([photos]).photos], **rows} if photos.is_dir() else rows
        file = folder / f"{study.name}-{subject_name(subject)}.jpg"
        folder.mkdir(parents=True, exist_ok=True)
        contact_sheet(list(shown.values()), list(shown), columns).reduce(2).save(file, quality=QUALITY)
        written.append(file)
    return written


def _rows(study: Study, setting: Setting, work: Path) -> Iterator[tuple[str, list[Image.Image]]]:
    guidance = f"{study.guidance[0]:g}"
    for arm in study.arms:
        if arm == UNTOUCHED:
            places = sorted(work.glob(f"untouched/*-{guidance}-{setting.drift}/base"))  # asked for its own class
        else:
            places = [work / f"{arm}-{study.seeds[0]}" / guidance / "concept_pictures"]
        pictures = [Image.open(file).convert("RGB") for place in places[:1] for file in sorted(place.glob("*.png"))]
        if pictures:
            yield arm, pictures
