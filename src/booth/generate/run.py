"""From a request to PNG files: base, concepts, prompts and seeds in; pictures with their settings out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from booth import __version__
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.families.loading import EMBEDDED, base_hash, load_family, resolve_base
from booth.generate.concepts import Applied, attached, common_base, require_base
from booth.generate.draw import GUIDANCE, STEPS, draw
from booth.generate.png import SAMPLERS, parameters_text, save_png
from booth.generate.prompts import file_names, with_subject
from booth.generate.sheet import contact_sheet
from booth.generate.start import Start
from booth.generate.upscale import upscaled


@dataclass(frozen=True)
class Request:
    """What to draw: `count` pictures a prompt, at seeds seed, seed + 1, ..."""

    prompts: Sequence[str]
    concepts: Sequence[Applied] = ()
    base: str | None = None  # None is the base that the concepts were taught to, or the embedded one
    count: int = 1
    seed: int = 0
    steps: int = STEPS
    guidance: float = GUIDANCE
    negative: str = ""
    scheduler: str | None = None
    size: int | None = None
    batch_size: int | None = None  # pictures at once; see booth.generate.draw.draw
    start: Start | None = None  # what all pictures are drawn over
    upscale: int = 1  # how many times larger than `size` the pictures become in a second pass
    device: str = "cpu"

    @property
    def drawings(self) -> int:
        """How often a picture is drawn: twice where it is upscaled."""
        return len(self.prompts) * self.count * (1 if self.upscale == 1 else 2)

    def warnings(self) -> list[str]:
        """A warning for each prompt that names none of the concepts' tokens, with the prompt as it should be."""
        subjects = [subject for a in self.concepts for subject in a.concept.record.subject.all]
        return [
            f"The prompt {prompt!r} does not name the subject, so it may not appear. "
            f"Try: {with_subject(prompt, subjects[0].token, subjects[0].noun, subjects[0].kind)!r}"
            for prompt in self.prompts
            if subjects and all(with_subject(prompt, s.token, s.noun) != prompt for s in subjects)
        ]


@dataclass
class Drawn:
    """What was drawn and where it is."""

    images: list[Path]
    seconds: float
    sheet: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        values = asdict(self)
        return values | {"images": list(map(str, self.images)), "sheet": str(self.sheet) if self.sheet else None}


def generate(
    request: Request,
    out: Path,
    *,
    sheet: bool = False,
    on_picture: Callable[[int], None] | None = None,
    on_message: Callable[[str], None] | None = None,
) -> Drawn:
    """Draw a request into the folder `out`.

    `on_picture` hears how many of its drawings are finished, `on_message` a sentence for the user.
    """
    if request.count < 1:
        raise UsageError(f"-n {request.count} draws nothing. Use at least 1.")
    if request.upscale < 1:
        raise UsageError(f"--upscale {request.upscale} makes no sense. Use 2 for twice the size.")
    began = time.perf_counter()
    base = request.base or (common_base(request.concepts) if request.concepts else EMBEDDED)
    folder = resolve_base(base)
    content_hash = base_hash(folder)
    require_base(request.concepts, base, content_hash)
    model = load_family(str(folder), request.device)
    prompts = [prompt for prompt in request.prompts for _ in range(request.count)]
    seeds = [request.seed + i for i in range(request.count)] * len(request.prompts)
    if request.start is not None and on_message is not None:
        _announce_size(request.start, request.size or model.resolution, on_message)
    with attached(model, request.concepts):
        images = _draw(model, request, prompts, seeds, on_picture)
    out.mkdir(parents=True, exist_ok=True)
    files = [out / name for name in file_names(prompts, seeds)]
    for image, file, prompt, seed in zip(images, files, prompts, seeds, strict=True):
        settings = {
            "Steps": request.steps,
            "Sampler": SAMPLERS.get(request.scheduler, request.scheduler),
            "CFG scale": f"{request.guidance:g}",
            "Seed": seed,
            "Size": f"{image.width}x{image.height}",
            "Denoising strength": f"{request.start.strength:g}" if request.start else None,
            "Hires upscale": request.upscale if request.upscale > 1 else None,
            "Model hash": content_hash.removeprefix("sha256:")[:10],
            "Model": Path(base).name,
            "Concepts": "; ".join(a.title for a in request.concepts) or None,
            "Version": f"booth {__version__}",
        }
        save_png(image, file, parameters_text(prompt, request.negative, settings))
    drawn = Drawn(files, 0.0)
    if sheet:
        rows = [images[i : i + request.count] for i in range(0, len(images), request.count)]
        drawn.sheet = out / "sheet.png"
        contact_sheet(rows, list(request.prompts)).save(drawn.sheet)
    drawn.seconds = round(time.perf_counter() - began, 3)
    return drawn


def _draw(
    model: Family, request: Request, prompts: list[str], seeds: list[int], on_picture: Callable[[int], None] | None
) -> list[Image]:
    """All pictures of a request, upscaled if it asks for that."""
    how: dict[str, Any] = {
        "steps": request.steps,
        "guidance": request.guidance,
        "negative": request.negative,
        "scheduler": request.scheduler,
        "batch_size": request.batch_size,
    }
    starts = None if request.start is None else [request.start] * len(prompts)
    images = draw(model, prompts, seeds, size=request.size, starts=starts, on_picture=on_picture, **how)
    if request.upscale == 1:
        return images

    def second(done: int) -> None:
        if on_picture is not None:
            on_picture(len(images) + done)

    return upscaled(model, images, prompts, seeds, request.upscale, start=request.start, on_picture=second, **how)


def _announce_size(start: Start, side: int, on_message: Callable[[str], None]) -> None:
    before, after = start.image.size, start.fitted(side).image.size
    if before != after:
        on_message(
            f"The picture in --init is drawn at {after[0]}x{after[1]} instead of {before[0]}x{before[1]}; --size sets "
            "the shorter side."
        )
