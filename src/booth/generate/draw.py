"""From prompts and seeds to pictures, through the diffusers pipeline over the very modules that were trained."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial, wraps
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image as Images
from PIL.Image import Image

from booth.core.cancel import check_cancelled
from booth.core.errors import BadDataError, NotFiniteError, UsageError
from booth.core.family import Family
from booth.core.packing import packed
from booth.core.workers import available, side_by_side
from booth.families.autoencoder import decoding_in_tiles
from booth.families.compiling import as_they_are
from booth.families.offload import offloaded
from booth.families.pipelines import starting_from_picture, told_as_usual
from booth.generate.start import Start

STEPS = 30
TILED = 2  # from more than so many times the pixels of the base's own pictures on, a GPU decodes in tiles
LAST_SEED = 2**63 - 1


def draw(
    model: Family,
    prompts: list[str],
    seeds: list[int],
    *,
    steps: int = STEPS,
    guidance: float | None = None,
    negative: str = "",
    scheduler: str | None = None,
    size: int | None = None,
    starts: Sequence[Start] | None = None,
    control_images: Sequence[Sequence[Image]] = (),
    batch_size: int | None = None,
    offload: tuple[str, str] = ("none", "cpu"),
    require_finite: bool = True,
    on_picture: Callable[[int], None] | None = None,
) -> list[Image]:
    """Draw picture i from prompt i and seed i, with one CPU generator a picture.

    `guidance` and `scheduler` are the family's own where they are None. By default pictures are drawn one at a time on
    the CPU, so that the bytes of each depend on its own prompt and seed alone, and four at once on another device. A
    small base draws each by one core, several side by side, so that they do not depend on the cores either. With a
    larger `batch_size` the last bit of a value may depend on the batch, and what a pipeline takes from torch's global
    generator, which is seeded with the batch's first seed, does. `on_picture` hears how many are finished.
    With `starts` picture i is drawn over start i, whose shorter side becomes `size`; all are of one kind and size.
    What lies outside a mask is the start's own, to the bit. `control_images` holds for each ControlNet in place, in
    their order, what it follows to each picture. `offload` is how the parts of a model on the CPU take turns on which
    device.
    NotFiniteError for a picture with values that are no numbers, which without `require_finite` becomes black there.
    """
    _check(model, prompts, seeds, steps, guidance)
    check_size(model, size)
    _check_control_images(model, control_images, len(prompts))
    side = size or model.resolution
    canvases = _canvases(model, starts, len(prompts), side)
    pipe = _pipe(model, scheduler, canvases)
    if canvases:
        check_canvas(model, canvases[0], steps, pipe.vae_scale_factor)
    at_once = batch_size or (1 if pipe.device.type == "cpu" else 4)
    small = model.scale == "tiny" and pipe.device.type == "cpu" and offload[0] == "none"
    # Hints may be encoded with the global generator, whose numbers have an order.
    workers = available() if small and at_once == 1 and not control_images else 1
    pipes = [pipe, *(_pipe(model, scheduler, canvases) for _ in range(workers - 1))]  # each counts its own steps
    if workers > 1:
        _take_turns_in_encoding(pipes)

    def batch(pipe: Any, start: int) -> list[Image]:
        rows = slice(start, start + at_once)
        drawn = pipe(
            prompt=prompts[rows],
            **(_inputs(canvases[rows]) if canvases else {"height": side, "width": side}),
            num_inference_steps=steps,
            output_type="np",
            generator=[torch.Generator().manual_seed(seed) for seed in seeds[rows]],
            **model.guided(model.guidance if guidance is None else guidance, negative, len(prompts[rows])),
            **(_following(model, pipe, [of_net[rows] for of_net in control_images]) if control_images else {}),
        )
        if require_finite and not np.isfinite(drawn.images).all():
            raise _not_finite(scheduler or model.sampler, steps)
        pictures = [_opaque(p) for p in pipe.image_processor.numpy_to_pil(drawn.images)]
        return list(map(_kept_outside, pictures, canvases[rows]) if canvases else pictures)

    images: list[Image] = []
    pixels = canvases[0].image.width * canvases[0].image.height if canvases else side**2
    large = _on_gpu(pipe, offload) and pixels > TILED * model.resolution**2
    plainly, quickly = as_they_are(model.sites.denoiser), _quickly(model) if small else nullcontext()
    with offloaded(pipe, *offload), told_as_usual(pipe), decoding_in_tiles(pipe.vae, large), plainly, quickly:
        for first in range(0, len(prompts), at_once * workers):
            check_cancelled()
            starting = range(first, len(prompts), at_once)
            tasks = [partial(batch, *each) for each in zip(pipes, starting, strict=False)]
            with _seeded(seeds[first], pipe.device):
                drawn = side_by_side(tasks) if workers > 1 else [tasks[0]()]
            for pictures in drawn:
                images += pictures
                if on_picture is not None:
                    on_picture(len(images))
    return images


def _quickly(model: Family) -> AbstractContextManager[None]:
    """Within this context a small base draws with packed layers, and computes a prompt's keys and values once."""
    denoiser: Any = model.sites.denoiser
    attentions = [denoiser.get_submodule(name) for name in model.sites.cross_attention]
    of_prompt = [getattr(layer, "base_layer", layer) for each in attentions for layer in (each.to_k, each.to_v)]
    return packed([denoiser, model.components()["vae"]], of_prompt)


