"""A concept beside the untouched base, at the same prompts and seeds, on one contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from booth.generate.concepts import Applied
from booth.generate.run import Drawn, Request, generate
from booth.generate.sheet import contact_sheet

SHOWN = 5  # photos in the first row


def showcase(
    applied: Applied, prompts: Sequence[str], photos: Sequence[Path], out: Path, *, seed: int = 0, device: str = "cpu"
) -> Drawn:
    """Draw each prompt once by the base and once with the concept; the sheet's first row holds the photos."""
    base = applied.concept.record.base.name
    plain = generate(Request(prompts, (), base, seed=seed, device=device), out / "base")
    taught = generate(Request(prompts, (applied,), base, seed=seed, device=device), out / "concept")
    scenes = [prompt.removeprefix("a photo of ") for prompt in prompts]
    shown = [Image.open(p, formats=("PNG", "JPEG", "WEBP")).convert("RGB") for p in photos[:SHOWN]]
    rows = [[Image.open(f).convert("RGB") for f in drawn.images] for drawn in (plain, taught)]
    subject = applied.concept.record.subject
    sheet = contact_sheet(
        [shown, *rows],
        ["the photos", "the base alone", f"taught {subject.token} {subject.noun} by {applied.concept.record.method}"],
        scenes,
    )
    taught.sheet = out / "sheet.png"
    sheet.save(taught.sheet)
    taught.images = plain.images + taught.images
    taught.seconds = round(plain.seconds + taught.seconds, 3)
    return taught
