"""A concept beside the untouched base, at the same prompts and seeds, on one contact sheet under the photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from booth.core.places import free_file
from booth.generate.concepts import Applied
from booth.generate.run import Drawn, Request, generate
from booth.generate.sheet import contact_sheet, stacked

SHOWN = 5  # photos in the first row


def showcase(
    applied: Applied, prompts: Sequence[str], photos: Sequence[Path], out: Path, *, seed: int = 0, device: str = "cpu"
) -> Drawn:
    """Draw each prompt once by the base and once with the concept; the sheet's first row holds the photos."""
    base = applied.concept.record.base.name
    plain = generate(Request(prompts, (), base, seed=seed, device=device), out / "base")
    taught = generate(Request(prompts, (applied,), seed=seed, device=device), out / "concept")
    subject = applied.concept.record.subject
    name = f"{subject.token} {subject.noun}"
    shown = [Image.open(p, formats=("PNG", "JPEG", "WEBP")).convert("RGB") for p in photos[:SHOWN]]
    rows = [[Image.open(f).convert("RGB") for f in drawn.images] for drawn in (plain, taught)]
    names = ["the base alone", f"taught {name} by {applied.concept.record.method}"]
    scenes = [prompt.removeprefix(f"a photo of {name}").strip() or prompt for prompt in prompts]
    sheet = stacked([contact_sheet([shown], ["the photos"]), contact_sheet(rows, names, scenes)])
    taught.sheet = free_file(out / "sheet.png")
    sheet.save(taught.sheet)
    taught.images = plain.images + taught.images
    taught.seconds = round(plain.seconds + taught.seconds, 3)
    return taught