def _on_gpu(pipe: Any, offload: tuple[str, str]) -> bool:
    """Whether the autoencoder decodes on a GPU."""
    return pipe.device.type == "cuda" or (offload[0] != "none" and offload[1].startswith("cuda"))


def _pipe(model: Family, scheduler: str | None, canvases: list[Start]) -> Any:
    """A pipeline that starts from noise or, with `canvases`, from pictures."""
    pipe = model.pipeline(scheduler)
    return starting_from_picture(pipe, masked=canvases[0].mask is not None) if canvases else pipe


def _take_turns_in_encoding(pipes: list[Any]) -> None:
    """Have pipelines that share a tokenizer use it one after the other: it serves one thread at a time."""
    lock = Lock()

    def in_turn(encode: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(encode)
        def encoded(*args: Any, **options: Any) -> Any:
            with lock:
                return encode(*args, **options)

        return encoded

    for pipe in pipes:
        pipe.encode_prompt = in_turn(pipe.encode_prompt)


def _canvases(model: Family, starts: Sequence[Start] | None, count: int, side: int) -> list[Start]:
    """What each picture is drawn over, at its final size; nothing where pictures come from noise alone."""
    if starts is None:
        return [Start.blank(side)] * count if model.inpaints else []
    fitted = [start.fitted(side, model.multiple) for start in starts]
    return [start.masked() for start in fitted] if model.inpaints else fitted


def _inputs(canvases: list[Start]) -> dict[str, Any]:
    """What a pipeline that starts from pictures takes beside the prompt: one picture a row, so that none is shared."""
    first = canvases[0]
    inputs = {
        "image": [c.image for c in canvases],
        "strength": first.strength,
        "height": first.image.height,
        "width": first.image.width,
    }
    return inputs if first.mask is None else inputs | {"mask_image": [c.mask for c in canvases]}


def _kept_outside(image: Image, canvas: Start) -> Image:
    """The drawn picture with the start's own pixels outside the mask, which the autoencoder has blurred."""
    return image if canvas.mask is None else Images.composite(image, canvas.image, canvas.mask)


def check_canvas(model: Family, canvas: Start, steps: int, factor: int) -> None:
    """UsageError or BadDataError unless the base can draw over a picture; `factor` is how many pixels a latent has."""
    width, height = canvas.image.size
    if max(width, height) > model.largest:
        raise UsageError(
            f"The picture would have {max(width, height)} pixels a side, and this base draws {model.largest} at most.",
            "Set a smaller shorter side with `size`.",
            code="size.too_large",
            field="size",
        )
    if model.largest_area is not None and width * height > model.largest_area:
        raise UsageError(
            f"The picture would be {width}x{height}, and diffusers draws this base over one of "
            f"{model.largest_area:,} pixels at most.",
            "Draw it smaller with `size`.",
            code="size.too_large",
            field="size",
        )
    if model.steps_taken(steps, canvas.strength) < 1:
        least = math.ceil(1 / canvas.strength)
        raise UsageError(
            f"{steps} steps at a strength of {canvas.strength:g} draw nothing: that share of the steps is taken.",
            f"Use at least `steps={least}`.",
            code="steps.too_few",
            field="steps",
        )
    if canvas.mask is not None and not np.asarray(canvas.mask)[::factor, ::factor].any():
        raise BadDataError(
            f"The mask is too small to be drawn in at {width}x{height}.",
            "Paint a larger area white, or draw larger with `size`.",
            code="mask.too_small",
            field="mask",
        )


def _following(model: Family, pipe: Any, control_images: list[Sequence[Image]]) -> dict[str, Any]:
    """What a ControlNet pipeline takes beside the prompt, for one ControlNet or for several."""
    site = model.sites.control
    assert site is not None
    stacks = [
        site.for_pipeline(torch.stack([_unit(control_image) for control_image in of_net])) for of_net in control_images
    ]
    scales = [control.scale for control in site.placed.values()]
    known = inspect.signature(pipe.__call__).parameters
    name = "control_image" if "control_image" in known else "image"  # which elsewhere is the picture to start from
    if len(stacks) == 1:
        return {name: stacks[0], "controlnet_conditioning_scale": scales[0]}
    # FLUX's pipelines that start from a picture count the ControlNets by their modes, which only union ones have.
    modes = {"control_mode": [None] * len(stacks)} if "control_mode" in known else {}
    return {name: stacks, "controlnet_conditioning_scale": scales, **modes}


@contextmanager
def _seeded(seed: int, device: torch.device) -> Generator[None]:
    """A global generator that repeats itself: Stable Diffusion 3's pipeline encodes control images with it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _unit(control_image: Image) -> torch.Tensor:
    """(3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(control_image.convert("RGB"), dtype=np.float32) / 255).permute(2, 0, 1)


def _check_control_images(model: Family, control_images: Sequence[Sequence[Image]], count: int) -> None:
    nets = len(model.sites.control.placed) if model.sites.control else 0
    if len(control_images) != nets or any(len(of_net) != count for of_net in control_images):
        raise UsageError(
            f"{nets} ControlNets are in place, and hints are given for {len(control_images)}: each follows one hint a "
            "picture.",
            "Give them with `controls` and `control_types`.",
            code="control.uneven",
            field="controls",
        )


def check_size(model: Family, size: int | None, factor: int = 1) -> None:
    """UsageError unless the base can draw pictures of `size` pixels, its own size if None, and `factor` as large."""
    if size is not None and (size < model.multiple or size % model.multiple or size > model.largest):
        raise UsageError(
            f"A picture of {size} pixels cannot be drawn.",
            f"Use a multiple of {model.multiple}, such as {model.resolution}, and at most {model.largest}.",
            code="size.unfit",
            field="size",
        )
    if factor * (size or model.resolution) > model.largest:
        raise UsageError(
            f"`upscale={factor}` makes pictures of more than {model.largest} pixels a side, which is the most here.",
            "Use a smaller one, or draw smaller with `size`.",
            code="upscale.too_large",
            field="upscale",
        )


def _not_finite(scheduler: str, steps: int) -> NotFiniteError:
    return NotFiniteError(
        f"A picture came out with values that are no numbers, drawn with {scheduler} in {steps} steps.",
        "Use another `scheduler` or another number of `steps`; if none helps, the concept or the base is broken.",
        code="picture.not_finite",
        field="scheduler",
    )


def _check(model: Family, prompts: list[str], seeds: list[int], steps: int, guidance: float | None) -> None:
    if len(prompts) != len(seeds):
        raise UsageError(
            f"{len(prompts)} prompts and {len(seeds)} seeds: give one seed a picture.",
            code="seeds.uneven",
            field="seeds",
        )
    if steps < 1:
        raise UsageError(
            f"{steps} steps draw nothing.", "Use at least 1; 30 is usual.", code="steps.too_few", field="steps"
        )
    if model.most_steps is not None and steps > model.most_steps:
        raise UsageError(
            f"{steps} steps are more than this base has: {model.most_steps}.",
            "Use fewer; 30 is usual.",
            code="steps.too_many",
            field="steps",
        )
    if guidance is not None and not math.isfinite(guidance):
        raise UsageError(
            f"A guidance scale of {guidance} makes no sense.",
            f"Use a number such as {model.guidance:g}.",
            code="guidance.invalid",
            field="guidance",
        )
    for seed in seeds:
        if not 0 <= seed <= LAST_SEED:
            raise UsageError(
                f"A seed is a whole number from 0 to {LAST_SEED}, and {seed} is none.",
                "Use another.",
                code="seed.invalid",
                field="seed",
            )


def _opaque(picture: Image) -> Image:
    """A picture whose base draws how opaque it is, on white, as such a base looks at one itself."""
    if picture.mode != "RGBA":
        return picture
    white = Images.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white
