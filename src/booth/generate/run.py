"""From a request to PNG files: base, concepts, prompts and seeds in; pictures with their settings out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from booth import __version__
from booth.core.errors import UsageError
from booth.families.loading import EMBEDDED, base_hash, load_family, resolve_base
from booth.generate.concepts import Applied, attached, common_base, require_base
from booth.generate.controls import Hint, read_hint, with_controlnets
from booth.generate.draw import STEPS, draw
from booth.generate.png import SAMPLERS, parameters_text, save_png
from booth.generate.prompts import file_names, with_subject
from booth.generate.sheet import contact_sheet


@dataclass(frozen=True)
class Request:
    """What to draw: `count` pictures a prompt, at seeds seed, seed + 1, ..."""

    prompts: Sequence[str]
    concepts: Sequence[Applied] = ()
    base: str | None = None  # None is the base that the concepts were taught to, or the embedded one
    count: int = 1
    seed: int = 0
    steps: int = STEPS
    guidance: float | None = None  # the family's own
    negative: str = ""
    scheduler: str | None = None
    size: int | None = None
    hints: Sequence[Hint] = ()  # what ControlNets follow, the same to every picture
    batch_size: int | None = None  # pictures at once; see booth.generate.draw.draw
    device: str = "cpu"

    def warnings(self) -> list[str]:
        """A warning for each prompt that names none of the concepts' tokens, with the prompt as it should be."""
        subjects = [a.concept.record.subject for a in self.concepts if a.concept.record.subject.token]
        return [
            f"The prompt {prompt!r} does not name the subject, so it may not appear. "
            f"Try: {with_subject(prompt, subjects[0].token, subjects[0].noun)!r}"
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
    on_message: Callable[[str], None] = lambda _: None,
) -> Drawn:
    """Draw a request into the folder `out`.

    `on_picture` hears how many pictures are finished, `on_message` a sentence for the user.
    """
    if request.count < 1:
        raise UsageError(f"-n {request.count} draws nothing. Use at least 1.")
    began = time.perf_counter()
    base = request.base or (common_base(request.concepts) if request.concepts else EMBEDDED)
    folder = resolve_base(base)
    content_hash = base_hash(folder)
    require_base(request.concepts, base, content_hash)
    concepts, taken = with_controlnets(request.concepts, request.hints, content_hash)
    model = load_family(str(folder), request.device)
    prompts = [prompt for prompt in request.prompts for _ in range(request.count)]
    seeds = [request.seed + i for i in range(request.count)] * len(request.prompts)
    side = request.size or model.resolution
    hints = [[read_hint(hint, side, on_message)] * len(prompts) for hint in taken]
    with attached(model, concepts):
        images = draw(
            model,
            prompts,
            seeds,
            steps=request.steps,
            guidance=request.guidance,
            negative=request.negative,
            scheduler=request.scheduler,
            size=request.size,
            hints=hints,
            batch_size=request.batch_size,
            on_picture=on_picture,
        )
    out.mkdir(parents=True, exist_ok=True)
    files = [out / name for name in file_names(prompts, seeds)]
    for image, file, prompt, seed in zip(images, files, prompts, seeds, strict=True):
        settings = {
            "Steps": request.steps,
            "Sampler": SAMPLERS[request.scheduler or model.sampler],
            "CFG scale": f"{model.guidance if request.guidance is None else request.guidance:g}",
            "Seed": seed,
            "Size": f"{image.width}x{image.height}",
            "Model hash": content_hash.removeprefix("sha256:")[:10],
            "Model": Path(base).name,
            "Concepts": "; ".join(a.title for a in concepts) or None,
            "Hints": "; ".join(hint.file.name for hint in taken) or None,
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
