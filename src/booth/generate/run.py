"""From a request to PNG files: base, concepts, prompts and seeds in; pictures with their settings out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL.Image import Image

from booth import __version__
from booth.core.cancel import CancelToken
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.json_values import Json
from booth.core.places import free_file, require_writable
from booth.core.precision import DTYPES, choose_precision
from booth.core.resources import available_memory
from booth.data.tokens import length_of
from booth.events import Listener, Reporter, reporting
from booth.families.loading import EMBEDDED, base_hash, resolve_base
from booth.families.memory import choose_offload, drawing_bytes
from booth.families.recognition import recognise
from booth.generate.checks import check_size
from booth.generate.concepts import Applied, advice_on_chosen_base, attached, common_base, require_base
from booth.generate.controls import ControlImage, read_control_image, with_controlnets
from booth.generate.draw import STEPS, draw
from booth.generate.png import SAMPLERS, parameters_text, save_png
from booth.generate.prompts import file_names, with_subject
from booth.generate.sheet import contact_sheet
from booth.generate.start import Start
from booth.generate.upscale import REDRAWN, check_upscaled, upscaled
from booth.generate.words import foreign_syntax
from booth.session import Session, borrowed


@dataclass(frozen=True)
class Request:
    """What to draw: `count` pictures a prompt, at seeds seed, seed + 1, ..."""

    prompts: Sequence[str]
    concepts: Sequence[Applied] = ()
    base: str | None = None  # None is what the concepts were taught to, or the embedded one; others are warned of
    count: int = 1
    seed: int = 0
    steps: int = STEPS
    guidance: float | None = None  # the family's own
    negative: str = ""
    scheduler: str | None = None
    size: int | None = None
    control_images: Sequence[ControlImage] = ()  # what ControlNets follow, the same to every picture
    batch_size: int | None = None  # pictures at once; see booth.generate.draw.draw
    start: Start | None = None  # what all pictures are drawn over
    upscale: int = 1  # how many times larger than `size` the pictures become in a second pass
    device: str = "cpu"
    precision: str | None = None  # fp32, bf16 or fp16; what suits the device. A session draws in its own
    offload: str = "auto"  # how parts take turns on a GPU: none, model or sequential; auto is the first that fits

    @property
    def drawings(self) -> int:
        """How often a picture is drawn: twice where it is upscaled."""
        return len(self.prompts) * self.count * (1 if self.upscale == 1 else 2)

    def require_sense(self) -> None:
        """UsageError unless there is something to draw."""
        if self.count < 1:
            raise UsageError(f"-n {self.count} draws nothing.", "Use at least 1.", code="count.too_few", field="count")
        if self.upscale < 1:
            raise UsageError(
                f"`upscale={self.upscale}` makes no sense.",
                "Use 2 for twice the size.",
                code="upscale.unknown",
                field="upscale",
            )

    def warnings(self) -> list[str]:
        """A warning for each prompt that names none of the concepts' tokens, and for a negative prompt in vain."""
        warnings: list[str] = []
        if self.negative and self.guidance is not None and self.guidance <= 1:
            warnings = [
                f"At a guidance scale of {self.guidance:g} the negative prompt does nothing: it takes more than 1."
            ]
        for prompt in (*self.prompts, self.negative):
            warnings += [
                f"The prompt {prompt!r} holds {meaning}, which is drawn as words. Take it out, and see the options of "
                "`booth generate` for what it asks for."
                for meaning in foreign_syntax(prompt)
            ]
        subjects = [s for a in self.concepts for s in a.concept.record.subject.all if s.token]
        return warnings + [
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

    def to_json(self) -> dict[str, Json]:
        """Plain values for `--json`."""
        values = asdict(self)
        return values | {"images": list(map(str, self.images)), "sheet": str(self.sheet) if self.sheet else None}


def generate(
    request: Request,
    out: Path,
    *,
    sheet: bool = False,
    listeners: Sequence[Listener] = (),
    cancel: CancelToken | None = None,
    session: Session | None = None,
) -> Drawn:
    """Draw a request into the folder `out`.

    `listeners` hear the phases loading, drawing (in pictures) and writing; `cancel` is looked at between steps.
    """
    with reporting(listeners, cancel) as reporter:
        return _generate(request, out, sheet, session, reporter)


def _generate(request: Request, out: Path, sheet: bool, session: Session | None, reporter: Reporter) -> Drawn:
    request.require_sense()
    require_writable(out)
    began = time.perf_counter()
    request = request if session is None else replace(request, device=session.device)
    base = request.base or (common_base(request.concepts) if request.concepts else EMBEDDED)
    folder = resolve_base(base)
    content_hash = base_hash(folder)
    if request.base is None:
        require_base(request.concepts, base, content_hash)
    else:
        for warning in advice_on_chosen_base(request.concepts, base, recognise(folder), content_hash):
            reporter.warn(warning)
    concepts, taken = with_controlnets(request.concepts, request.control_images, content_hash)
    offload = _offload(request, folder, reporter)
    reporter.begin("loading")
    where = request.device if offload == "none" else "cpu"
    dtype = DTYPES[choose_precision(request.precision, request.device)] if session is None else None
    with borrowed(session, base, where, dtype) as model:
        # Before control images and the picture in --init are brought to it.
        check_size(model, request.size, request.upscale)
        prompts = [prompt for prompt in request.prompts for _ in range(request.count)]
        seeds = [request.seed + i for i in range(request.count)] * len(request.prompts)
        with attached(model, concepts):
            _warn_of_cut_prompts(model, request.prompts, reporter)
            reporter.begin("drawing", 0, request.drawings)
            images = _draw(model, request, taken, prompts, seeds, (offload, request.device), reporter)
        reporter.begin("writing")
        out.mkdir(parents=True, exist_ok=True)
        files: list[Path] = []
        for image, name, prompt, seed in zip(images, file_names(prompts, seeds), prompts, seeds, strict=True):
            settings = {
                "Steps": request.steps,
                "Sampler": SAMPLERS[request.scheduler or model.sampler],
                "CFG scale": f"{model.guidance if request.guidance is None else request.guidance:g}",
                "Seed": seed,
                **_size_settings(request, image),
                "Model hash": content_hash.removeprefix("sha256:")[:10],
                "Model": Path(base).name,
                "Concepts": "; ".join(a.title for a in concepts) or None,
                "Hints": "; ".join(control_image.file.name for control_image in taken) or None,
                "Version": f"booth {__version__}",
            }
            files.append(free_file(out / name))
            save_png(image, files[-1], parameters_text(prompt, request.negative, settings))
    drawn = Drawn(files, 0.0)
    if sheet:
        rows = [images[i : i + request.count] for i in range(0, len(images), request.count)]
        drawn.sheet = free_file(out / "sheet.png")
        contact_sheet(rows, list(request.prompts)).save(drawn.sheet)
    drawn.seconds = round(time.perf_counter() - began, 3)
    return drawn


def _warn_of_cut_prompts(model: Family, prompts: Sequence[str], reporter: Reporter) -> None:
    for prompt in prompts:
        if (length := length_of(model, prompt)) is not None and length.lost:
            reporter.warn(
                f"The prompt {prompt!r} has {length.tokens} tokens, and {model.title} reads "
                f"{length.limit}: {length.lost!r} is cut."
            )


def _draw(
    model: Family,
    request: Request,
    taken: list[ControlImage],
    prompts: list[str],
    seeds: list[int],
    offload: tuple[str, str],
    reporter: Reporter,
) -> list[Image]:
    """All pictures of a request, upscaled if it asks for that; `taken` are the hints in the ControlNets' order."""
    how: dict[str, Any] = {
        "steps": request.steps,
        "guidance": request.guidance,
        "negative": request.negative,
        "scheduler": request.scheduler,
        "batch_size": request.batch_size,
        "offload": offload,
    }
    side = request.size or model.resolution
    size = (side, side) if request.start is None else _announced_size(request.start, side, model, reporter)
    if request.upscale > 1:  # before a first picture is drawn in vain
        check_upscaled(model, size, request.upscale, request.steps, request.start)
    shape = size if request.start is None else request.start.image.size
    starts = None if request.start is None else [request.start] * len(prompts)
    control_images = [
        [read_control_image(control_image, size, shape, reporter.say)] * len(prompts) for control_image in taken
    ]
    images = draw(
        model,
        prompts,
        seeds,
        size=request.size,
        starts=starts,
        control_images=control_images,
        on_picture=reporter.progress,
        **how,
    )
    if request.upscale == 1:
        return images

    def second(done: int) -> None:
        reporter.progress(len(images) + done)

    large = (size[0] * request.upscale, size[1] * request.upscale)
    how |= {
        "control_images": [[read_control_image(control_image, large, shape)] * len(prompts) for control_image in taken],
        "on_picture": second,
    }
    return upscaled(model, images, prompts, seeds, request.upscale, start=request.start, **how)


def _size_settings(request: Request, image: Image) -> dict[str, Any]:
    """How large a picture is and how it became so; AUTOMATIC1111 writes the size that its hires. fix begins with."""
    width, height = image.size
    if request.upscale == 1 or request.start is not None:
        strength = f"{request.start.strength:g}" if request.start is not None else None
        upscale = request.upscale if request.upscale > 1 else None
        return {"Size": f"{width}x{height}", "Denoising strength": strength, "Hires upscale": upscale}
    return {
        "Size": f"{width // request.upscale}x{height // request.upscale}",
        "Denoising strength": f"{REDRAWN:g}",
        "Hires upscale": request.upscale,
        "Hires upscaler": "Lanczos",
    }


def _offload(request: Request, folder: Path, reporter: Reporter) -> str:
    """How parts take turns: as asked, or as they have to for the base to fit on the GPU."""
    if request.offload != "auto" or not request.device.startswith("cuda"):
        return "none" if request.offload == "auto" else request.offload
    available = available_memory(request.device)
    precision = choose_precision(request.precision, request.device)
    how = choose_offload(folder, available, precision)
    if how != "none":
        needed = drawing_bytes(folder, precision)["none"]
        reporter.say(
            f"The base takes {needed / 1e9:.1f} of {available / 1e9:.1f} GB: its parts take turns on the GPU "
            f"(`offload={how}`), which is slower."
        )
    return how


def _announced_size(start: Start, side: int, model: Family, reporter: Reporter) -> tuple[int, int]:
    """The size at which pictures are drawn over `start`."""
    before, after = start.image.size, start.fitted(side, model.multiple).image.size
    if before != after:
        reporter.say(
            f"The picture in `init` is drawn at {after[0]}x{after[1]} instead of {before[0]}x{before[1]}; `size` sets "
            "the shorter side."
        )
    return after
